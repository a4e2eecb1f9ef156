// Draws the curves and the rate split from the JSON in #data; no network.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const touch = matchMedia("(pointer: coarse)").matches;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const variable = (line) => (line.foreign ? "--ink" : line.slot === null ? "--c-neutral" : `--c${line.slot % 6}`);
const told = (point) => point.map((text) => data.texts[text]);
// Plotly reads a few tags in its texts: names are shown as they are.
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
// Nor does it break a line: long ones are broken for its labels, and cut beside its axes.
const folded = (text, most) => text.match(new RegExp(`.{1,${most}}(?:\\s|$)|.{${most}}`, "gsu")) ?? [];
const cut = (text, most) => (text.length > most ? `${[...text].slice(0, most - 1).join("")}…` : text);
const config = {
  responsive: true, displaylogo: false, displayModeBar: touch ? false : "hover",
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
};

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function axis(title, extra = {}) {
  return {
    title: { text: plain(title), font: { size: 12.5, color: css("--muted") }, standoff: 8 },
    gridcolor: css("--grid"), linecolor: css("--line"), zerolinecolor: css("--grid"),
    tickfont: { size: 11.5, color: css("--muted") }, automargin: true, ...extra,
  };
}

function layout(extra) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, color: css("--ink") },
    margin: { l: 46, r: 14, t: 10, b: 40 }, showlegend: false, hovermode: "closest",
    dragmode: touch ? false : "zoom",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--muted"), activecolor: css("--accent") },
    hoverlabel: {
      bgcolor: css("--surface"), bordercolor: css("--line"), align: "left",
      font: { size: 12.5, color: css("--ink") },
    },
    ...extra,
  };
}

const hover = (point) => told(point).flatMap((line) => folded(line, innerWidth < 760 ? 46 : 76)).map(plain).join("<br>");

// All strands of a line as one array, with a gap between them.
const joined = (strands, of) => strands.flatMap((strand, index) => (index ? [null, ...of(strand)] : of(strand)));
const improves = (strand) => strand.xs.map((_, index) => strand.improving.includes(index));

// A line, and the band between its seeds. `line`: its place in the panel, `trials`: by point.
function curveTraces(line, place) {
  const ink = css(variable(line));
  const strands = line.strands;
  const trace = {
    type: "scatter", mode: line.level ? "lines" : "lines+markers", name: plain(line.group), line_at: place, visible: line.shown,
    x: joined(strands, (strand) => strand.xs), y: joined(strands, (strand) => strand.ys),
    text: joined(strands, (strand) => strand.hover.map(hover)), hovertemplate: "%{text}<extra></extra>",
    customdata: joined(strands, (strand) => strand.hover.map((point, index) => [point, strand.trials[index]])),
    opacity: line.faint ? 0.75 : 1, connectgaps: false,
    line: { color: ink, width: line.faint ? 1 : line.level ? 1.4 : 2, dash: line.dash },
    marker: { symbol: line.symbol, color: ink, opacity: 1, size: joined(strands, (strand) => improves(strand).map((yes) => (yes ? 11 : 8))),
      line: { color: ink, width: 1.6 } },
  };
  if (!line.band) return [trace];
  const [xs, low, high] = line.band;
  const shade = {
    type: "scatter", mode: "lines", line_at: place, visible: line.shown, hoverinfo: "skip", fill: "toself",
    x: [...xs, ...xs.toReversed()], y: [...high, ...low.toReversed()], line: { width: 0, color: ink },
    fillcolor: ink, opacity: 0.18,
  };
  return [shade, trace];
}

const DASHES = { solid: "", dash: "6 3", dot: "2 3", dashdot: "7 3 2 3", longdash: "11 3", longdashdot: "6 2 2 2" };
const SHAPES = {
  circle: "M19 7a4 4 0 1 1-8 0a4 4 0 1 1 8 0Z", square: "M11.3 3.3h7.4v7.4h-7.4Z",
  diamond: "M15 2l5 5l-5 5l-5-5Z", "triangle-up": "M15 2.2l4.8 8.3h-9.6Z",
  "triangle-down": "M15 11.8l4.8-8.3h-9.6Z", pentagon: "M15 2.4l4.6 3.4l-1.8 5.4h-5.6l-1.8-5.4Z",
  hexagon: "M15 2.2l4.2 2.4v4.8l-4.2 2.4l-4.2-2.4v-4.8Z",
  x: "M12 2l3 3l3-3l2 2l-3 3l3 3l-2 2l-3-3l-3 3l-2-2l3-3l-3-3Z", cross: "M13.4 2h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4Z",
  bowtie: "M10.5 3l9 8v-8l-9 8Z",
  star: "M15 1.6l1.6 3.6l3.9.4l-2.9 2.6l.8 3.9l-3.4-2l-3.4 2l.8-3.9l-2.9-2.6l3.9-.4Z",
};

const shapeOf = (symbol) => symbol.replace(/-(open|dot)/g, "");
const first = (lines, by) => lines.filter((line, index) => lines.findIndex((other) => other[by] === line[by]) === index);

// A line as its legend entry shows it; `symbol` empty: no marker, `dash` empty: no line.
function swatch(line, symbol, dash) {
  const make = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const ink = `var(${variable(line)})`;
  const box = make("svg", dash ? { width: 30, height: 14 } : { width: 14, height: 14, viewBox: "8 0 14 14" });
  box.setAttribute("aria-hidden", "true");
  if (dash) {
    box.append(make("line", { x1: 1, x2: 29, y1: 7, y2: 7, style: `stroke:${ink};stroke-width:2`, "stroke-dasharray": DASHES[dash] }));
  }
  if (symbol) {
    const open = symbol.includes("open");
    const path = SHAPES[shapeOf(symbol)];
    box.append(make("path", { d: path, style: `fill:${open ? "var(--surface)" : ink};stroke:${ink};stroke-width:1.5` }));
    if (symbol.endsWith("dot")) {
      box.append(make("circle", { cx: 15, cy: 7, r: 1.4, style: `fill:${open ? ink : "var(--surface)"}` }));
    }
  }
  return box;
}

// Two rows of switches: family and arm, and base. A curve shows where both of its own are on.
function legend(figure, panel, off, update) {
  const entry = (name, mark) => {
    const button = element("button", { type: "button", "aria-pressed": String(!off.has(name)) }, mark, name);
    button.addEventListener("click", () => {
      if (!off.delete(name)) off.add(name);
      button.setAttribute("aria-pressed", String(!off.has(name)));
      update();
    });
    return button;
  };
  const bases = first(panel.lines.filter((line) => line.at), "at");
  const arms = first(panel.lines, "group").map((line) => {
    const many = line.at && bases.length > 1; // then the shape says which base, not which arm
    const symbol = many ? line.symbol.replace(shapeOf(line.symbol), "circle") : line.symbol;
    return entry(line.group, swatch(line, line.level ? "" : symbol, line.dash));
  });
  figure.append(element("div", { class: "legend" }, ...arms));
  if (bases.length > 1) {
    const shapes = bases.map((line) => entry(line.at, swatch({ slot: null }, shapeOf(line.symbol), "")));
    figure.append(element("div", { class: "legend" }, ...shapes));
  }
}

// What is told of a point, kept below its plot, with ways to its trials.
function keep(figure, [point, trials]) {
  figure.querySelector(".kept")?.remove();
  const close = element("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
  const ways = trials.map((place) => {
    const id = data.trials[place].cells[0];
    const row = element("a", { href: "#trials" }, `${id} in the table`);
    row.addEventListener("click", () => search(id));
    const links = [row];
    if (data.links.folder) links.push(element("a", { href: `${data.links.folder}${id}/` }, "folder"));
    if (data.trials[place].run) links.push(element("a", { href: `${data.links.run}${id}`, rel: "noreferrer" }, "W&B run"));
    return element("p", {}, ...links.flatMap((link, index) => (index ? [" · ", link] : [link])));
  });
  const box = element("div", { class: "kept" }, close, ...told(point).map((line) => element("p", {}, line)), ...ways);
  close.addEventListener("click", () => box.remove());
  figure.querySelector(".plot").after(box);
}

const plots = new Map(); // element of a plot → what draws it
const drawn = new Set();

function draw(plot) {
  const { traces, shape } = plots.get(plot)();
  if (drawn.has(plot)) return Plotly.react(plot, traces, shape, config);
  drawn.add(plot);
  plot.replaceChildren();
  const done = Plotly.newPlot(plot, traces, shape, config);
  plot.on("plotly_click", ({ points: [point] }) => point.customdata && keep(plot.parentElement, point.customdata));
  return done;
}

for (const panel of data.panels) {
  const figure = document.getElementById(panel.id);
  const plot = figure.querySelector(".plot");
  const off = new Set(panel.lines.filter((line) => !line.shown).map((line) => line.group));
  const relative = panel.role === "relative" ? { zerolinecolor: css("--muted"), zerolinewidth: 1.5 } : {};
  plots.set(plot, () => {
    const traces = panel.lines.flatMap(curveTraces);
    for (const trace of traces) {
      const line = panel.lines[trace.line_at];
      trace.visible = !off.has(line.group) && !off.has(line.at);
      delete trace.line_at;
    }
    const across = axis(cut(panel.x, 46), panel.reach === null ? {} : { range: [0, panel.reach] });
    return { traces, shape: layout({ xaxis: across, yaxis: axis(cut(panel.y, 30), relative) }) };
  });
  legend(figure, panel, off, () => draw(plot));
}

const HATCHES = { base: "", enhancement: "/" };
for (const split of data.splits) {
  const plot = document.querySelector(`#${split.id} .plot`);
  plots.set(plot, () => ({
    traces: split.bars.map((bar) => ({
      type: "bar", name: bar.layer, offsetgroup: bar.group, x: bar.x.map((row) => row.map(plain)), y: bar.y,
      text: bar.hover.map(hover), textposition: "none", hovertemplate: "%{text}<extra></extra>",
      customdata: bar.hover.map((point, index) => [point, bar.trials[index]]),
      marker: { color: css(variable(bar)), line: { width: 0 },
        pattern: { shape: HATCHES[bar.layer], fillmode: "overlay", size: 5, solidity: 0.5, fgcolor: css("--surface") } },
    })),
    shape: layout({
      barmode: "stack", bargap: 0.3, xaxis: axis("", { dividercolor: css("--line"), showgrid: false }),
      yaxis: axis("bits per pixel"),
    }),
  }));
}

// What comes into view is drawn first.
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    draw(target);
  }
}, { rootMargin: "500px 0px" });
for (const plot of plots.keys()) near.observe(plot);

// The others one by one, whenever the reader leaves time for it.
const later = globalThis.requestIdleCallback ?? ((work) => setTimeout(work, 50));
function drawNext() {
  const plot = [...plots.keys()].find((plot) => !drawn.has(plot));
  if (!plot) return;
  near.unobserve(plot);
  draw(plot);
  later(drawNext);
}
addEventListener("load", () => later(drawNext));

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(draw));

// On paper everything is drawn, in the colours of the light theme and as wide as its column there.
const root = document.documentElement;
function onPaper(yes) {
  root.toggleAttribute("data-paper", yes);
  for (const plot of plots.keys()) {
    near.unobserve(plot);
    draw(plot);
    Plotly.relayout(plot, yes ? { width: plot.clientWidth, height: plot.clientHeight, autosize: false } : { autosize: true });
  }
}
addEventListener("beforeprint", () => onPaper(true));
addEventListener("afterprint", () => onPaper(false));

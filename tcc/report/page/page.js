// Draws the curves, the rate split and the trial table from the JSON in #data; no network.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const touch = matchMedia("(pointer: coarse)").matches;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colour = (slot) => css(slot === null ? "--c-neutral" : `--c${slot % 6}`);
// Plotly reads a few tags in its texts: names are shown as they are.
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
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

function layout(x, y, extra = {}) {
  return {
    xaxis: axis(x), yaxis: axis(y),
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

const hover = (lines) => lines.map(plain).join("<br>");

function curveTrace(trace) {
  const ink = colour(trace.slot);
  return {
    type: "scatter", visible: trace.shown, mode: trace.level ? "lines" : "lines+markers", name: plain(trace.group),
    x: trace.xs, y: trace.ys, text: trace.hover.map(hover), hovertemplate: "%{text}<extra></extra>",
    opacity: trace.faint ? 0.6 : 1,
    line: { color: ink, width: trace.faint ? 1.3 : trace.level ? 1.4 : 2, dash: trace.dash },
    marker: { symbol: trace.symbol, color: ink, size: trace.improving.map((yes) => (yes ? 11 : 8)),
      line: { color: ink, width: 1.6 } },
  };
}

const DASHES = { solid: "", dash: "6 3", dot: "2 3", dashdot: "7 3 2 3", longdash: "11 3" };
const SHAPES = {
  circle: "M19 7a4 4 0 1 1-8 0a4 4 0 1 1 8 0Z", square: "M11.3 3.3h7.4v7.4h-7.4Z",
  diamond: "M15 2l5 5l-5 5l-5-5Z", "triangle-up": "M15 2.2l4.8 8.3h-9.6Z",
  "triangle-down": "M15 11.8l4.8-8.3h-9.6Z", pentagon: "M15 2.4l4.6 3.4l-1.8 5.4h-5.6l-1.8-5.4Z",
  hexagon: "M15 2.2l4.2 2.4v4.8l-4.2 2.4l-4.2-2.4v-4.8Z",
  star: "M15 1.6l1.6 3.6l3.9.4l-2.9 2.6l.8 3.9l-3.4-2l-3.4 2l.8-3.9l-2.9-2.6l3.9-.4Z",
};

const shapeOf = (symbol) => symbol.replace(/-(open|dot)/g, "");
const first = (lines, by) => lines.filter((line, index) => lines.findIndex((other) => other[by] === line[by]) === index);

// A line as its legend entry shows it; `symbol` empty: no marker, `dash` empty: no line.
function swatch(slot, symbol, dash) {
  const make = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const ink = slot === null ? "var(--c-neutral)" : `var(--c${slot % 6})`;
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
function legend(figure, panel, plot) {
  const off = new Set(panel.lines.filter((line) => !line.shown).map((line) => line.group));
  const update = () => Plotly.restyle(plot, {
    visible: panel.lines.map((line) => !off.has(line.group) && !off.has(line.at)),
  });
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
    return entry(line.group, swatch(line.slot, line.level ? "" : symbol, line.dash));
  });
  figure.append(element("div", { class: "legend" }, ...arms));
  if (bases.length > 1) {
    const shapes = bases.map((line) => entry(line.at, swatch(null, shapeOf(line.symbol), "")));
    figure.append(element("div", { class: "legend" }, ...shapes));
  }
}

const drawn = []; // [plot, () => {traces, layout}]: drawn again when the colour scheme changes

function draw(plot, make) {
  const { traces, shape } = make();
  Plotly.newPlot(plot, traces, shape, config);
  drawn.push([plot, make]);
}

for (const panel of data.panels) {
  const figure = document.getElementById(panel.id);
  const plot = figure.querySelector(".plot");
  draw(plot, () => ({ traces: panel.lines.map(curveTrace), shape: layout(panel.x, panel.y, { xaxis: axis(panel.x, { range: [0, panel.reach] }) }) }));
  legend(figure, panel, plot);
}

const HATCHES = { base: "", enhancement: "/" };
for (const split of data.splits) {
  const plot = document.querySelector(`#${split.id} .plot`);
  draw(plot, () => ({
    traces: split.bars.map((bar) => ({
      type: "bar", name: bar.layer, offsetgroup: bar.group, x: bar.x.map((row) => row.map(plain)), y: bar.y,
      text: bar.hover.map(hover), textposition: "none", hovertemplate: "%{text}<extra></extra>",
      marker: { color: colour(bar.slot), line: { width: 0 },
        pattern: { shape: HATCHES[bar.layer], fillmode: "overlay", size: 5, solidity: 0.5, fgcolor: css("--surface") } },
    })),
    shape: layout("", "bits per pixel", {
      barmode: "stack", bargap: 0.3, xaxis: axis("", { dividercolor: css("--line"), showgrid: false }),
    }),
  }));
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const [plot, make] of drawn) {
    const { traces, shape } = make();
    traces.forEach((trace, index) => (trace.visible = plot.data[index].visible ?? true));
    Plotly.react(plot, traces, shape, config);
  }
});

const body = document.querySelector("#trial-rows");
const more = document.querySelector(".more");
const count = document.querySelector(".filter output");
const words = data.trials.map((row) => row.cells.join(" ").toLowerCase());
const PAGE = 100;
let shown = PAGE;

function rows() {
  const wanted = document.querySelector(".filter input").value.toLowerCase().split(/\s+/);
  const found = data.trials.filter((_, index) => wanted.every((word) => words[index].includes(word)));
  body.replaceChildren(...found.slice(0, shown).map((row) => element("tr", {}, ...row.cells.map((cell, index) => {
    if (index === data.state_column) return element("td", {}, element("span", { class: `badge ${row.state}` }, cell));
    const kind = index === 0 ? "mono" : index === data.label_column ? "label" : "number";
    const because = index === data.label_column && row.because ? [element("small", {}, row.because)] : [];
    return element("td", { class: kind }, cell, ...because);
  }))));
  count.value = `${found.length} of ${data.trials.length} trials`;
  more.hidden = found.length <= shown;
}
document.querySelector(".filter input").addEventListener("input", () => { shown = PAGE; rows(); });
more.addEventListener("click", () => { shown += 10 * PAGE; rows(); });
rows();

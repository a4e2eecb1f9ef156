// Lists, filters and orders the trials from the JSON in #data; what page.js has is there.

const body = document.querySelector("#trial-rows");
const more = document.querySelector(".more");
const count = document.querySelector(".filter output");
const box = document.querySelector(".filter input");
for (const row of data.trials) row.facets.forEach((text, at) => {
  const column = data.columns.indexOf(data.facets[at]); // what can be chosen by is not there twice
  if (column >= 0) row.cells.splice(column, 0, data.texts[text]);
});
const words = data.trials.map((row) => row.cells.join(" ").toLowerCase());
const order = new Intl.Collator("en", { numeric: true });
const [LABEL, STATE] = ["label", "state"].map((name) => data.columns.indexOf(name));
const NO_FOLDER = ["new", "blocked", "skipped"]; // nothing is there to lead to
const PAGE = 100;
let shown = PAGE;
let sorted = { column: -1, falling: false };

// One choice for each property in which trials differ.
const chosen = data.facets.map((name, at) => {
  const values = [...new Set(data.trials.map((row) => row.facets[at]))].map((text) => [data.texts[text], text]);
  if (values.length < 2) return null;
  const select = element("select", { "aria-label": name }, element("option", { value: "" }, `any ${name}`));
  const known = values.filter(([text]) => text).sort(([one], [other]) => Number(one) - Number(other) || order.compare(one, other));
  select.append(...known.map(([text, value]) => element("option", { value }, ["kind", "tasks", "state"].includes(name) ? text : `${name} = ${text}`)));
  select.addEventListener("change", () => { shown = PAGE; rows(); });
  document.querySelector(".facets").append(select);
  return select;
});

function rows() {
  const wanted = box.value.toLowerCase().split(/\s+/);
  const found = data.trials.filter((row, index) =>
    chosen.every((select, at) => !select?.value || Number(select.value) === row.facets[at])
    && wanted.every((word) => words[index].includes(word)));
  if (sorted.column >= 0) {
    const sign = sorted.falling ? -1 : 1;
    found.sort((one, other) => sign * order.compare(one.cells[sorted.column], other.cells[sorted.column]));
  }
  body.replaceChildren(...found.slice(0, shown).map((row) => element("tr", {}, ...row.cells.map((cell, index) => {
    if (index === STATE) return element("td", {}, element("span", { class: `badge ${cell}` }, cell));
    if (index === 0) return element("td", { class: "mono" }, data.links.folder && !NO_FOLDER.includes(row.cells[STATE]) ? element("a", { href: `${data.links.folder}${cell}/` }, cell) : cell);
    const because = index === LABEL && row.because ? [element("small", {}, row.because)] : [];
    return element("td", { class: index === LABEL ? "label" : "number" }, cell, ...because);
  }))));
  count.value = `${found.length} of ${data.trials.length} trials`;
  more.hidden = found.length <= shown;
}

function search(text) {
  for (const select of chosen) if (select) select.value = "";
  box.value = text;
  shown = PAGE;
  rows();
}

document.querySelectorAll(".trials thead button").forEach((button, column) => button.addEventListener("click", () => {
  sorted = { column, falling: sorted.column === column && !sorted.falling };
  document.querySelectorAll(".trials th").forEach((head, at) => {
    if (at === column) head.setAttribute("aria-sort", sorted.falling ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
  rows();
}));
box.addEventListener("input", () => { shown = PAGE; rows(); });
more.addEventListener("click", () => { shown += 10 * PAGE; rows(); });
rows();

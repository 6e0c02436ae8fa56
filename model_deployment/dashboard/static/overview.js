// The table of deployments: live rows, filter, sort order, keyboard.
import { onChange, parse, patchRow } from "./live.js";

const body = document.querySelector("#deployments tbody");
const endpoints = document.querySelector("#endpoints tbody");
const filter = document.getElementById("filter");
const state = document.getElementById("state");
const sort = document.getElementById("sort");
const saved = JSON.parse(sessionStorage.getItem("overview") ?? "{}");
let by = saved.by ?? "name";
let down = saved.down ?? false;
filter.value = saved.filter ?? "";
state.value = saved.state ?? "";

const rows = () => [...body.rows];
const cell = (row) => row.querySelector(`[data-cell="${by}"]`).dataset.sort;

function compare(a, b) {
  const [x, y] = [cell(a), cell(b)];
  // Rows without a value come last in both directions.
  if ((x === "") !== (y === "")) return x === "" ? 1 : -1;
  const numbers = [Number(x), Number(y)];
  const known = numbers.every((value) => !Number.isNaN(value)) && x !== "";
  const found = known && by !== "name" ? numbers[0] - numbers[1] : x.localeCompare(y, "en", { numeric: true });
  return (down ? -found : found) || a.dataset.name.localeCompare(b.dataset.name, "en", { numeric: true });
}

function arrange() {
  const wanted = filter.value.trim().toLowerCase().split(/\s+/);
  const all = rows().sort(compare);
  let shown = 0;
  all.forEach((row, place) => {
    if (body.rows[place] !== row) body.insertBefore(row, body.rows[place] ?? null);
    const fits = wanted.every((word) => row.dataset.search.includes(word)) && (!state.value || row.dataset.state === state.value);
    row.hidden = !fits;
    shown += fits;
  });
  document.getElementById("none").hidden = all.length > 0;
  document.getElementById("some").hidden = all.length === 0;
  document.getElementById("nomatch").hidden = shown > 0 || all.length === 0;
  for (const button of document.querySelectorAll("[data-sort-by]")) {
    const head = button.parentElement;
    if (button.dataset.sortBy === by) head.setAttribute("aria-sort", down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
  sort.value = by;
  sessionStorage.setItem("overview", JSON.stringify({ by, down, filter: filter.value, state: state.value }));
}

const DOWN_FIRST = new Set(["rate", "p95", "errors", "memory"]);

function sortBy(name) {
  down = name === by ? !down : DOWN_FIRST.has(name);
  by = name;
  arrange();
}

/** Bring the rows of a table up to date. */
function update(table, changed, names) {
  const known = new Map([...table.rows].map((row) => [row.dataset.name, row]));
  for (const [name, html] of Object.entries(changed)) {
    const old = known.get(name);
    const focused = old?.contains(document.activeElement);
    if (old) patchRow(old, parse(html));
    else table.append(parse(html));
    if (focused && !old.contains(document.activeElement)) old.querySelector("a").focus();
  }
  if (names !== null) {
    const there = new Set(names);
    for (const row of [...table.rows]) if (!there.has(row.dataset.name)) row.remove();
  }
}

onChange(({ endpoints: changed, endpointNames: names }) => {
  update(endpoints, changed, names);
  if (names === null) return;
  names.forEach((name, place) => {
    const row = [...endpoints.rows].find((one) => one.dataset.name === name);
    if (endpoints.rows[place] !== row) endpoints.insertBefore(row, endpoints.rows[place]);
  });
  document.getElementById("endpoints").hidden = names.length === 0;
  document.getElementById("no-endpoints").hidden = names.length > 0;
});

onChange(({ rows: changed, names, facts }) => {
  if (facts !== null) document.getElementById("facts").innerHTML = facts;
  update(body, changed, names);
  // While the keyboard focus is on a row, rows keep their places.
  if (names !== null || !body.contains(document.activeElement)) arrange();
});

for (const button of document.querySelectorAll("[data-sort-by]")) button.addEventListener("click", () => sortBy(button.dataset.sortBy));
filter.addEventListener("input", arrange);
state.addEventListener("change", arrange);
sort.addEventListener("change", () => { down = DOWN_FIRST.has(sort.value); by = sort.value; arrange(); });
document.getElementById("clear").addEventListener("click", () => { filter.value = ""; state.value = ""; arrange(); filter.focus(); });

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    filter.focus();
    filter.select();
  } else if (event.key === "Escape" && event.target === filter) {
    filter.value = "";
    arrange();
  } else if (["ArrowDown", "ArrowUp", "j", "k"].includes(event.key) && (!typing || (event.target === filter && event.key.startsWith("Arrow")))) {
    const links = rows().filter((row) => !row.hidden).map((row) => row.querySelector("a"));
    if (!links.length) return;
    event.preventDefault();
    const at = links.indexOf(document.activeElement);
    const step = event.key === "ArrowDown" || event.key === "j" ? 1 : -1;
    const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + step));
    links[next].focus();
  }
});

arrange();

// The overview: live rows, grouped by model; filter, search, order and folds are in the address; keyboard.
import { onChange, parse, patchRow } from "./live.js";
import { address, readAddress, view } from "./overview-view.js";

const $ = (id) => document.getElementById(id);
const table = $("deployments");
const list = document.querySelector("#attention ol");
const filter = $("filter");
const sort = $("sort");
const filters = [...document.querySelectorAll("#counts a")];
/** Rows of deployments and endpoints, and lines of what needs attention, by name. */
const rows = new Map([...table.querySelectorAll("tr[data-name]")].map((row) => [row.dataset.name, row]));
const lines = new Map([...list.children].map((line) => [line.dataset.name, line]));
/** Bodies of the table, by what they are for. */
const bodies = new Map([["urgent", $("urgent-rows")]]);
for (const body of table.tBodies) {
  if (body.dataset.model) bodies.set(`model ${body.dataset.model}`, body);
  if (body.dataset.parked) bodies.set(`parked ${body.dataset.parked}`, body);
}
/** The order by need, as the server sends it. */
let order = {
  attention: [...lines.keys()],
  groups: [...table.tBodies].filter((body) => body.dataset.model).map((body) => ({
    model: body.dataset.model,
    endpoints: [...body.querySelectorAll(".endpoint")].map((row) => row.dataset.name),
    serving: [...body.querySelectorAll("tr[data-state]")].map((row) => row.dataset.name),
    parked: [...bodies.get(`parked ${body.dataset.model}`)?.rows ?? []].map((row) => row.dataset.name),
  })),
};
/** Parked versions of one model from which on they fold. */
const FOLD = 4;
/** Columns that are sorted from large to small first. */
const DOWN_FIRST = new Set(["rate", "p95", "errors", "callers", "memory"]);

/** Take the view from the address. */
function read() {
  readAddress(filters.map((one) => one.dataset.filter), [...sort.options].map((one) => one.value));
  if (filter.value !== view.q) filter.value = view.q;
}

/** Show something else, and keep it in the address. Steps that "Back" should undo are pushed. */
function show(changed, push = true) {
  const target = address(changed);
  if (target !== location.pathname + location.search) history[push ? "pushState" : "replaceState"](null, "", target);
  Object.assign(view, changed);
  arrange();
}

// -- order --------------------------------------------------------------------------------------------

const sortKey = (row) => row.querySelector(`[data-cell="${view.sort}"]`)?.dataset.sort ?? "";

function compare(a, b) {
  const [x, y] = [sortKey(a), sortKey(b)];
  // Rows without a value come last in both directions.
  if ((x === "") !== (y === "")) return x === "" ? 1 : -1;
  const numbers = [Number(x), Number(y)];
  const known = numbers.every((value) => !Number.isNaN(value)) && x !== "" && view.sort !== "name";
  const found = known ? numbers[0] - numbers[1] : x.localeCompare(y, "en", { numeric: true });
  return (view.down ? -found : found) || a.dataset.name.localeCompare(b.dataset.name, "en", { numeric: true });
}

/** Have an element contain these children in this order; those that are in their places are not touched. */
function place(parent, children) {
  children.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
  while (parent.children.length > children.length) parent.lastElementChild.remove();
}

function bodyFor(key) {
  if (!bodies.has(key)) bodies.set(key, document.createElement("tbody"));
  return bodies.get(key);
}

/** A row with a button that opens and folds what is below it. */
function toggle(key, kind, model) {
  const body = bodyFor(key);
  let row = body.querySelector(`tr.${kind}`);
  if (!row) {
    row = document.createElement("tr");
    row.className = kind;
    const cell = document.createElement("th");
    cell.colSpan = 9;
    cell.scope = "rowgroup";
    const button = document.createElement("button");
    button.type = "button";
    button.dataset[kind] = button.title = model;
    const more = document.createElement("span");
    more.className = "soft";
    cell.append(button, " ", more);
    row.append(cell);
  }
  return row;
}

function tell(row, text, more, open) {
  const [button, soft] = row.cells[0].children;
  if (button.textContent !== text) button.textContent = text;
  if (soft.textContent !== more) soft.textContent = more;
  button.setAttribute("aria-expanded", open);
}

const counted = (number, one, many = `${one}s`) => (number ? [`${number} ${number === 1 ? one : many}`] : []);

function matcher() {
  const words = view.q.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const urgent = new Set(order.attention);
  return (element) => {
    const { name, filter: kind, search } = element.dataset;
    if (!words.every((word) => search.includes(word))) return false;
    return view.state === "all" || view.state === kind || (view.state === "attention" && urgent.has(name));
  };
}

/** The bodies of the table by need: one for each model, and one for its parked versions. */
function grouped(fits) {
  const shown = [];
  const above = new Map();
  for (const name of order.attention) {
    const model = rows.get(name)?.dataset.model;
    above.set(model, (above.get(model) ?? 0) + 1);
  }
  for (const { model, endpoints, serving, parked } of order.groups) {
    const key = `model ${model}`, [main, rest] = [bodyFor(key), bodyFor(`parked ${model}`)];
    const present = [endpoints, serving, parked].map((names) => names.map((name) => rows.get(name)).filter(Boolean));
    for (const row of present.flat()) row.hidden = !fits(row);
    const [some, others, asleep] = present.map((all) => all.filter((row) => !row.hidden).length);
    const folds = asleep >= FOLD;
    // A model of which only parked versions are here is one line.
    const single = some + others === 0 && folds;
    const head = some + others + asleep > 1 && !single ? [toggle(key, "group", model)] : [];
    const open = !(head.length && view.closed.has(model));
    const fold = folds && open ? [toggle(key, "fold", model)] : [];
    const unfolded = !folds || view.open.has(model) || view.q.trim() !== "";
    if (head.length) {
      const parts = [...counted(some, "endpoint"), ...counted(others, "version"), ...counted(asleep, "parked", "parked"), ...counted(above.get(model) ?? 0, "above", "above")];
      tell(head[0], model, parts.join(", "), open);
    }
    if (fold.length) tell(fold[0], `${single ? `${model}: ` : ""}${asleep} parked versions`, unfolded ? "" : "they use no memory", unfolded);
    const listed = [...present[0], ...present[1]];
    if (!open) for (const row of listed) row.hidden = true;
    place(main, [...head, ...listed, ...fold]);
    place(rest, present[2]);
    main.hidden = some + others + asleep === 0;
    for (const body of [main, rest]) body.classList.toggle("grouped", head.length + fold.length > 0);
    rest.hidden = !(open && unfolded && asleep);
    shown.push(main, rest);
  }
  return shown;
}

function sorted(fits) {
  const body = bodyFor("sorted");
  const all = [...rows.values()].sort(compare);
  for (const row of all) row.hidden = !fits(row);
  place(body, all);
  body.hidden = false;
  return [body];
}

/** Bring the page in the order that is wanted. The row with the focus keeps it, and its place on the screen. */
function arrange() {
  const focused = document.activeElement;
  const inside = table.contains(focused) || list.contains(focused);
  const before = inside ? focused.getBoundingClientRect().top : 0;
  const named = inside && focused.closest("[data-name]")?.dataset.name;
  const fits = matcher();
  const byNeed = view.sort === "need";
  for (const line of lines.values()) line.hidden = !fits(line);
  place(list, order.attention.map((name) => lines.get(name)).filter(Boolean));
  const urgent = order.attention.map((name) => rows.get(name)).filter(Boolean);
  const shown = byNeed ? grouped(fits) : sorted(fits);
  if (byNeed) place(bodies.get("urgent"), urgent);
  bodies.get("urgent").hidden = true;
  [...table.tBodies].filter((body) => body !== bodies.get("urgent") && !shown.includes(body)).forEach((body) => body.remove());
  const after = [bodies.get("urgent"), ...shown];
  after.forEach((body, at) => { if (table.tBodies[at] !== body) table.insertBefore(body, table.tBodies[at] ?? null); });
  told(fits);
  if (inside) keepFocus(focused, before, named);
}

/** Focus what had the focus, or its name in the other list if it has moved there. */
function keepFocus(focused, before, named) {
  if (focused.checkVisibility()) {
    if (document.activeElement !== focused) focused.focus({ preventScroll: true });
    scrollBy({ top: focused.getBoundingClientRect().top - before, behavior: "instant" });
    return;
  }
  const links = [lines, rows].map((all) => all.get(named)?.querySelector("a.name"));
  (links.find((link) => link?.checkVisibility()) ?? filter).focus({ preventScroll: true });
}

/** Say beside the rows what they are: whether there are any, which filter and order hold. */
function told(fits) {
  const urgent = [...lines.values()].filter((line) => !line.hidden).length;
  $("attention").hidden = urgent === 0;
  const any = [...rows.values()].some(fits);
  table.hidden = ![...table.tBodies].some((body) => !body.hidden && [...body.rows].some((row) => !row.hidden));
  $("nomatch").hidden = any || rows.size === 0;
  const deployed = [...rows.values()].some((row) => row.dataset.state);
  $("none").hidden = deployed;
  $("some").hidden = $("counts").hidden = rows.size === 0;
  $("no-endpoints").hidden = [...rows.values()].some((row) => !row.dataset.state);
  sort.value = view.sort;
  for (const button of document.querySelectorAll("[data-sort-by]")) {
    const head = button.parentElement;
    if (button.dataset.sortBy === view.sort) head.setAttribute("aria-sort", view.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
  for (const link of filters) {
    const current = link.dataset.filter === view.state;
    link.href = address({ state: link.dataset.filter });
    if (current) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    link.hidden = !current && link.dataset.filter !== "all" && link.firstElementChild.textContent === "0";
  }
}

// -- live ---------------------------------------------------------------------------------------------

function update(known, changed, names, mine) {
  for (const [name, html] of Object.entries(changed)) {
    const old = known.get(name);
    const fresh = parse(html);
    if (!old) {
      known.set(name, fresh);
      continue;
    }
    const focused = old.contains(document.activeElement);
    patchRow(old, fresh);
    if (focused && !old.contains(document.activeElement)) old.querySelector("a").focus({ preventScroll: true });
  }
  if (names === null) return;
  const there = new Set(names);
  for (const [name, element] of known) {
    if (!mine(element) || there.has(name)) continue;
    element.remove();
    known.delete(name);
  }
}

onChange((change) => {
  const { facts, counts } = change;
  if (facts !== null) $("facts").innerHTML = facts;
  update(rows, change.rows, change.names, (row) => row.dataset.state !== undefined);
  update(rows, change.endpoints, change.endpointNames, (row) => row.dataset.state === undefined);
  update(lines, change.attention, change.attentionNames, () => true);
  if (change.order !== null) order = change.order;
  if (counts !== null) {
    for (const link of filters) {
      const count = counts[link.dataset.filter];
      link.firstElementChild.textContent = count;
      link.lastElementChild.textContent = count === 1 ? link.dataset.one : link.dataset.many;
    }
  }
  const moved = Object.keys(change.rows).length + Object.keys(change.endpoints).length + Object.keys(change.attention).length;
  if (moved || change.order !== null || counts !== null || change.names !== null) arrange();
});

// -- mouse and keyboard -------------------------------------------------------------------------------

const toggled = (set, member) => {
  const other = new Set(set);
  if (!other.delete(member)) other.add(member);
  return other;
};

table.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  const { sortBy, group, fold } = button.dataset;
  if (sortBy) show({ sort: sortBy, down: sortBy === view.sort ? !view.down : DOWN_FIRST.has(sortBy) });
  if (group !== undefined) show({ closed: toggled(view.closed, group) }, false);
  if (fold !== undefined) show({ open: toggled(view.open, fold) }, false);
});
$("counts").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show({ state: link.dataset.filter });
});
filter.addEventListener("input", () => show({ q: filter.value }, false));
sort.addEventListener("change", () => show({ sort: sort.value, down: DOWN_FIRST.has(sort.value) }));
$("clear").addEventListener("click", () => { filter.value = ""; show({ q: "", state: "all" }); filter.focus(); });
addEventListener("popstate", () => { read(); arrange(); });

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    filter.focus();
    filter.select();
  } else if (event.key === "Escape" && event.target === filter) {
    filter.value = "";
    show({ q: "" }, false);
  } else if (["ArrowDown", "ArrowUp", "j", "k"].includes(event.key) && (!typing || (event.target === filter && event.key.startsWith("Arrow")))) {
    const stops = [...document.querySelectorAll("#attention a.name, #deployments tbody :is(a.name, button)")].filter((one) => one.checkVisibility());
    if (!stops.length) return;
    event.preventDefault();
    const at = stops.indexOf(document.activeElement);
    const step = event.key === "ArrowDown" || event.key === "j" ? 1 : -1;
    const next = at < 0 ? (step > 0 ? 0 : stops.length - 1) : Math.min(stops.length - 1, Math.max(0, at + step));
    stops[next].focus();
  }
});

read();
arrange();

// Times in UTC, or in the time zone of this computer: chosen once, and kept in this browser.
const KEY = "model_deployment.zone";
const LOCAL = Intl.DateTimeFormat().resolvedOptions().timeZone || "local";
const listeners = new Set();
const pad = (number) => String(number).padStart(2, "0");

let local = false;
try { local = localStorage.getItem(KEY) === "local"; } catch { /* a browser that keeps nothing */ }

export const isLocal = () => local;

/** Call a function when the zone is chosen. */
export function onZone(listener) {
  listeners.add(listener);
}

/** Year, month, day, hour, minute and second of a date, in the chosen zone. */
export function parts(date) {
  const of = (name) => date[`get${local ? "" : "UTC"}${name}`]();
  return [of("FullYear"), of("Month") + 1, of("Date"), of("Hours"), of("Minutes"), of("Seconds")];
}

/** Milliseconds by which the clock of the chosen zone is ahead of UTC at a date. */
export const ahead = (date) => (local ? -60000 * date.getTimezoneOffset() : 0);

/** "2026-01-31". */
export const day = (date) => parts(date).slice(0, 3).map(pad).join("-");

/** "12:00". */
export const clock = (date) => parts(date).slice(3, 5).map(pad).join(":");

/** "2026-01-31 12:00:05", or one part of it: "minutes" for "2026-01-31 12:00", "clock" for "12:00". */
export function moment(date, detail = "seconds") {
  if (detail === "clock") return clock(date);
  return `${day(date)} ${clock(date)}${detail === "seconds" ? `:${pad(parts(date)[5])}` : ""}`;
}

/** An element that shows a time in the chosen zone, whichever is chosen later. */
export function timeElement(iso, detail = "seconds") {
  const element = document.createElement("time");
  element.dateTime = iso;
  element.dataset.show = detail;
  draw(element);
  return element;
}

function draw(element) {
  const date = new Date(element.dateTime);
  if (Number.isNaN(date.getTime())) return;
  const text = moment(date, element.dataset.show);
  if (element.textContent !== text) element.textContent = text;
  element.title = `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

function drawBelow(root) {
  if (root.matches?.("time[data-show]")) draw(root);
  for (const element of root.querySelectorAll("time[data-show]")) draw(element);
}

/** Let people choose in each place that a page has for it. */
function offer(place) {
  const select = document.createElement("select");
  select.setAttribute("aria-label", "Time zone");
  select.append(new Option("UTC", "utc", false, !local), new Option(LOCAL === "UTC" ? "local (UTC)" : LOCAL, "local", false, local));
  select.addEventListener("change", () => choose(select.value === "local"));
  place.replaceChildren("Times in ", select);
}

/** The foot of a page says "all times in UTC" while that is true. */
function tellUtc() {
  for (const note of document.querySelectorAll("[data-utc]")) note.hidden = local;
}

function choose(value) {
  local = value;
  try { localStorage.setItem(KEY, local ? "local" : "utc"); } catch { /* until the page is left */ }
  for (const select of document.querySelectorAll("[data-zone] select")) select.value = local ? "local" : "utc";
  drawBelow(document);
  tellUtc();
  for (const listener of listeners) listener();
}

for (const place of document.querySelectorAll("[data-zone]")) offer(place);
drawBelow(document);
tellUtc();
// What is loaded later has times, too.
new MutationObserver((changes) => {
  for (const { addedNodes } of changes) for (const node of addedNodes) if (node.nodeType === Node.ELEMENT_NODE) drawBelow(node);
}).observe(document.body, { childList: true, subtree: true });

// The tab "Logs and events". What is chosen is in the address, so a search can be sent.
import "./deployment-errors.js";
import { call } from "./live.js";
import { $, api, keepFresh, onState, operator, page } from "./deployment.js";
import { ahead, moment, onZone, timeElement } from "./times.js";

const LINES = 500;
const address = () => new URLSearchParams(location.search);

// -- events ----------------------------------------------------------------------------------------------

const eventsWanted = $("events-wanted");
const ALIVE = ["starting", "ready", "stopping"];
const KINDS = {
  "": () => true,
  changes: (event) => event.previous !== event.state,
  failures: (event) => event.state === "failed" || (event.state === "pending" && ALIVE.includes(event.previous)),
  notes: (event) => event.previous === event.state,
};
/** Which replica something happened to, in words. */
const place = ({ replica }) => (replica === null || replica === undefined ? "" : `replica ${replica}`);
let events = [];
/** Whether there is, or was, more than one replica. */
let several = false;
let eventsRequested = 0;
/** Ids of launches whose logs are kept. */
let launches = [];

function drawEvents() {
  const { text, kind } = eventsWanted.elements;
  const wanted = text.value.trim().toLowerCase();
  const shown = events.filter((event) => KINDS[kind.value](event) && `${event.state} ${event.reason} ${event.launch_id ?? ""} ${place(event)}`.toLowerCase().includes(wanted));
  document.querySelector("#events tbody").replaceChildren(...shown.map((event) => {
    const row = document.createElement("tr");
    row.insertCell().append(timeElement(event.at));
    row.insertCell().textContent = event.state;
    row.insertCell().textContent = event.reason;
    const cell = row.insertCell();
    if (several) cell.append(`${place(event)} `);
    if (event.launch_id && operator && launches.includes(event.launch_id)) {
      const link = document.createElement("a");
      link.href = `?${new URLSearchParams({ tab: "logs", launch: event.launch_id })}`;
      link.textContent = event.launch_id;
      cell.append(link);
    } else cell.append(event.launch_id ?? "");
    return row;
  }));
  $("events-shown").textContent = shown.length === events.length ? "" : `${shown.length} of ${events.length}`;
}

async function loadEvents() {
  const number = eventsRequested += 1;
  let found;
  try { found = await call("GET", `${api}/events?limit=500`); } catch { return; }
  if (number !== eventsRequested) return;
  events = found;
  several = events.some((event) => event.replica > 0);
  drawEvents();
}

eventsWanted.addEventListener("input", drawEvents);
eventsWanted.addEventListener("submit", (event) => event.preventDefault());
keepFresh(loadEvents, 30);
onState(({ state, before }) => {
  if (state === before) return;
  loadEvents();
  if (operator) loadLaunches();
});

// -- log -------------------------------------------------------------------------------------------------

const lines = $("lines");
const form = $("wanted");
let tag = "";
let found = [];
let timer = 0;
let requested = 0;

/** The part of the query that chooses lines. */
function query() {
  const chosen = address();
  const made = new URLSearchParams({ format: "json", lines: LINES });
  if (chosen.get("launch")) chosen.delete("replica");
  for (const name of ["search", "level", "launch", "replica", "since", "until"]) if (chosen.get(name)) made.set(name, chosen.get(name));
  return made;
}

/** A time with milliseconds, without its day, which the title has. */
function clock(iso) {
  const date = new Date(iso);
  return new Date(date.getTime() + ahead(date)).toISOString().slice(11, 23);
}

/** The text with what was searched for marked. */
function marked(text, search) {
  const lower = text.toLowerCase(), wanted = search.toLowerCase();
  // A letter may have another length in lower case: then the places are not those of the text.
  if (!wanted || lower.length !== text.length) return [text];
  const parts = [];
  let begin = 0;
  for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, begin)) {
    const hit = document.createElement("mark");
    hit.textContent = text.slice(at, at + wanted.length);
    parts.push(text.slice(begin, at), hit);
    begin = at + wanted.length;
  }
  return [...parts, text.slice(begin)];
}

function drawLog() {
  const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
  const { scrollTop } = lines;
  const search = address().get("search") ?? "";
  lines.replaceChildren(...found.map(({ at, level, text }) => {
    const row = document.createElement("span");
    row.className = `line ${level ?? ""}`;
    if (at) {
      const time = document.createElement("span");
      time.className = "at";
      time.textContent = `${clock(at)} `;
      time.title = moment(new Date(at));
      row.append(time);
    }
    row.append(...marked(text, search), "\n");
    return row;
  }));
  if (!found.length) lines.textContent = query().size > 2 ? "No line of the log is like this." : "The log is empty.";
  lines.scrollTop = atEnd ? lines.scrollHeight : scrollTop;
}

async function loadLog(anew = false) {
  clearTimeout(timer);
  const number = requested += 1;
  if (anew || (!document.hidden && ($("follow").checked || tag === ""))) {
    try {
      const answer = await fetch(`${api}/logs?${query()}`, { headers: tag && !anew ? { "If-None-Match": tag } : {} });
      if (number !== requested) return;
      $("log-problem").hidden = answer.ok || answer.status === 304;
      if (answer.ok) {
        tag = answer.headers.get("etag") ?? "";
        found = await answer.json();
        drawLog();
      } else if (answer.status !== 304) $("log-problem").textContent = (await answer.json()).detail;
    } catch { /* the banner says that the controller does not answer */ }
  }
  if (number === requested) timer = setTimeout(loadLog, page.dataset.state === "ready" ? 2000 : 1000);
}

/** Have the fields show what the address says. */
function readAddress() {
  const chosen = address();
  for (const field of form.elements) if (field.name) field.value = chosen.get(field.name) ?? "";
  const since = chosen.get("since");
  $("log-range").hidden = !since;
  if (!since) return;
  const all = document.createElement("a");
  const rest = address();
  rest.delete("since");
  rest.delete("until");
  all.href = `?${rest}`;
  all.textContent = "show all";
  const [from, until] = [new Date(since), new Date(chosen.get("until") ?? NaN)];
  const begin = Number.isNaN(from.getTime()) ? since : moment(from);
  $("log-range").replaceChildren(`from ${begin}${Number.isNaN(until.getTime()) ? "" : ` to ${moment(until)}`} · `, all);
}

function choose(event) {
  event?.preventDefault();
  const chosen = address();
  for (const field of form.elements) {
    if (!field.name) continue;
    if (field.value.trim()) chosen.set(field.name, field.value.trim());
    else chosen.delete(field.name);
  }
  history.replaceState(null, "", `?${chosen}`);
  loadLog(true);
}

async function loadLaunches() {
  let kept;
  try { kept = await call("GET", `${api}/launches`); } catch { return; }
  launches = kept.map((one) => one.launch_id);
  const select = form.elements.launch;
  const chosen = address().get("launch") ?? "";
  const numbered = kept.some((one) => one.replica > 0);
  select.replaceChildren(new Option(numbered ? "of the first replica" : "newest", ""), ...kept.map((one, number) => {
    const alive = numbered ? "runs" : number === 0 ? "newest" : "";
    const how = one.ended_at ? `ended: ${one.reason}` : alive;
    const which = numbered ? `${place(one)}, ` : "";
    return new Option(`${which}${moment(new Date(one.started_at))} ${how}`.slice(0, 90), one.launch_id);
  }));
  select.value = chosen;
  drawEvents();
}

if (operator) {
  let waits = 0;
  form.addEventListener("input", () => { clearTimeout(waits); waits = setTimeout(choose, 250); });
  form.addEventListener("submit", choose);
  addEventListener("popstate", () => { readAddress(); loadLog(true); });
  onZone(() => { drawLog(); readAddress(); loadLaunches(); });
  readAddress();
  loadLaunches();
  loadLog();
}

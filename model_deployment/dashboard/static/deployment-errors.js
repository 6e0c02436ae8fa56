// Errors of the model, grouped by what failed: the panel "Recent errors", and the cause of one failed request.
import { call } from "./live.js";
import { $, api, keepFresh, operator } from "./deployment.js";
import { moment, onZone, timeElement } from "./times.js";

/** Groups that are shown before all are asked for. */
const FIRST = 3;
const TRIES = 40;
const PAUSE = 750;

const element = (tag, className, ...content) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
};

/** The last line of the exception. */
function line({ exception, message }) {
  return element("p", "raised", element("b", "bad", exception), message ? `: ${message}` : "");
}

function traceback({ traceback: text }) {
  if (!text) return "";
  const pre = element("pre", "", text);
  pre.tabIndex = 0;
  const details = element("details", "", element("summary", "", "Traceback"), pre);
  // Its end says most.
  details.addEventListener("toggle", () => { pre.scrollTop = pre.scrollHeight; });
  return details;
}

function copyButton(id) {
  const button = element("button", "link", "Copy");
  button.type = "button";
  button.setAttribute("aria-label", `Copy the request id ${id}`);
  button.addEventListener("click", async () => {
    let done = "Copied";
    try { await navigator.clipboard.writeText(id); } catch {
      // Only pages from HTTPS or from this machine may write to the clipboard.
      getSelection().selectAllChildren(button.previousElementSibling);
      done = "Selected";
    }
    button.textContent = done;
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  return button;
}

/** The log around a request, in the launch that it was sent to. */
function logAddress(group, id) {
  const query = new URLSearchParams({ tab: "logs", search: id });
  if (group.launch_id) query.set("launch", group.launch_id);
  return `?${query}`;
}

function requests(group) {
  if (!group.request_ids.length) return "";
  const items = group.request_ids.map((id) => {
    const link = element("a", "", "log");
    link.href = logAddress(group, id);
    link.setAttribute("aria-label", `Log of the request ${id}`);
    return element("li", "", element("code", "", id), " ", copyButton(id), " ", link);
  });
  const label = group.count > items.length ? `Newest ${items.length} request ids` : items.length === 1 ? "Request id" : `${items.length} request ids`;
  return element("details", "", element("summary", "", label), element("ul", "ids", ...items));
}

function draw(group) {
  const when = element("p", "soft small", group.count === 1 ? "once, " : `${group.count.toLocaleString("en-US")} times, `);
  if (group.count > 1) when.append("first ", timeElement(group.first_at), ", last ");
  when.append(timeElement(group.last_at), `, answered ${group.status}`);
  return element("article", "failure", line(group), when, element("div", "folded", traceback(group), requests(group)));
}

// -- the panel -------------------------------------------------------------------------------------------

const box = $("errors");
let number = 0;
let shown = "";
let whole = false;

/** The range in the address, such as that of a red bar: else the last day. */
function range() {
  const query = new URLSearchParams(location.search);
  const [since, until] = [query.get("since"), query.get("until")];
  return since && until ? { since, until } : null;
}

function tellRange() {
  const chosen = range();
  const [since, until] = chosen ? [new Date(chosen.since), new Date(chosen.until)] : [];
  if (chosen && !Number.isNaN(since - until)) {
    const all = element("a", "", "show the last 24 hours");
    const query = new URLSearchParams(location.search);
    query.delete("since");
    query.delete("until");
    all.href = `?${query}`;
    $("errors-range").replaceChildren(`${moment(since)} to ${moment(until)} · `, all);
  } else $("errors-range").textContent = "last 24 hours";
}

function more(number) {
  const button = element("button", "", number === 1 ? "Show 1 more kind" : `Show ${number} more kinds`);
  button.type = "button";
  button.addEventListener("click", async () => {
    whole = true;
    shown = "";
    await load();
    box.children[FIRST]?.querySelector("summary")?.focus();
  });
  return button;
}

async function load() {
  const asked = number += 1;
  const query = new URLSearchParams(range() ?? { since: "24h" });
  let found;
  try { found = await call("GET", `${api}/errors?${query}`); } catch (error) {
    if (asked === number) {
      box.replaceChildren(element("p", "problem", error.message));
      shown = "";
    }
    return;
  }
  const text = JSON.stringify(found) + query;
  if (asked !== number || text === shown) return;
  const open = new Set([...box.querySelectorAll("details[open]")].map((one) => one.dataset.key));
  shown = text;
  tellRange();
  const some = whole ? found : found.slice(0, FIRST);
  box.replaceChildren(...some.map(draw));
  if (!found.length) box.append(element("p", "soft", "The model has failed no prediction."));
  if (some.length < found.length) box.append(more(found.length - some.length));
  // What somebody reads stays unfolded.
  const groups = [...box.children];
  for (const [at, group] of groups.entries()) for (const details of group.querySelectorAll("details")) {
    const { launch_id: launch, exception } = found[at] ?? {};
    details.dataset.key = `${launch}/${exception}/${details.firstChild.textContent}`;
    details.open = open.has(details.dataset.key);
  }
}

if (box) {
  keepFresh(load, 10);
  addEventListener("popstate", load);
  onZone(tellRange);
}

// -- one request -----------------------------------------------------------------------------------------

/** Show in a box why a request failed. The store knows it a moment after the answer. */
export async function showCause(place, requestId) {
  place.replaceChildren();
  place.hidden = !operator || !requestId;
  if (place.hidden) return;
  place.append(element("p", "soft small", "Looking for the exception …"));
  place.dataset.request = requestId;
  for (let tries = 0; tries < TRIES && place.dataset.request === requestId; tries += 1) {
    let found = [];
    try { found = await call("GET", `${api}/errors?request_id=${encodeURIComponent(requestId)}`); } catch { break; }
    if (place.dataset.request !== requestId) return;
    if (found.length) {
      const all = element("a", "", "All recent errors");
      all.href = "?tab=overview#recent-errors";
      const log = element("a", "", "Log");
      log.href = logAddress(found[0], requestId);
      const folded = traceback(found[0]);
      if (folded) folded.open = true;
      place.replaceChildren(line(found[0]), folded, element("p", "small", all, " · ", log));
      return;
    }
    await new Promise((done) => { setTimeout(done, PAUSE); });
  }
  if (place.dataset.request === requestId) place.replaceChildren(element("p", "soft small", "The exception is not known yet. Recent errors will show it."));
}

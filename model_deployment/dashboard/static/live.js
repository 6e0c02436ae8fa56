// Receives changes from the controller, and says when the controller is unreachable and when it is back.

const banner = document.getElementById("banner");
const STREAM = "/dashboard/events";
/** Milliseconds: silence until the connection counts as dead (heartbeats come every 10 s); grace while a page unloads; between attempts. */
const MAX_SILENCE = 25000, UNLOADING = 3000, RETRY = 2000;
const SILENT = "The controller does not answer. This page may be out of date. Reconnecting …";
const REFUSALS = {
  401: "You are signed out. Reload the page to sign in.",
  403: "You no longer have access to live updates. Reload the page.",
  429: "Too many dashboard pages are open. Close some. Reconnecting …",
};
const listeners = new Set();
let source = null;
let away = false;
let timer = 0;
let hiding = 0;
let receivedAt = 0;
let unloadAt = -Infinity;

/** Call a function with each change: {build, rows, names, endpoints, endpointNames, attention, attentionNames, order, counts, facts}; null stands for what has not changed. */
export function onChange(listener) {
  listeners.add(listener);
}

/** Reload the page if it was made by another release of the controller. */
function checkBuild(build) {
  const own = document.body.dataset.build;
  if (own && build !== own) location.reload();
}

/** HTML by name, for each of these members of a change: a row that is known comes as the lines that differ. */
const KEYED = ["rows", "endpoints", "attention"];
const known = new Map();

function completed(change) {
  for (const member of KEYED) {
    for (const [name, sent] of Object.entries(change[member])) {
      const key = `${member} ${name}`;
      let html = sent;
      if (typeof sent !== "string") {
        const lines = known.get(key).split("\n");
        for (const [place, line] of Object.entries(sent)) lines[place] = line;
        html = lines.join("\n");
      }
      known.set(key, html);
      change[member][name] = html;
    }
  }
  return change;
}

/** How many deployments and endpoints need attention: in the title of every page, and in its head. */
function tellUrgent({ order }) {
  if (order === null) return;
  const count = order.attention.length;
  document.title = `${count ? `(${count}) ` : ""}${document.title.replace(/^\(\d+\) /, "")}`;
  const badge = document.getElementById("urgent");
  badge.hidden = count === 0;
  badge.textContent = count ? `${count}` : "";
  badge.title = count === 1 ? "1 needs attention" : `${count} need attention`;
}

function duration(seconds) {
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
  if (minutes < 1) return "< 1 min";
  if (hours < 1) return `${minutes} min`;
  return days < 1 ? `${hours} h ${minutes % 60} min` : `${days} d ${hours % 24} h`;
}

/** Say of each moment within an element how long ago it was. */
export function tellAges(root = document) {
  for (const element of root.querySelectorAll("time[data-age]")) {
    const moment = element.dateTime;
    const age = duration((Date.now() - Date.parse(moment)) / 1000);
    const [day, time] = moment.replace("Z", "").split("T");
    const today = new Date().toISOString().startsWith(day);
    const text = element.dataset.age === "age" ? age : `${today ? "" : `${day} `}${time.slice(0, 5)} (${age})`;
    if (element.textContent !== text) element.textContent = text;
    if (!element.title) element.title = `${day} ${time} UTC`;
  }
}

function say(text, good) {
  banner.textContent = text;
  banner.classList.toggle("good", good);
  banner.hidden = false;
}

function disconnected(text) {
  clearTimeout(hiding);
  away = true;
  document.body.classList.add("away");
  if (banner.textContent !== text || banner.hidden) say(text, false);
}

function reconnected() {
  clearTimeout(timer);
  if (!away) return;
  away = false;
  document.body.classList.remove("away");
  say("The controller is back. This page is live again.", true);
  hiding = setTimeout(() => { banner.hidden = true; }, 4000);
  document.dispatchEvent(new Event("back"));
}

function disconnect() {
  clearTimeout(timer);
  source?.close();
  source = null;
}

function connect() {
  disconnect();
  receivedAt = performance.now();
  const own = source = new EventSource(STREAM);
  const received = () => { receivedAt = performance.now(); };
  own.addEventListener("open", () => { received(); reconnected(); });
  own.addEventListener("alive", received);
  own.addEventListener("change", (event) => {
    received();
    const change = completed(JSON.parse(event.data));
    checkBuild(change.build);
    tellUrgent(change);
    for (const listener of listeners) listener(change);
    tellAges();
  });
  own.addEventListener("error", () => {
    clearTimeout(timer);
    // A page that unloads loses its connection too, and sometimes stays after all.
    timer = setTimeout(() => explain(own), Math.max(0, unloadAt + UNLOADING - performance.now()));
  });
}

/** Say why there is no connection, and reconnect if the browser does not. */
async function explain(own) {
  if (own !== source) return;
  if (own.readyState !== EventSource.CLOSED) {
    disconnected(SILENT);
    return;
  }
  // An EventSource hides the status of a refusal.
  const status = await streamStatus();
  if (own !== source) return;
  if (status !== 200) disconnected(REFUSALS[status] ?? SILENT);
  if (status !== 401) timer = setTimeout(connect, status === 200 ? 0 : RETRY);
}

async function streamStatus() {
  const abort = new AbortController();
  const end = setTimeout(() => abort.abort(), MAX_SILENCE);
  try {
    return (await fetch(STREAM, { signal: abort.signal })).status;
  } catch {
    return 0;
  } finally {
    clearTimeout(end);
    abort.abort();
  }
}

// A controller that hangs and a silently dead network do not close the connection.
setInterval(() => {
  if (!source || source.readyState === EventSource.CLOSED) return;
  if (performance.now() - receivedAt < (Number(document.body.dataset.maxSilence) || MAX_SILENCE)) return;
  connect();
  disconnected(SILENT);
}, 1000);

tellAges();
setInterval(() => { if (!document.hidden) tellAges(); }, 10000);

// Browsers open at most six connections to a server; hidden pages need none.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) disconnect();
  else if (!source) connect();
});
addEventListener("beforeunload", () => { unloadAt = performance.now(); });
addEventListener("pageshow", (event) => { if (event.persisted) { unloadAt = -Infinity; connect(); } });
addEventListener("pagehide", disconnect);

if (!document.hidden) connect();

/** An element from HTML; the server has escaped every value in it. */
export function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  return template.content.firstElementChild;
}

/** Replace those children of a row that differ from those of the new row. */
export function patchRow(old, fresh) {
  tellAges(fresh);
  for (const { name, value } of fresh.attributes) if (name.startsWith("data-")) old.setAttribute(name, value);
  while (old.children.length > fresh.children.length) old.lastElementChild.remove();
  [...fresh.children].forEach((cell, place) => {
    const before = old.children[place];
    if (!before) old.append(cell.cloneNode(true));
    else if (before.outerHTML !== cell.outerHTML) before.replaceWith(cell.cloneNode(true));
  });
}

/** Show a message for a few seconds. */
export function toast(text) {
  const element = document.createElement("p");
  element.className = "toast";
  element.textContent = text;
  document.getElementById("toasts").append(element);
  setTimeout(() => element.remove(), 6000);
}

/** Call the API: its JSON, or an error with the server's explanation. */
export async function call(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Error("The controller does not answer. The request may or may not have been carried out. Check again in a moment.");
  }
  const text = await answer.text();
  let answered = null;
  try { answered = JSON.parse(text); } catch { /* not from our API */ }
  if (!answer.ok) throw new Error(answered?.detail ?? `The answer is ${answer.status} ${answer.statusText}.`);
  return answered;
}

/** Disable a button, and say what happens on it, while an action runs. */
export async function whileBusy(button, text, action) {
  const before = button.textContent;
  button.disabled = true;
  button.textContent = text;
  await action();
  button.disabled = false;
  button.textContent = before;
}

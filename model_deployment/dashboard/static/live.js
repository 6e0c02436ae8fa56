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

/** Call a function with each change: {build, rows, names, facts}; null stands for what has not changed. */
export function onChange(listener) {
  listeners.add(listener);
}

/** Reload the page if it was made by another release of the controller. */
function checkBuild(build) {
  const own = document.body.dataset.build;
  if (own && build !== own) location.reload();
}

function say(text, good) {
  banner.textContent = text;
  banner.classList.toggle("good", good);
  banner.hidden = false;
}

function disconnected(text) {
  clearTimeout(hiding);
  away = true;
  if (banner.textContent !== text || banner.hidden) say(text, false);
}

function reconnected() {
  clearTimeout(timer);
  if (!away) return;
  away = false;
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
    const change = JSON.parse(event.data);
    checkBuild(change.build);
    for (const listener of listeners) listener(change);
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

/** Replace those cells of a row that differ from the new row. */
export function patchRow(old, fresh) {
  for (const { name, value } of fresh.attributes) if (name.startsWith("data-")) old.setAttribute(name, value);
  [...fresh.children].forEach((cell, place) => {
    const before = old.children[place];
    if (before.outerHTML !== cell.outerHTML) before.replaceWith(cell.cloneNode(true));
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

// Hears what has changed, and says when the controller is away and when it is back.

const banner = document.getElementById("banner");
const STREAM = "/dashboard/events";
/** Milliseconds: without a word of a controller that says one every ten seconds; while a page is left; between tries. */
const PATIENCE = 25000, LEAVING = 3000, AGAIN = 2000;
const SILENT = "The controller does not answer. What you see is from before; trying again …";
const REFUSALS = {
  401: "You are signed out. Load the page anew to sign in.",
  403: "You may not see any more what happens. Load the page anew.",
  429: "Too many pages of this are open. Close some; trying again …",
};
const listeners = new Set();
let source = null;
let away = false;
let timer = 0;
let hiding = 0;
let heardAt = 0;
let leftAt = -Infinity;
// Only at first: this number means nothing to a controller that was started anew meanwhile.
let since = document.hidden ? undefined : document.body.dataset.serial;

/** Have a function called with each change: {build, rows, names, facts}. */
export function onChange(listener) {
  listeners.add(listener);
}

/** Have the page load anew when the controller is another release than the one that made it. */
function checkBuild(build) {
  const own = document.body.dataset.build;
  if (own && build !== own) location.reload();
}

function say(text, good) {
  banner.textContent = text;
  banner.classList.toggle("good", good);
  banner.hidden = false;
}

function lost(text) {
  clearTimeout(hiding);
  away = true;
  document.body.classList.add("away");
  if (banner.textContent !== text || banner.hidden) say(text, false);
}

function found() {
  clearTimeout(timer);
  if (!away) return;
  away = false;
  document.body.classList.remove("away");
  say("The controller is back; what you see is live again.", true);
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
  heardAt = performance.now();
  const own = source = new EventSource(since === undefined ? STREAM : `${STREAM}?since=${encodeURIComponent(since)}`);
  const first = since !== undefined;
  since = undefined;
  const heard = () => { heardAt = performance.now(); };
  own.addEventListener("open", () => { heard(); found(); });
  own.addEventListener("alive", heard);
  own.addEventListener("change", (event) => {
    heard();
    const change = JSON.parse(event.data);
    checkBuild(change.build);
    for (const listener of listeners) listener(change);
  });
  own.addEventListener("error", () => {
    if (first) own.close();  // the browser would ask with the old number again
    clearTimeout(timer);
    // A page that is being left loses its connection as well, and sometimes is not left after all.
    timer = setTimeout(() => judge(own), Math.max(0, leftAt + LEAVING - performance.now()));
  });
}

/** Say why there is no connection, and try again where the browser does not. */
async function judge(own) {
  if (own !== source) return;
  if (own.readyState !== EventSource.CLOSED) {
    lost(SILENT);
    return;
  }
  // The browser tells nobody with which status it was refused.
  const status = await refusal();
  if (own !== source) return;
  if (status !== 200) lost(REFUSALS[status] ?? SILENT);
  if (status !== 401) timer = setTimeout(connect, status === 200 ? 0 : AGAIN);
}

async function refusal() {
  const asked = new AbortController();
  const end = setTimeout(() => asked.abort(), PATIENCE);
  try {
    return (await fetch(STREAM, { signal: asked.signal })).status;
  } catch {
    return 0;
  } finally {
    clearTimeout(end);
    asked.abort();
  }
}

// A controller that hangs, and a line that died without a word, break no connection.
setInterval(() => {
  if (!source || source.readyState === EventSource.CLOSED) return;
  if (performance.now() - heardAt < (Number(document.body.dataset.patience) || PATIENCE)) return;
  connect();
  lost(SILENT);
}, 1000);

// Browsers open six connections to a server at most; pages that nobody sees need none.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) disconnect();
  else if (!source) connect();
});
addEventListener("beforeunload", () => { leftAt = performance.now(); });
addEventListener("pageshow", (event) => { if (event.persisted) { leftAt = -Infinity; connect(); } });
addEventListener("pagehide", disconnect);

if (!document.hidden) connect();

/** An element from HTML that the server has escaped. */
export function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  return template.content.firstElementChild;
}

/** Put the cells of a new row into the old one, and touch only those that differ. */
export function patchRow(old, fresh) {
  for (const { name, value } of fresh.attributes) if (name.startsWith("data-")) old.setAttribute(name, value);
  [...fresh.children].forEach((cell, place) => {
    const before = old.children[place];
    if (before.outerHTML !== cell.outerHTML) before.replaceWith(cell.cloneNode(true));
  });
}

/** Say something in passing. */
export function toast(text) {
  const element = document.createElement("p");
  element.className = "toast";
  element.textContent = text;
  document.getElementById("toasts").append(element);
  setTimeout(() => element.remove(), 6000);
}

/** Make a call of the API; its JSON, or an error with what the server says. */
export async function call(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Error("The controller does not answer. Nothing is known of what became of this; look again in a moment.");
  }
  const text = await answer.text();
  let told = null;
  try { told = JSON.parse(text); } catch { /* not ours */ }
  if (!answer.ok) {
    const error = new Error(told?.detail ?? `The answer was ${answer.status} ${answer.statusText}.`);
    error.status = answer.status;
    error.told = told;
    throw error;
  }
  return told;
}

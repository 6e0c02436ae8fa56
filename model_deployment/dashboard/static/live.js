// Hears what has changed, and says when the controller is away and when it is back.

const banner = document.getElementById("banner");
const listeners = new Set();
let source = null;
let away = false;
let timer = 0;
let leaving = false;

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

function connect() {
  clearTimeout(timer);
  if (source) source.close();
  source = new EventSource("/dashboard/events");
  source.addEventListener("open", () => {
    if (!away) return;
    away = false;
    document.body.classList.remove("away");
    say("The controller is back; what you see is live again.", true);
    timer = setTimeout(() => { banner.hidden = true; }, 4000);
    document.dispatchEvent(new Event("back"));
  });
  source.addEventListener("change", (event) => {
    const change = JSON.parse(event.data);
    checkBuild(change.build);
    for (const listener of listeners) listener(change);
  });
  source.addEventListener("error", () => {
    if (leaving) return;
    clearTimeout(timer);
    away = true;
    document.body.classList.add("away");
    say("The controller does not answer. What you see is from before; trying again …", false);
    // A browser gives up by itself where a gateway answers in its place.
    if (source.readyState === EventSource.CLOSED) timer = setTimeout(connect, 2000);
  });
}

// Browsers open six connections to a server at most; pages that nobody sees need none.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
  } else if (!source) connect();
});
addEventListener("beforeunload", () => { leaving = true; });
addEventListener("pageshow", (event) => { leaving = false; if (event.persisted) connect(); });
addEventListener("pagehide", () => { if (source) source.close(); });

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

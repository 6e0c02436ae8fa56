// The editor of the settings of the project: checks while somebody types, saves, brings an older text back.
import { toast, whileBusy } from "./live.js";
import "./times.js";

const SETTINGS = "/api/flow-project/settings", HISTORY = "/api/flow-project/history";
/** Milliseconds without a key after which a text is checked. */
const PAUSE = 400;
const AWAY = "The controller does not answer. The text may or may not have been saved. Try again in a moment.";
const $ = (id) => document.getElementById(id);
const form = $("settings"), text = $("text"), lines = $("lines"), list = $("problems"), failed = $("failed");
const save = $("save"), undo = $("undo"), state = $("state");

/** The text that the file has, and its tag. */
let saved = text.value, tag = `"${form.dataset.tag}"`;
let timer = 0, check = 0;
let usable = false;

const changed = () => text.value !== saved;

function say(message, tone = "") {
  state.textContent = message;
  state.className = tone || "soft";
}

/** Send YAML, and return what is answered; refusals are answers too. */
async function send(method, path, headers = {}) {
  const answer = await fetch(path, { method, headers: { "Content-Type": "application/yaml", ...headers }, body: text.value });
  const body = await answer.text();
  let answered = {};
  try { answered = JSON.parse(body); } catch { /* not from our API */ }
  return { ok: answer.ok, status: answer.status, tag: answer.headers.get("ETag"), answered };
}

function numberLines(wrong = new Set()) {
  const count = text.value.split("\n").length;
  lines.replaceChildren();
  for (let line = 1; line <= count; line++) {
    const number = document.createElement(wrong.has(line) ? "b" : "span");
    number.textContent = line;
    lines.append(number, "\n");
  }
  lines.scrollTop = text.scrollTop;
}

function showProblems(problems) {
  list.replaceChildren(...problems.map(({ line, key, message }) => {
    const item = document.createElement("li");
    if (line) {
      const go = document.createElement("button");
      go.type = "button";
      go.className = "link";
      go.dataset.line = line;
      go.textContent = `line ${line}`;
      item.append(go, ": ");
    }
    if (key) {
      const name = document.createElement("b");
      name.textContent = key;
      item.append(name, ": ");
    }
    item.append(message);
    return item;
  }));
  list.hidden = problems.length === 0;
  text.setAttribute("aria-invalid", String(problems.length > 0));
  numberLines(new Set(problems.map((one) => one.line)));
}

function update() {
  save.disabled = !changed() || !usable;
  undo.disabled = !changed();
}

async function checkNow() {
  const number = ++check;
  let found;
  try {
    found = await send("POST", `${SETTINGS}/check`);
  } catch {
    say("The controller does not answer; the text is not checked.", "bad");
    return;
  }
  if (number !== check) return; // somebody has typed meanwhile
  if (!found.ok) {
    say(found.answered.detail ?? `The answer is ${found.status}.`, "bad");
    return;
  }
  usable = found.answered.usable;
  const count = found.answered.problems.length;
  showProblems(found.answered.problems);
  if (!usable) say(`${count} problem${count === 1 ? "" : "s"}`, "bad");
  else say(changed() ? "can be saved" : "saved", changed() ? "good" : "");
  update();
}

function edited() {
  failed.hidden = true;
  usable = false;
  numberLines();
  update();
  clearTimeout(timer);
  timer = setTimeout(checkNow, PAUSE);
}

text.addEventListener("input", edited);
text.addEventListener("scroll", () => { lines.scrollTop = text.scrollTop; });

list.addEventListener("click", ({ target }) => {
  const line = Number(target.dataset.line);
  if (!line) return;
  const before = text.value.split("\n").slice(0, line - 1).join("\n").length;
  const start = line === 1 ? 0 : before + 1;
  const end = text.value.indexOf("\n", start);
  text.focus();
  text.setSelectionRange(start, end === -1 ? text.value.length : end);
  text.scrollTop = (line - 6) * parseFloat(getComputedStyle(text).lineHeight);
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (save.disabled) return;
  whileBusy(save, "Saving …", async () => {
    failed.hidden = true;
    try {
      const { ok, answered } = await send("PUT", SETTINGS, { "If-Match": tag });
      if (ok) {
        saved = text.value; // nothing is asked about leaving
        toast(`Saved as number ${answered.number}`);
        location.assign(location.pathname);
        return;
      }
      if (answered.problems) showProblems(answered.problems);
      failed.textContent = answered.detail ?? "The settings cannot be saved.";
    } catch {
      failed.textContent = AWAY;
    }
    failed.hidden = false;
  }).then(update);
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "s" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  form.requestSubmit();
});

undo.addEventListener("click", () => {
  text.value = saved;
  edited();
  text.focus();
});

document.addEventListener("click", async ({ target }) => {
  const number = target.dataset?.bring;
  if (!number) return;
  try {
    const answer = await fetch(`${HISTORY}/${number}`);
    const answered = await answer.json();
    if (!answer.ok) throw new Error(answered.detail);
    text.value = answered.text;
    edited();
    text.focus();
    toast(`Number ${number} is in the editor; save it to bring it back`);
  } catch (error) {
    failed.textContent = error.message || AWAY;
    failed.hidden = false;
  }
});

$("compare")?.addEventListener("click", () => {
  const asked = new URLSearchParams({ old: $("old").value });
  if ($("new").value) asked.set("new", $("new").value);
  location.assign(`${location.pathname}?${asked}#difference`);
});

addEventListener("beforeunload", (event) => { if (changed()) event.preventDefault(); });

// What the browser has kept of an earlier visit is a change like any other.
numberLines();
checkNow();

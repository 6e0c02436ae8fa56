// The log of a device: the last lines that it sent, filtered here. What is chosen is in the address.
import { call } from "./live.js";
import { timeElement } from "./times.js";

const $ = (id) => document.getElementById(id);
/** Lines of the first look, which are all that are kept, and of each later one; milliseconds between two looks. */
const ALL = 1000, NEW = 200, PERIOD = 5000;
/** Levels that are shown where one is chosen, the least urgent first. */
const LEVELS = ["debug", "info", "warning", "error", "critical"];
const form = $("log-wanted");
const { api } = $("device").dataset;
/** By id, newest first. */
let lines = [];
let drawn = "";

function wanted({ level, text }) {
  const { search, level: least } = form.elements;
  const rank = LEVELS.indexOf(level.toLowerCase());
  return text.toLowerCase().includes(search.value.trim().toLowerCase()) && (!least.value || rank === -1 || rank >= LEVELS.indexOf(least.value));
}

/** A line; the text is text, whatever is in it. */
function shown({ at, level, text }) {
  const line = document.createElement("span");
  line.className = `line ${LEVELS.includes(level.toLowerCase()) ? level.toLowerCase() : ""}`;
  const time = timeElement(at);
  time.className = "at";
  line.append(time, ` ${level} `, `${text}\n`);
  return line;
}

function draw() {
  const found = lines.filter(wanted);
  const mark = found.map(({ id }) => id).join();
  $("log-shown").textContent = found.length === lines.length ? "" : `${found.length} of ${lines.length} lines`;
  if (mark === drawn && $("lines").hasChildNodes()) return;
  drawn = mark;
  const end = $("follow").checked;
  $("lines").replaceChildren(...(found.length ? found.toReversed().map(shown) : [lines.length ? "No line matches." : "The device has sent no lines yet."]));
  if (end) $("lines").scrollTop = $("lines").scrollHeight;
}

async function look() {
  try {
    const answered = await call("GET", `${api}/logs?lines=${lines.length ? NEW : ALL}`);
    const known = new Map([...lines, ...answered].map((one) => [one.id, one]));
    lines = [...known.values()].sort((one, other) => other.id - one.id).slice(0, ALL);
    $("log-problem").hidden = true;
    draw();
  } catch (error) {
    $("log-problem").textContent = error.message;
    $("log-problem").hidden = false;
  }
}

function choose(event) {
  event?.preventDefault();
  const chosen = new URLSearchParams(location.search);
  for (const { name, value } of form.elements) {
    if (name && value.trim()) chosen.set(name, value.trim());
    else if (name) chosen.delete(name);
  }
  history.replaceState(null, "", `?${chosen}`);
  draw();
}

if (form) {
  const chosen = new URLSearchParams(location.search);
  for (const field of form.elements) if (field.name) field.value = chosen.get(field.name) ?? "";
  form.addEventListener("input", choose);
  form.addEventListener("submit", choose);
  look();
  setInterval(() => { if (!document.hidden) look(); }, PERIOD);
}

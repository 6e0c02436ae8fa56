// The page of one run: its tasks and its result, and the log as it grows.
import { keepFresh } from "./flow-actions.js";
import { timeElement } from "./times.js";

/** Lines that one call answers; lines that the page keeps of the log's begin, and of its end. */
const LINES = 200, FIRST = 1000, LAST = 4001;
const { run } = document.getElementById("now").dataset;
const log = document.getElementById("log");
const follow = document.getElementById("follow");
const prefect = document.getElementById("prefect");
let seen = 0;
let leftOut = 0;
let reading = false;

function shown({ at, level, message }) {
  const line = document.createElement("span");
  line.className = `line ${level.toLowerCase()}`;
  const mark = document.createElement("b");
  mark.textContent = ` ${level} `;
  line.append(timeElement(at), mark, `${message}\n`);
  return line;
}

function shorten() {
  const lines = log.getElementsByClassName("line");
  const surplus = lines.length - FIRST - LAST;
  if (surplus <= 0) return;
  for (let n = 0; n < surplus; n++) lines[FIRST].remove();
  leftOut += surplus;
  let gap = document.getElementById("left-out");
  if (!gap) {
    gap = document.createElement("span");
    gap.id = "left-out";
    lines[FIRST - 1].after(gap);
  }
  gap.textContent = `… ${leftOut} lines are left out\n`;
}

async function read() {
  if (!log || reading) return;
  reading = true;
  try {
    for (let full = true; full;) {
      const { checked } = prefect;
      const answer = await fetch(`/api/flow-runs/${encodeURIComponent(run)}/logs?offset=${seen}&limit=${LINES}&prefect=${checked}`);
      if (!answer.ok) break;
      const lines = await answer.json();
      if (checked !== prefect.checked) continue;
      log.append(...lines.map(shown));
      shorten();
      seen += lines.length;
      full = lines.length === LINES;
      if (lines.length && follow.checked) log.scrollTop = log.scrollHeight;
    }
  } catch { /* the banner says that the controller does not answer */ }
  reading = false;
}

prefect?.addEventListener("change", () => {
  log.replaceChildren();
  seen = 0;
  leftOut = 0;
  read();
});
keepFresh("now", `/dashboard/flows/runs/${encodeURIComponent(run)}/now`, read);
read();

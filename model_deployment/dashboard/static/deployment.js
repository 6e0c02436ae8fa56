// The head of a deployment's page, on every tab: state, reason, actions; and what the scripts of tabs share.
import { call, onChange, parse, toast, whileBusy } from "./live.js";
import "./times.js";

export const page = document.getElementById("page");
export const { name, path } = page.dataset;
/** Where the API has this deployment. */
export const api = `/model${path}`;
export const operator = page.dataset.operator === "1";
export const $ = (id) => document.getElementById(id);

let busy = false;
/** Whether it starts for a request: then the page stays as it is. */
let woken = false;
/** Whether it stops because it was idle: then it answers requests, as a parked deployment does. */
let parking = page.dataset.parking === "1";
const listeners = new Set();

/** Call a function with each state: {state, before, answers, parked, woken}. */
export function onState(listener) {
  listeners.add(listener);
}

/** Show a state, or the one that is known again. */
export function show(state = page.dataset.state, reason, isParking, advice) {
  const before = page.dataset.state;
  const starting = state === "pending" || state === "starting";
  const wasWoken = woken;
  woken = starting && (woken || before === "parked" || parking);
  parking = isParking ?? (reason === undefined && state === "stopping" && parking);
  page.dataset.state = state;
  const parked = state === "parked" || parking;
  $("trouble").hidden = state !== "failed";
  $("waiting").hidden = !starting || woken;
  $("over").hidden = state !== "stopped";
  if (reason !== undefined) $("why").textContent = reason;
  if (advice !== undefined) $("helps").textContent = advice;
  if (operator && !busy) {
    const focused = document.activeElement;
    $("again").hidden = state !== "failed" && state !== "stopped";
    $("undeploy").hidden = state === "stopped" || (state === "stopping" && !parking);
    if (focused?.closest(".title") && focused.hidden) moveFocus();
  }
  // A request starts a parked deployment.
  const answers = state === "ready" || parked || woken;
  for (const listener of listeners) listener({ state, before, answers, parked, woken, wasWoken });
}

/** Focus another button, or the heading, after the focused button has gone. */
function moveFocus() {
  const button = [$("again"), $("undeploy")].find((one) => one && !one.hidden && !one.disabled);
  (button ?? $("name")).focus();
}

export function drawState(state, reason) {
  const badge = document.createElement("span");
  badge.className = `badge ${state}`;
  badge.textContent = state;
  const why = document.createElement("span");
  why.className = "reason";
  why.textContent = state === "ready" ? "" : reason;
  page.querySelector("[data-live-cell=state]").replaceChildren(badge, why);  // the next change has the replicas
}

onChange(({ rows, names }) => {
  const html = rows[name];
  if (html) {
    const row = parse(html);
    for (const cell of page.querySelectorAll("[data-live-cell]")) {
      const fresh = row.querySelector(`[data-cell="${cell.dataset.liveCell}"]`);
      if (fresh && fresh.innerHTML !== cell.innerHTML) cell.replaceChildren(...fresh.cloneNode(true).childNodes);
    }
    const before = page.dataset.state;
    const wasWoken = woken;
    const reason = row.querySelector(".reason")?.textContent ?? "";
    show(row.dataset.state, reason, row.dataset.parking === "1", row.dataset.advice);
    if (row.dataset.state === "ready" && before !== "ready" && before !== "parked" && !wasWoken) toast(`${name} is ready.`);
  } else if (names !== null && !names.includes(name) && page.dataset.state !== "stopped") {
    show("stopped");
    drawState("stopped", "");
    for (const cell of page.querySelectorAll("dd[data-live-cell]:not([data-live-cell=verdict])")) cell.textContent = "–";
  }
});

// -- parts that the server renders ---------------------------------------------------------------------

/** Fill a box with a part that the server rendered; any other answer is shown as text. */
export function fill(box, answer, text) {
  const html = answer.headers.get("content-type")?.startsWith("text/html");
  const whole = /^\s*<(!doctype|html)\b/i.test(text);
  if (html && !whole) {
    const at = box.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    const down = box.querySelector(".tall")?.scrollTop ?? 0;
    box.innerHTML = text;
    const list = box.querySelector(".tall");
    if (list) list.scrollTop = down;
    if (at !== undefined) box.querySelector(`[data-key="${CSS.escape(at)}"]`)?.focus({ preventScroll: true });
    return;
  }
  const message = whole ? new DOMParser().parseFromString(text, "text/html").querySelector("main p")?.textContent : text;
  const problem = document.createElement("p");
  problem.className = "problem";
  problem.textContent = `The answer is ${answer.status}: ${(message ?? "").slice(0, 500)}`;
  box.replaceChildren(problem);
}

const requested = {};
const rendered = {};

/** Load a part into the box of its name, and say whether the box has changed. */
export async function loadPart(which, query = "", render = fill) {
  const box = page.querySelector(`[data-part="${which}"]`);
  if (!box) return false;
  const number = requested[which] = (requested[which] ?? 0) + 1;
  try {
    const answer = await fetch(`/dashboard/deployments${path}/${which}${query}`);
    const text = await answer.text();
    // A newer request makes this answer obsolete.
    if (number !== requested[which] || text === rendered[which]) return false;
    rendered[which] = text;
    render(box, answer, text);
    return true;
  } catch {
    return false;  // the banner says that the controller does not answer
  }
}

/** Load something now, again and again while the page is seen, and when the controller is back. */
export function keepFresh(load, seconds) {
  load();
  setInterval(() => { if (!document.hidden) load(); }, 1000 * seconds);
  document.addEventListener("back", load);
}

export function showProblem(element, error) {
  element.textContent = error.message;
  element.hidden = false;
}

// -- copy buttons --------------------------------------------------------------------------------------

for (const button of document.querySelectorAll("[data-copy]")) {
  const target = $(button.dataset.copy);
  const label = button.textContent;
  button.addEventListener("click", async () => {
    let done = "Copied";
    try { await navigator.clipboard.writeText(target.textContent); } catch {
      // Only pages from HTTPS or from this machine may write to the clipboard.
      getSelection().selectAllChildren(target);
      done = "Selected";
    }
    button.textContent = done;
    setTimeout(() => { button.textContent = label; }, 1500);
  });
}

// -- deploy again, undeploy ----------------------------------------------------------------------------

if (operator) {
  const dialog = $("confirm");
  const yes = $("confirm-yes");
  $("undeploy").addEventListener("click", () => { $("confirm-problem").hidden = true; dialog.showModal(); $("confirm-no").focus(); });
  $("confirm-no").addEventListener("click", () => dialog.close());
  /** Deploy or undeploy, and show the new state at once. */
  const change = async (address, body) => {
    busy = true;
    const row = await call("POST", address, body).finally(() => { busy = false; });
    show(row.state, row.reason, undefined, row.advice);
    drawState(row.state, row.reason);
    return row;
  };
  yes.addEventListener("click", async () => {
    $("undeploy").disabled = true;
    await whileBusy(yes, "Undeploying …", async () => {
      try {
        const row = await change(`/undeploy${path}`);
        dialog.close();
        toast(row.state === "stopped" ? `${name} is undeployed.` : `${name} is being undeployed.`);
      } catch (error) {
        showProblem($("confirm-problem"), error);
      }
    });
    $("undeploy").disabled = false;
    if (!dialog.open) moveFocus();
  });
  $("again").addEventListener("click", async () => {
    const options = JSON.parse(page.dataset.options);
    if (options.retention_days === null) delete options.retention_days;
    await whileBusy($("again"), "Deploying …", () => change(`${page.dataset.deploy}?wait=0`, options).catch((error) => toast(error.message)));
    moveFocus();
  });
}

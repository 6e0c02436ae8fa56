// The page of one deployment: keeps state, figures, reports, events and log up to date.
import { call, onChange, parse, toast, whileBusy } from "./live.js";
import { predicting } from "./predict.js";

const page = document.getElementById("page");
const { name, path } = page.dataset;
const api = `/model${path}`;
const operator = page.dataset.operator === "1";
const $ = (id) => document.getElementById(id);
let busy = false;
/** Whether it starts for a request: then the page keeps its layout. */
let woken = false;
/** Whether it stops because it was idle: then it answers requests, as a parked deployment does. */
let parking = page.dataset.parking === "1";

// -- state ------------------------------------------------------------------------------------------

function show(state, reason, isParking, advice) {
  const before = page.dataset.state;
  const starting = state === "pending" || state === "starting";
  woken = starting && (woken || before === "parked" || parking);
  parking = isParking ?? (reason === undefined && state === "stopping" && parking);
  page.dataset.state = state;
  const parked = state === "parked" || parking;
  const answers = state === "ready" || parked || woken;  // a request starts a parked deployment
  $("ask").disabled = predicting || !answers;
  $("cannot").hidden = predicting || answers;
  $("parked").hidden = !parked;
  $("woken").hidden = !woken;
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
  placeLog((starting && !woken) || state === "failed");
  if (state !== before) loadEvents();
}

/** Focus another button, or the heading, after the focused button has gone. */
function moveFocus() {
  const button = [$("again"), $("undeploy")].find((one) => !one.hidden && !one.disabled);
  (button ?? $("name")).focus();
}

/** The log comes first while the deployment starts or after it failed. Elements are moved, so that the Tab key follows. */
function placeLog(first) {
  const section = $("log");
  const [top, end] = [$("facts").nextElementSibling === section, page.lastElementChild === section];
  if (first ? top : end) return;
  const focused = section.contains(document.activeElement) ? document.activeElement : null;
  if (first) $("facts").after(section);
  else page.append(section);
  focused?.focus({ preventScroll: true });
  if (operator && $("follow").checked) $("lines").scrollTop = $("lines").scrollHeight;
}

document.addEventListener("predicted", () => show(page.dataset.state));

function drawState(state, reason) {
  const badge = document.createElement("span");
  badge.className = `badge ${state}`;
  badge.textContent = state;
  const why = document.createElement("span");
  why.className = "reason";
  why.textContent = state === "ready" ? "" : reason;
  page.querySelector("[data-live-cell=state]").replaceChildren(badge, why);
}

/** How endpoints of its model use versions, by their names. */
const uses = new Map();

onChange(({ endpoints, endpointNames }) => {
  const before = JSON.stringify([...uses]);
  for (const html of Object.values(endpoints)) {
    const row = parse(html).dataset;
    if (row.model === page.dataset.model) uses.set(row.name, row.uses);
  }
  if (endpointNames !== null) for (const one of uses.keys()) if (!endpointNames.includes(one)) uses.delete(one);
  if (JSON.stringify([...uses]) !== before) loadPart("uses");
});

let shownVerdict = page.querySelector("[data-live-cell=verdict]").textContent;

onChange(({ rows, names }) => {
  const html = rows[name];
  if (html) {
    const row = parse(html);
    for (const cell of page.querySelectorAll("[data-live-cell]")) {
      const fresh = row.querySelector(`[data-cell="${cell.dataset.liveCell}"]`);
      if (fresh.innerHTML !== cell.innerHTML) cell.replaceChildren(...fresh.cloneNode(true).childNodes);
    }
    const before = page.dataset.state;
    const wasWoken = woken;
    const verdict = page.querySelector("[data-live-cell=verdict]").textContent;
    const reason = row.querySelector(".reason")?.textContent ?? "";
    show(row.dataset.state, reason, row.dataset.parking === "1", row.dataset.advice);
    if (row.dataset.state === "ready" && before !== "ready") {
      // The form needs the model files, which were not here before.
      if (page.dataset.known === "0") location.reload();
      if (!wasWoken && before !== "parked") toast(`${name} is ready.`);
      loadPart("charts");
    }
    if (verdict !== shownVerdict) loadPart("reports");
    shownVerdict = verdict;
  } else if (names !== null && !names.includes(name) && page.dataset.state !== "stopped") {
    show("stopped");
    drawState("stopped", "");
    for (const cell of page.querySelectorAll("dd[data-live-cell]:not([data-live-cell=verdict])")) cell.textContent = "–";
  }
});

// -- parts that the server renders ---------------------------------------------------------------------

/** Fill a box with a part that the server rendered; any other answer is shown as text. */
function fill(box, answer, text) {
  const html = answer.headers.get("content-type")?.startsWith("text/html");
  const whole = /^\s*<(!doctype|html)\b/i.test(text);
  if (html && !whole) {
    const at = box.contains(document.activeElement) ? document.activeElement.dataset.view : undefined;
    const down = box.querySelector(".tall")?.scrollTop ?? 0;
    box.innerHTML = text;
    const list = box.querySelector(".tall");
    if (list) list.scrollTop = down;
    if (at !== undefined) box.querySelector(`[data-view="${CSS.escape(at)}"]`)?.focus({ preventScroll: true });
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

async function loadPart(which) {
  const box = page.querySelector(`[data-part="${which}"]`);
  const query = which === "charts" ? `?window=${$("window").value}` : "";
  const number = requested[which] = (requested[which] ?? 0) + 1;
  try {
    const answer = await fetch(`/dashboard/deployments${path}/${which}${query}`);
    const text = await answer.text();
    // A newer request makes this answer obsolete.
    if (number !== requested[which] || text === rendered[which]) return;
    rendered[which] = text;
    fill(box, answer, text);
  } catch { /* the banner says that the controller does not answer */ }
}

$("window").addEventListener("change", () => loadPart("charts"));
// A long window changes slowly and costs more to compute: load it every fourth time.
let ticks = 0;
setInterval(() => {
  ticks += 1;
  const long = ["6h", "24h"].includes($("window").value);
  if (!document.hidden && (!long || ticks % 4 === 0)) loadPart("charts");
}, 15000);
// Scheduled reports change nothing else on this page.
setInterval(() => { if (!document.hidden) { loadPart("reports"); loadEvents(); } }, 30000);
document.addEventListener("back", () => { loadPart("charts"); loadPart("reports"); loadEvents(); });

const loadColumns = $("load-columns");
loadColumns?.addEventListener("click", async () => {
  await whileBusy(loadColumns, "Loading …", async () => {
    try {
      const answer = await fetch(`/dashboard/deployments${path}/columns`);
      fill($("columns"), answer, await answer.text());
    } catch {
      toast("The controller does not answer.");
    }
  });
  loadColumns.textContent = "Load again";
});

function showProblem(element, error) {
  element.textContent = error.message;
  element.hidden = false;
}

// -- reports -----------------------------------------------------------------------------------------

const where = (id) => `${api}/degradation_report?id=${encodeURIComponent(id)}`;

function view(source, title) {
  $("viewer-title").textContent = title;
  $("frame").src = source;
  $("viewer").hidden = false;
  $("viewer").scrollIntoView({ block: "nearest" });
}

$("metrics").addEventListener("click", (event) => {
  const button = event.target.closest("[data-view]");
  if (button) view(button.dataset.view, `Report of ${button.closest("tr").cells[0].textContent}`);
});
$("viewer-close").addEventListener("click", () => {
  $("viewer").hidden = true;
  $("frame").removeAttribute("src");
});

$("report").addEventListener("click", async () => {
  $("report").disabled = true;
  $("making").hidden = false;
  $("report-problem").hidden = true;
  try {
    let made = await call("GET", `${api}/degradation_report?format=json&wait=20`);
    while (made.status === "running") made = await call("GET", `${where(made.id)}&format=json&wait=20`);
    await loadPart("reports");
    if (made.verdict !== "error") view(where(made.id), "New report");
    else throw new Error(made.report.reasons[0]?.message ?? "Cannot create the report. See the controller’s log.");
  } catch (error) {
    showProblem($("report-problem"), error);
  }
  $("making").hidden = true;
  $("report").disabled = false;
});

// -- events and log ----------------------------------------------------------------------------------

let eventsRequested = 0;

async function loadEvents() {
  const number = eventsRequested += 1;
  let found;
  try { found = await call("GET", `${api}/events?limit=100`); } catch { return; }
  if (number !== eventsRequested) return;
  const rows = found.map((event) => {
    const row = document.createElement("tr");
    for (const text of [event.at.slice(0, 19).replace("T", " "), event.state, event.reason]) row.insertCell().textContent = text;
    return row;
  });
  document.querySelector("#events tbody").replaceChildren(...rows);
}

const lines = $("lines");
let shownLog = null;
let tag = "";

async function loadLog() {
  if (!document.hidden && ($("follow").checked || shownLog === null)) {
    try {
      const answer = await fetch(`${api}/logs?lines=400`, { headers: tag ? { "If-None-Match": tag } : {} });
      const text = answer.ok ? await answer.text() : "";
      if (answer.ok && text !== shownLog) {
        tag = answer.headers.get("etag") ?? "";
        const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
        shownLog = text;
        lines.textContent = text || "The log is empty.";
        if (atEnd) lines.scrollTop = lines.scrollHeight;
      }
    } catch { /* the banner says that the controller does not answer */ }
  }
  setTimeout(loadLog, page.dataset.state === "ready" ? 2000 : 1000);
}

// -- deploy again, undeploy ----------------------------------------------------------------------------

if (operator) {
  loadLog();
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

loadPart("charts");
loadPart("reports");
loadEvents();

// One deployment: its state, figures, reports, events and log, kept up to date while somebody looks.
import { call, onChange, parse, toast } from "./live.js";
import { asking } from "./predict.js";

const page = document.getElementById("page");
const { name, path } = page.dataset;
const api = `/model${path}`;
const operator = page.dataset.operator === "1";
const $ = (id) => document.getElementById(id);
let busy = false;
/** Whether it starts because a request woke it: then the page stays as it is. */
let woken = false;
/** Whether it stops only to be parked: then it answers whoever asks, as a parked one does. */
let parking = page.dataset.parking === "1";

// -- state ------------------------------------------------------------------------------------------

function show(state, reason, parks, advice) {
  const before = page.dataset.state;
  const coming = state === "pending" || state === "starting";
  woken = coming && (woken || before === "parked" || parking);
  parking = parks ?? (reason === undefined && state === "stopping" && parking);
  page.dataset.state = state;
  const rests = state === "parked" || parking;
  const answers = state === "ready" || rests || woken;  // a request wakes a parked one
  $("ask").disabled = asking || !answers;
  $("cannot").hidden = asking || answers;
  $("parked").hidden = !rests;
  $("woken").hidden = !woken;
  $("trouble").hidden = state !== "failed";
  $("waiting").hidden = !coming || woken;
  $("over").hidden = state !== "stopped";
  if (reason !== undefined) $("why").textContent = reason;
  if (advice !== undefined) $("helps").textContent = advice;
  if (operator && !busy) {
    const focused = document.activeElement;
    $("again").hidden = state !== "failed" && state !== "stopped";
    $("undeploy").hidden = state === "stopped" || (state === "stopping" && !parking);
    if (focused?.closest(".title") && focused.hidden) rest();
  }
  place((coming && !woken) || state === "failed");
  if (state !== before) events();
}

/** Where somebody goes on whose button is gone. */
function rest() {
  const button = [$("again"), $("undeploy")].find((one) => !one.hidden && !one.disabled);
  (button ?? $("name")).focus();
}

/** While it starts, or has failed to, its log says the most. The order of the page is that of its elements, for keys too. */
function place(first) {
  const section = $("log");
  const [top, end] = [$("facts").nextElementSibling === section, page.lastElementChild === section];
  if (first ? top : end) return;
  const focused = section.contains(document.activeElement) ? document.activeElement : null;
  if (first) $("facts").after(section);
  else page.append(section);
  focused?.focus({ preventScroll: true });
  if (operator && $("follow").checked) $("lines").scrollTop = $("lines").scrollHeight;
}

document.addEventListener("asked", () => show(page.dataset.state));

function drawState(state, reason) {
  const badge = document.createElement("span");
  badge.className = `badge ${state}`;
  badge.textContent = state;
  const why = document.createElement("span");
  why.className = "reason";
  why.textContent = state === "ready" ? "" : reason;
  page.querySelector("[data-live-cell=state]").replaceChildren(badge, why);
}

let shown = page.querySelector("[data-live-cell=verdict]").textContent;

/** What helps with a failure is written by the server; what was typed into the form stays. */
async function advise() {
  if (page.dataset.known === "0") {
    location.reload();
    return;
  }
  try {
    const written = new DOMParser().parseFromString(await (await fetch(location.pathname)).text(), "text/html");
    const fresh = written.getElementById("trouble");
    if (fresh && !fresh.hidden) $("trouble").replaceChildren(...fresh.childNodes);
  } catch { /* the banner says that the controller is away */ }
}

onChange(({ rows, names }) => {
  const html = rows[name];
  if (html) {
    const row = parse(`<table>${html}</table>`).querySelector("tr");
    for (const cell of page.querySelectorAll("[data-live-cell]")) {
      const fresh = row.querySelector(`[data-cell="${cell.dataset.liveCell}"]`);
      if (fresh.innerHTML !== cell.innerHTML) cell.replaceChildren(...fresh.cloneNode(true).childNodes);
    }
    const before = page.dataset.state;
    const wasWoken = woken;
    const verdict = page.querySelector("[data-live-cell=verdict]").textContent;
    const reason = row.querySelector(".reason")?.textContent ?? "";
    show(row.dataset.state, reason, row.dataset.parking === "1", row.dataset.advice);
    if (row.dataset.state === "failed" && before !== "failed") advise();
    if (row.dataset.state === "ready" && before !== "ready") {
      // Its form could not be made before its files were here.
      if (page.dataset.known === "0") location.reload();
      if (!wasWoken && before !== "parked") toast(`${name} is ready.`);
      part("charts");
    }
    if (verdict !== shown) part("reports");
    shown = verdict;
  } else if (names !== null && !names.includes(name) && page.dataset.state !== "stopped") {
    show("stopped");
    drawState("stopped", "");
    for (const cell of page.querySelectorAll("dd[data-live-cell]:not([data-live-cell=verdict])")) cell.textContent = "–";
  }
});

// -- parts that the server draws ---------------------------------------------------------------------

/** Put a part that the server has drawn into a box; what is no part of ours is shown as the text it is. */
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
  const told = whole ? new DOMParser().parseFromString(text, "text/html").querySelector("main p")?.textContent : text;
  const problem = document.createElement("p");
  problem.className = "problem";
  problem.textContent = `The answer was ${answer.status}: ${(told ?? "").slice(0, 500)}`;
  box.replaceChildren(problem);
}

const asks = {};
const drawn = {};

async function part(which) {
  const box = page.querySelector(`[data-part="${which}"]`);
  const query = which === "charts" ? `?window=${$("window").value}` : "";
  const number = asks[which] = (asks[which] ?? 0) + 1;
  try {
    const answer = await fetch(`/dashboard/deployments${path}/${which}${query}`);
    const text = await answer.text();
    // An answer that was overtaken is of another window, or older.
    if (number !== asks[which] || text === drawn[which]) return;
    drawn[which] = text;
    fill(box, answer, text);
  } catch { /* the banner says that the controller is away */ }
}

$("window").addEventListener("change", () => part("charts"));
// A long window changes little in a quarter of a minute, and takes longer to add up.
let beat = 0;
setInterval(() => {
  beat += 1;
  const long = ["6h", "24h"].includes($("window").value);
  if (!document.hidden && (!long || beat % 4 === 0)) part("charts");
}, 15000);
// Reports that are made by the clock change nothing else on this page.
setInterval(() => { if (!document.hidden) { part("reports"); events(); } }, 30000);
document.addEventListener("back", () => { part("charts"); part("reports"); events(); });

const look = $("look");
look?.addEventListener("click", async () => {
  look.disabled = true;
  look.textContent = "Loading …";
  try {
    const answer = await fetch(`/dashboard/deployments${path}/columns`);
    fill($("columns"), answer, await answer.text());
  } catch {
    toast("The controller does not answer.");
  }
  look.disabled = false;
  look.textContent = "Load again";
});

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
    await part("reports");
    if (made.verdict !== "error") view(where(made.id), "The report that was made now");
    else throw new Error(made.report.reasons[0]?.message ?? "The report could not be made.");
  } catch (error) {
    $("report-problem").textContent = error.message;
    $("report-problem").hidden = false;
  }
  $("making").hidden = true;
  $("report").disabled = false;
});

// -- events and log ----------------------------------------------------------------------------------

let eventsAsked = 0;

async function events() {
  const number = eventsAsked += 1;
  let found;
  try { found = await call("GET", `${api}/events?limit=100`); } catch { return; }
  if (number !== eventsAsked) return;
  const rows = found.map((event) => {
    const row = document.createElement("tr");
    for (const text of [event.at.slice(0, 19).replace("T", " "), event.state, event.reason]) row.insertCell().textContent = text;
    return row;
  });
  document.querySelector("#events tbody").replaceChildren(...rows);
}

const lines = $("lines");
let written = null;
let tag = "";

async function log() {
  if (!document.hidden && ($("follow").checked || written === null)) {
    try {
      const answer = await fetch(`${api}/logs?lines=400`, { headers: tag ? { "If-None-Match": tag } : {} });
      const text = answer.ok ? await answer.text() : "";
      if (answer.ok && text !== written) {
        tag = answer.headers.get("etag") ?? "";
        const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
        written = text;
        lines.textContent = text || "Nothing was written yet.";
        if (atEnd) lines.scrollTop = lines.scrollHeight;
      }
    } catch { /* away */ }
  }
  setTimeout(log, page.dataset.state === "ready" ? 2000 : 1000);
}

// -- deploy again, undeploy ----------------------------------------------------------------------------

if (operator) {
  log();
  const dialog = $("confirm");
  const yes = $("confirm-yes");
  $("undeploy").addEventListener("click", () => { $("confirm-problem").hidden = true; dialog.showModal(); $("confirm-no").focus(); });
  $("confirm-no").addEventListener("click", () => dialog.close());
  yes.addEventListener("click", async () => {
    busy = true;
    yes.disabled = $("undeploy").disabled = true;
    yes.textContent = "Undeploying …";
    try {
      const row = await call("POST", `/undeploy${path}`);
      busy = false;
      show(row.state, row.reason, undefined, row.advice);
      drawState(row.state, row.reason);
      dialog.close();
      toast(row.state === "stopped" ? `${name} is undeployed.` : `${name} is on its way out.`);
    } catch (error) {
      busy = false;
      $("confirm-problem").textContent = error.message;
      $("confirm-problem").hidden = false;
    }
    yes.disabled = $("undeploy").disabled = false;
    yes.textContent = "Undeploy";
    if (!dialog.open) rest();
  });
  $("again").addEventListener("click", async () => {
    const again = $("again");
    busy = true;
    again.disabled = true;
    again.textContent = "Deploying …";
    const options = JSON.parse(page.dataset.options);
    if (options.retention_days === null) delete options.retention_days;
    try {
      const row = await call("POST", `${page.dataset.deploy}?wait=0`, options);
      busy = false;
      show(row.state, row.reason, undefined, row.advice);
      drawState(row.state, row.reason);
    } catch (error) {
      busy = false;
      toast(error.message);
    }
    again.disabled = false;
    again.textContent = "Deploy again";
    rest();
  });
}

part("charts");
part("reports");
events();

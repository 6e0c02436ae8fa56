// One deployment: its state, figures, reports, events and log, kept up to date while somebody looks.
import { call, onChange, parse, toast } from "./live.js";

const page = document.getElementById("page");
const { name, path } = page.dataset;
const api = `/model${path}`;
const operator = page.dataset.operator === "1";
const $ = (id) => document.getElementById(id);
let busy = false;

// -- state ------------------------------------------------------------------------------------------

function show(state, reason) {
  const changed = page.dataset.state !== state;
  page.dataset.state = state;
  const answers = state === "ready" || state === "parked";  // a request wakes a parked one
  $("ask").disabled = !answers;
  $("cannot").hidden = answers;
  $("trouble").hidden = state !== "failed";
  $("waiting").hidden = state !== "pending" && state !== "starting";
  $("over").hidden = state !== "stopped";
  if (reason !== undefined) $("why").textContent = reason;
  if (operator && !busy) {
    $("again").hidden = state !== "failed" && state !== "stopped";
    $("undeploy").hidden = state === "stopped" || state === "stopping";
  }
  if (changed) events();
  return changed;
}

function drawState(state, reason) {
  const badge = document.createElement("span");
  badge.className = `badge ${state}`;
  badge.textContent = state;
  const why = document.createElement("span");
  why.className = "reason";
  why.textContent = reason;
  page.querySelector("[data-live-cell=state]").replaceChildren(badge, why);
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
    const reason = row.querySelector(".reason")?.textContent ?? "";
    // What helps with a failure is written by the server.
    if (show(row.dataset.state, reason) && row.dataset.state === "failed" && before !== "failed") location.reload();
    if (row.dataset.state === "ready" && before !== "ready") {
      // Its form could not be made before its files were here.
      if (page.dataset.known === "0") location.reload();
      toast(`${name} is ready.`);
      part("charts");
    }
  } else if (names !== null && !names.includes(name) && page.dataset.state !== "stopped") {
    show("stopped");
    drawState("stopped", "");
    for (const cell of page.querySelectorAll("dd[data-live-cell]:not([data-live-cell=verdict])")) cell.textContent = "–";
  }
});

// -- parts that the server draws ---------------------------------------------------------------------

/** Put a part that the server has drawn into a box; what is no page of ours is shown as the text it is. */
async function fill(box, path) {
  const answer = await fetch(path);
  const text = await answer.text();
  if (answer.headers.get("content-type")?.startsWith("text/html")) {
    box.innerHTML = text;
    return;
  }
  const problem = document.createElement("p");
  problem.className = "problem";
  problem.textContent = `The answer was ${answer.status}: ${text.slice(0, 500)}`;
  box.replaceChildren(problem);
}

async function part(which) {
  const box = page.querySelector(`[data-part="${which}"]`);
  const query = which === "charts" ? `?window=${$("window").value}` : "";
  try {
    await fill(box, `/dashboard/deployments${path}/${which}${query}`);
  } catch { /* the banner says that the controller is away */ }
}

$("window").addEventListener("change", () => part("charts"));
setInterval(() => { if (!document.hidden) part("charts"); }, 15000);
document.addEventListener("back", () => { part("charts"); part("reports"); events(); });

const look = $("look");
look?.addEventListener("click", async () => {
  look.disabled = true;
  look.textContent = "Looking …";
  try {
    await fill($("columns"), `/dashboard/deployments${path}/columns`);
  } catch {
    toast("The controller does not answer.");
  }
  look.disabled = false;
  look.textContent = "Look again";
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

async function events() {
  let found;
  try { found = await call("GET", `${api}/events?limit=100`); } catch { return; }
  const rows = found.map((event) => {
    const row = document.createElement("tr");
    for (const text of [event.at.slice(0, 19).replace("T", " "), event.state, event.reason]) row.insertCell().textContent = text;
    return row;
  });
  document.querySelector("#events tbody").replaceChildren(...rows);
}

const lines = $("lines");
let written = null;

async function log() {
  if (!document.hidden && ($("follow").checked || written === null)) {
    try {
      const answer = await fetch(`${api}/logs?lines=400`);
      const text = answer.ok ? await answer.text() : "";
      if (answer.ok && text !== written) {
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
      show(row.state, row.reason);
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
      show(row.state, row.reason);
      drawState(row.state, row.reason);
    } catch (error) {
      busy = false;
      toast(error.message);
    }
    again.disabled = false;
    again.textContent = "Deploy again";
  });
}

part("charts");
part("reports");
events();

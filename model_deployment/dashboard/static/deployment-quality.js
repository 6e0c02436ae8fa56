// The tab "Quality": metrics and reports. A report opens in a tab of its own.
import { drawCharts } from "./charts.js";
import { call, onChange, parse } from "./live.js";
import { $, api, fill, keepFresh, loadPart, name, path, showProblem } from "./deployment.js";

const load = () => loadPart("reports", "", (box, answer, text) => {
  fill(box, answer, text);
  drawCharts(box);
});
// Scheduled reports change nothing else on this page but the verdict.
keepFresh(load, 30);
let verdict = null;
onChange(({ rows }) => {
  if (!rows[name]) return;
  const now = parse(rows[name]).querySelector("[data-cell=verdict]")?.textContent ?? "";
  if (verdict !== null && now !== verdict) load();
  verdict = now;
});

const where = (id) => `${api}/degradation_report?id=${encodeURIComponent(id)}&format=json`;

// Until now a press would have been lost.
$("report").disabled = false;
$("report").addEventListener("click", async () => {
  $("report").disabled = true;
  $("making").hidden = false;
  $("made").hidden = true;
  $("report-problem").hidden = true;
  try {
    let made = await call("GET", `${api}/degradation_report?format=json&wait=20`);
    while (made.status === "running") made = await call("GET", `${where(made.id)}&wait=20`);
    await load();
    if (made.verdict === "error") throw new Error(made.report.reasons[0]?.message ?? "Cannot create the report. See the controller’s log.");
    $("made-link").href = `/dashboard/reports${path}/${encodeURIComponent(made.id)}`;
    $("made").hidden = false;
    $("made-link").focus();
  } catch (error) {
    showProblem($("report-problem"), error);
  }
  $("making").hidden = true;
  $("report").disabled = false;
});

// The tab "Overview": what the model is, its recent errors, the endpoints that use it, and its traffic.
import "./deployment-about.js";
import "./deployment-errors.js";
import { drawCharts, renew } from "./charts.js";
import { onChange, parse } from "./live.js";
import { $, fill, keepFresh, loadPart, onState, page } from "./deployment.js";

// -- endpoints -------------------------------------------------------------------------------------------

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

// -- launches --------------------------------------------------------------------------------------------

keepFresh(() => loadPart("launches"), 5);
onChange(({ rows }) => { if (rows[page.dataset.name]) loadPart("launches"); });

// -- traffic ---------------------------------------------------------------------------------------------

const iso = (seconds) => new Date(seconds * 1000).toISOString().replace(".000", "");

/** The range in the address, which a zoom puts there: Back leaves it, and it can be sent. */
function range() {
  const { searchParams } = new URL(location.href);
  const [since, until] = [searchParams.get("since"), searchParams.get("until")];
  return since && until ? { since, until } : null;
}

function goTo(tab, since, until) {
  const address = new URL(location.href);
  address.search = new URLSearchParams(since === undefined ? { tab } : { tab, since: iso(since), until: iso(until) });
  return address;
}

const options = {
  zoom(since, until) {
    history.pushState(null, "", goTo("overview", since, until));
    loadCharts();
  },
  errors(since, until) { location.assign(goTo("logs", since, until)); },
};

function render(box, answer, text) {
  if (answer.ok && renew(box, text)) return;
  fill(box, answer, text);
  drawCharts(box, options);
}

function loadCharts() {
  const chosen = range();
  $("unzoom").hidden = chosen === null;
  $("window").disabled = chosen !== null;
  return loadPart("charts", `?${new URLSearchParams(chosen ?? { window: $("window").value })}`, render);
}

$("window").addEventListener("change", loadCharts);
$("unzoom").addEventListener("click", () => {
  history.pushState(null, "", goTo("overview"));
  loadCharts();
  $("window").focus();
});
addEventListener("popstate", loadCharts);
// A long window changes slowly and costs more to compute: load it every fourth time.
let ticks = 0;
keepFresh(() => {
  const long = range() !== null || ["6h", "24h"].includes($("window").value);
  if (!long || ticks % 4 === 0) loadCharts();
  ticks += 1;
}, 15);
onState(({ state, before }) => { if (state === "ready" && before !== "ready") loadCharts(); });

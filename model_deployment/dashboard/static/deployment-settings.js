// The tab "Settings": changes options in place, restarts, parks, and shows how far that is.
import { api, name, onState, operator, page, path, showProblem } from "./deployment.js";
import { call, onChange, toast, whileBusy } from "./live.js";
import { curl, fieldsOf, flags, quote, room, valueOf } from "./option-form.js";

const $ = (id) => document.getElementById(id);
const box = $("replacement");
const WORDS = {
  pending: (one) => `${capital(one.purpose)}: waiting. ${capital(one.reason)}.`,
  starting: (one) => `${capital(one.purpose)}: the new launch is starting. The present one serves meanwhile.`,
  stopping: (one) => `${capital(one.purpose)}: the new launch is being ended. ${capital(one.reason)}.`,
  retiring: (one) => (one.launches_before > 1
    ? `${capital(one.purpose)}: the first new launch serves. ${one.launches_before} launches of before are being replaced, one after another.`
    : `${capital(one.purpose)}: done. The launch before finishes its requests.`),
  failed: (one) => `${capital(one.purpose)} failed: ${one.reason}. The launch before goes on with its options.`,
};
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
/** Milliseconds between two looks while a change is under way. */
const OFTEN = 700;
/** The same while the number of replicas changes: a replica that cannot start may take long. */
const SELDOM = 2000;
let timer = 0;
let underWay = false;
/** The difference that is left once what was asked for is in force. */
let wanted = "{}";
const form = $("change");
/** The fields of the form that changes the number of replicas alone. */
const scale = $("scale")?.elements;

/** How many replicas serve, of those that are to. */
function counted({ wanted: many, ready }) {
  return many || ready ? `${ready} of ${many} serve` : "none now";
}

/** Show how far a change is, and look again while it goes on. */
function draw(row) {
  $("replicas").textContent = counted(row.replicas);
  const change = row.replacement;
  const before = underWay;
  underWay = change !== null && change.state !== "failed";
  const scaling = row.state !== "failed" && row.replicas.ready !== row.replicas.wanted;
  const text = change ? WORDS[change.state](change) : "";
  if (box.textContent !== text) box.textContent = text;
  box.hidden = !change;
  box.className = change?.state === "failed" ? "problem" : "note";
  clearTimeout(timer);
  if (underWay || scaling) timer = setTimeout(look, underWay ? OFTEN : SELDOM);
  if (form) scale.replicas.dataset.now = JSON.stringify(row.options.replicas);
  if (form) for (const field of fieldsOf(form)) field.dataset.now = JSON.stringify(row.options[field.name]);
  // The fields show what is in force, unless something else was filled in meanwhile.
  if (before && !change && JSON.stringify(difference()) === wanted) location.reload();
  enable();
}

async function look() {
  try {
    draw(await call("GET", api));
  } catch { /* the banner says that the controller does not answer */ }
}

onChange(({ rows }) => { if (rows[name]) look(); });
look();

// -- the form ------------------------------------------------------------------------------------------

const isChanged = () => form !== null && Object.keys(difference()).length > 0;

function enable() {
  if (!operator) return;
  const state = page.dataset.state;
  const gone = state === "stopped" || state === "stopping";
  $("restart").disabled = underWay || gone;
  $("park").disabled = underWay || state !== "ready";
  const number = valueOf(scale.replicas);
  $("scale-go").disabled = underWay || gone || number === undefined || number === null || JSON.stringify(number) === scale.replicas.dataset.now;
  $("change-go").disabled = underWay || gone || !isChanged() || !form.checkValidity();
}

/** The options that differ from those in force; null is the default. */
function difference() {
  const found = {};
  for (const field of fieldsOf(form)) {
    const value = valueOf(field);
    const now = JSON.parse(field.dataset.now);
    const same = JSON.stringify(value) === JSON.stringify(now) || (value === null && Array.isArray(now) && now.length === 0);
    if (value !== undefined && !same) found[field.name] = value;
  }
  return found;
}

let asked = 0;

async function update() {
  const changed = difference();
  const names = Object.keys(changed);
  const number = ++asked;
  $("recreate").hidden = true;
  $("change-problem").hidden = true;
  const anew = names.filter((one) => form.elements[one].dataset.atOnce === "0");
  const label = (one) => form.querySelector(`label[for="change-${one}"]`).textContent;
  let text = "Nothing is changed yet.";
  if (names.length) text = anew.length ? `A new launch is needed for: ${anew.map(label).join(", ")}.` : "This changes at once, without a new launch.";
  $("difference").textContent = text;
  $("change-cli").textContent = `model-deployment deploy ${quote(page.dataset.model)} ${name.slice(page.dataset.model.length + 1)} --replace ${flags(changed)}`.trim();
  $("change-curl").textContent = curl("PATCH", api, changed, page.dataset.user);
  enable();
  if (!anew.length) return;
  const found = await room(page.dataset.deploy, changed);
  if (number === asked && found.text) $("difference").textContent = `${text} ${found.text}`;
}

/** Ask for a change, and show what comes of it. */
async function ask(method, address, body, problem) {
  problem.hidden = true;
  try {
    const row = await call(method, `${address}${address.includes("?") ? "&" : "?"}wait=0`, body);
    draw(row);
    return row;
  } catch (error) {
    showProblem(problem, error);
    if (problem.id === "change-problem") $("recreate").hidden = !/strategy=recreate/.test(error.message);
    return null;
  }
}

if (operator) {
  form.addEventListener("input", update);
  form.addEventListener("reset", () => setTimeout(update));
  const change = (button, text, query) => whileBusy(button, text, async () => {
    const changes = difference();
    const row = await ask("PATCH", api + query, changes, $("change-problem"));
    // An empty field differs from the default that it stands for.
    wanted = JSON.stringify(Object.fromEntries(Object.entries(changes).filter(([, value]) => value === null)));
    if (row && row.replacement === null) location.reload();
  }).then(enable);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.reportValidity()) change($("change-go"), "Changing …", "");
  });
  $("recreate").addEventListener("click", () => change($("recreate"), "Changing …", "?strategy=recreate"));
  $("restart").addEventListener("click", () => whileBusy($("restart"), "Restarting …", () => ask("POST", `${api}/restart`, undefined, $("action-problem"))).then(enable));
  $("park").addEventListener("click", () => whileBusy($("park"), "Parking …", async () => {
    if (await ask("POST", `${api}/park`, undefined, $("action-problem"))) toast(`${name} is parked when its requests are answered.`);
  }).then(enable));
  $("scale").addEventListener("input", enable);
  $("scale").addEventListener("submit", (event) => {
    event.preventDefault();
    const replicas = valueOf(scale.replicas);
    if (!$("scale-go").disabled) whileBusy($("scale-go"), "Scaling …", () => ask("PATCH", api, { replicas }, $("action-problem"))).then(enable);
  });
  onState(enable);
  update();
}

// The tab "Predict": rows in fields, as JSON or CSV, or from a file; the answer; the same request as code.
import { showCause } from "./deployment-errors.js";
import { $, name, onState, page, path, show, showProblem } from "./deployment.js";
import { answerTable, delimited, drawTable, save } from "./predict-answer.js";
import { isJson, object, pretty, rowsBody, token, withParams } from "./predict-body.js";
import { code } from "./predict-code.js";
import { MOST_ROWS, Rows, said } from "./predict-rows.js";

const form = $("form");
const raw = $("body");
const columns = JSON.parse(form.dataset.columns);
const examples = JSON.parse(form.dataset.rows);
const unnamed = form.dataset.unnamed === "1";
const PARQUET = "application/vnd.apache.parquet";
let predicting = false;
/** The number of the newest request. */
let number = 0;
/** The table of the newest answer. */
let table = null;

const mode = () => document.querySelector("[name=mode]:checked").value;
const rows = columns.length ? new Rows($("rows"), columns, [[...(examples[0] ?? columns.map((column) => column.value))]], () => { counted(); draw(); }) : null;

// -- what is sent ----------------------------------------------------------------------------------------

function params() {
  return [...form.querySelectorAll("[data-param]")]
    .map((field) => [field.dataset.param, token({ widget: field.dataset.widget, required: false }, field.value)])
    .filter(([, value]) => value !== undefined);
}

function typeOf(file) {
  if (/\.parquet$/i.test(file.name)) return PARQUET;
  return /\.csv$/i.test(file.name) || file.type === "text/csv" ? "text/csv" : "application/json";
}

/** What is sent: {text or blob, type, file}. */
function request() {
  if (mode() === "file") {
    const [file] = $("file").files;
    return file ? { blob: file, type: typeOf(file), file: file.name } : { text: "", type: "application/json" };
  }
  if (mode() === "text") {
    const text = raw.value.trim();
    return isJson(text) || !text ? { text: withParams(text, params()), type: "application/json" } : { text: `${text}\n`, type: "text/csv" };
  }
  return { text: rowsBody(columns, rows.rows, params(), unnamed), type: "application/json" };
}

function draw() {
  const made = code(request(), { url: location.origin + path, name, user: page.dataset.user });
  for (const [id, text] of Object.entries(made)) $(id).textContent = text;
}

// -- rows, and the ways to give them -----------------------------------------------------------------------

function counted() {
  if (!rows) return;
  const many = rows.rows.length;
  $("row-count").textContent = many > 1 ? `${many} rows` : "";
  $("add-row").disabled = many >= MOST_ROWS;
}

$("add-row")?.addEventListener("click", () => {
  const next = examples[rows.rows.length] ?? rows.rows.at(-1) ?? columns.map(() => "");
  rows.add([...next]);
});

/** The rows of a body, which the controller reads as it reads a request: {names, rows, total, params}. */
async function readRows(content, type) {
  const answer = await fetch(`/dashboard/deployments${path}/rows`, { method: "POST", headers: { "Content-Type": type }, body: content });
  const text = await answer.text();
  if (answer.ok) return JSON.parse(text);
  const message = new DOMParser().parseFromString(text, "text/html").querySelector("p")?.textContent;
  throw new Error(message ?? `The answer is ${answer.status}.`);
}

/** Put the rows of a body into the fields. */
async function fillFields(content, type) {
  const found = await readRows(content, type);
  if (found.total > MOST_ROWS) throw new Error(`These are ${found.total.toLocaleString("en")} rows: fields can hold ${MOST_ROWS}. They can be sent as they are.`);
  if (!found.rows.length) throw new Error("These are no rows.");
  const places = columns.map((column) => (unnamed ? 0 : found.names.indexOf(column.name)));
  const others = found.names.filter((one, place) => !places.includes(place));
  if (others.length) throw new Error(`The model has no column ${others.slice(0, 5).join(", ")}.`);
  rows.replace(found.rows.map((row) => places.map((place) => (place < 0 ? "" : row[place]))));
  for (const field of form.querySelectorAll("[data-param]")) field.value = found.params[field.dataset.param] ?? field.value;
}

let before = mode();

async function changeMode() {
  const now = mode();
  $("convert-problem").hidden = true;
  try {
    if (now === "fields" && before === "text" && raw.value.trim()) await fillFields(raw.value.trim(), isJson(raw.value) ? "application/json" : "text/csv");
    else if (now === "fields" && before === "file" && $("file").files.length) await fillFields($("file").files[0], typeOf($("file").files[0]));
    else if (now === "text" && before === "fields") raw.value = rowsBody(columns, rows.rows, [], unnamed).replaceAll("}, {", "},\n{");
    before = now;
  } catch (error) {
    showProblem($("convert-problem"), error);
    document.querySelector(`[name=mode][value=${before}]`).checked = true;
  }
  for (const [one, id] of [["fields", "by-fields"], ["text", "by-text"], ["file", "by-file"]]) if ($(id)) $(id).hidden = before !== one;
  draw();
}

for (const choice of document.querySelectorAll("[name=mode]")) choice.addEventListener("change", changeMode);
$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  $("file-note").textContent = file ? `${file.name}: ${file.size.toLocaleString("en")} bytes, sent as ${typeOf(file)}` : "";
  draw();
});
// A file that is dropped onto the form is meant to be sent.
form.addEventListener("dragover", (event) => { if (event.dataTransfer.types.includes("Files")) event.preventDefault(); });
form.addEventListener("drop", (event) => {
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  $("file").files = event.dataTransfer.files;
  document.querySelector("[name=mode][value=file]").checked = true;
  $("file").dispatchEvent(new Event("change"));
  changeMode();
});

// -- the answer --------------------------------------------------------------------------------------------

function mark(errors) {
  if (mode() === "fields") rows.mark(errors);
  for (const field of form.querySelectorAll("[data-param]")) {
    const own = errors.filter((error) => error.kind === "params" && error.column === field.dataset.param);
    const wrong = field.parentElement.querySelector(".wrong");
    field.setAttribute("aria-invalid", own.length > 0);
    wrong.hidden = own.length === 0;
    wrong.textContent = own.map(said).join("; ");
  }
}

/** The inputs that belong to an answer; null if they are not rows. */
async function inputsOf(sent, typed) {
  if (typed) return { names: columns.map((column) => column.name), rows: typed, total: typed.length };
  try {
    const found = await readRows(sent.blob ?? sent.text, sent.type);
    // Lists of lists are tensors, which are no columns.
    return !columns.length && found.rows[0]?.some((text) => text.startsWith("[")) ? null : found;
  } catch { return null; }
}

/** Whether an error is shown at a field of the form. */
function marked(error, typed) {
  const names = error.kind === "params" ? [...form.querySelectorAll("[data-param]")].map((field) => field.dataset.param) : typed ? columns.map((column) => column.name) : [];
  return names.includes(error.column) || (typed !== null && unnamed && error.kind !== "params");
}

/** Errors that have no field to be shown at, and the number of those that the answer leaves out. */
function listErrors(errors, others) {
  const list = document.createElement("ul");
  for (const error of errors) {
    const line = document.createElement("li");
    line.textContent = `${error.row === null || error.row === undefined ? "" : `row ${error.row + 1}, `}${error.column ? `${error.column}: ` : ""}${said(error)}`;
    list.append(line);
  }
  const more = document.createElement("p");
  more.textContent = others > 0 ? `and ${others} more` : "";
  more.hidden = others <= 0;
  return [list, more];
}

async function tell(answer, text, took, sent, typed) {
  let parsed = {};
  try { parsed = JSON.parse(text); } catch { /* shown as text */ }
  const id = answer.headers.get("x-request-id");
  const errors = Array.isArray(parsed.errors) ? parsed.errors : [];
  const many = parsed.error_count ?? errors.length;
  // Where values are marked, the rows of the message would be counted otherwise than those of the page.
  const detail = errors.length ? `${many} value${many === 1 ? " does" : "s do"} not fit the model’s signature` : parsed.detail ?? "";
  $("outcome").textContent = answer.ok ? "Answered" : `${answer.status} ${parsed.title ?? ""}: ${detail}`;
  $("took").textContent = `${Math.round(took)} ms, request ${id}`;
  $("result").textContent = pretty(text);
  $("outcome-line").className = answer.ok ? "" : "problem";
  mark(errors);
  showCause($("cause"), answer.status >= 500 ? id : "");
  const hidden = errors.filter((error) => !marked(error, typed));
  const own = number;
  table = answer.ok ? answerTable(text, await inputsOf(sent, typed)) : null;
  if (own !== number) return;
  $("answer-table").replaceChildren(...(table ? drawTable(table) : hidden.length ? listErrors(hidden, many - errors.length) : []));
  $("answer-actions").hidden = table === null;
  $("raw").open = table === null && answer.ok;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const ask = $("ask");
  if (ask.disabled) return;
  predicting = true;
  number += 1;
  ask.disabled = true;
  ask.textContent = "Predicting …";
  mark([]);
  showCause($("cause"), "");
  const sent = request();
  const typed = mode() === "fields" ? rows.rows.map((row) => [...row]) : null;
  const begin = performance.now();
  try {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": sent.type }, body: sent.blob ?? sent.text });
    const text = await answer.text();
    await tell(answer, text, performance.now() - begin, sent, typed);
  } catch {
    table = null;
    $("outcome").textContent = "The controller does not answer.";
    $("outcome-line").className = "problem";
    $("took").textContent = $("result").textContent = "";
    $("answer-table").replaceChildren();
    $("answer-actions").hidden = true;
  }
  $("answer").hidden = false;
  predicting = false;
  ask.textContent = "Predict";
  show();
});

/** All rows as records, each with its inputs and predictions. */
function records() {
  const { names, rows: found, inputs } = table;
  const lines = found.map((values, at) => object([
    ...(inputs?.names ?? []).map((one, place) => [one, token(columns.find((column) => column.name === one) ?? { widget: "text" }, inputs.rows[at]?.[place] ?? "")]),
    ...names.map((one, place) => [one, JSON.stringify(values[place] ?? null)]),
  ]));
  return `[\n${lines.join(",\n")}\n]\n`;
}

$("copy-answer").addEventListener("click", async () => {
  let done = "Copied";
  try { await navigator.clipboard.writeText(delimited(table, "\t")); } catch {
    getSelection().selectAllChildren($("answer-table"));
    done = "Selected";
  }
  $("copy-answer").textContent = done;
  setTimeout(() => { $("copy-answer").textContent = "Copy"; }, 1500);
});
for (const button of document.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => {
    if (button.dataset.save === "csv") save(delimited(table), "text/csv", `${name}-predictions.csv`);
    else save(records(), "application/json", `${name}-predictions.json`);
  });
}

onState(({ state, before: last, answers, parked, woken }) => {
  $("ask").disabled = predicting || !answers;
  $("cannot").hidden = predicting || answers;
  $("parked").hidden = !parked;
  $("woken").hidden = !woken;
  // The form needs the model's files, which were not here before.
  if (state === "ready" && last !== "ready" && form.dataset.known === "0") location.reload();
});

form.addEventListener("input", draw);
addEventListener("pageshow", () => { if (mode() !== before) changeMode(); draw(); });
counted();
draw();
// Enables the button: until now a press would have been lost.
show();

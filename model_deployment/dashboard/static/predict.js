// The predict form, and the same request as code.
// Values stay JSON text as typed, because a JavaScript number would round large integers.

const page = document.getElementById("page");
const form = document.getElementById("form");
const raw = document.getElementById("body");
const $ = (id) => document.getElementById(id);
/** Whether a prediction is in progress. */
export let predicting = false;
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

/** A field's value as JSON; undefined leaves it out. */
function token(field) {
  const text = field.dataset.widget === "text" ? field.value : field.value.trim();
  const optional = field.dataset.required !== "1";
  if (text === "" && field.dataset.nullable) return "null";
  if (text === "" && (optional || field.dataset.widget === "json")) return optional ? undefined : "null";
  switch (field.dataset.widget) {
    case "boolean": return text;
    case "number": return NUMBER.test(text) ? text : text === "" ? "null" : JSON.stringify(text);
    case "json":
      try { JSON.parse(text); return text; } catch { return JSON.stringify(text); }
    default: return JSON.stringify(text);
  }
}

function members(kind) {
  const found = [];
  for (const field of form.querySelectorAll(`[data-${kind}]`)) {
    const value = token(field);
    if (value !== undefined) found.push([field.dataset[kind], value]);
  }
  return found;
}

const object = (pairs) => `{${pairs.map(([name, value]) => `${JSON.stringify(name)}: ${value}`).join(", ")}}`;

function body() {
  const params = members("param");
  if (raw) {
    const text = raw.value.trim();
    // Parameters are inserted before the last brace of the request as written.
    return params.length && text.endsWith("}") ? `${text.slice(0, -1)}, "params": ${object(params)}}` : text;
  }
  const record = `"dataframe_records": [${object(members("column"))}]`;
  return params.length ? `{${record}, "params": ${object(params)}}` : `{${record}}`;
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** JSON as a Python literal: three words differ, and strings may have escapes that Python does not know. */
const WORDS = { true: "True", false: "False", null: "None" };
const python = (json) => json.replace(/"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b/g, (word) => WORDS[word] ?? JSON.stringify(JSON.parse(word)));

function draw() {
  const url = location.origin + page.dataset.path;
  const { user } = page.dataset;
  const text = body();
  $("curl").textContent = `curl ${user ? `-u ${quoted(user)} ` : ""}-X POST ${quoted(url)} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(text)}`;
  let valid = true;
  try { JSON.parse(text); } catch { valid = false; }
  const literal = valid ? python(text) : "...  # the request is not valid JSON";
  $("python").textContent = `import requests\n\nbody = ${literal}\nanswer = requests.post(\n    ${JSON.stringify(url)},\n    json=body,${user ? `\n    auth=(${JSON.stringify(user)}, "PASSWORD"),` : ""}\n)\nanswer.raise_for_status()\nprint(answer.json()["predictions"])`;
}

/** Show each error at its field. */
function mark(errors) {
  for (const field of form.querySelectorAll("[data-column], [data-param]")) {
    const wrong = field.parentElement.querySelector(".wrong");
    const own = errors.filter((error) => error.column === (field.dataset.column ?? field.dataset.param));
    field.setAttribute("aria-invalid", own.length > 0);
    wrong.hidden = own.length === 0;
    wrong.textContent = own.map((error) => `expected ${error.expected}, got ${error.got}`).join("; ");
  }
}

/** Indented JSON with numbers as written, which JavaScript would round. Other text, and that in old browsers, stays as it is. */
function pretty(text) {
  const exact = (_, value, { source }) => (typeof value === "number" ? JSON.rawJSON(source) : value);
  try { return JSON.stringify(JSON.parse(text, exact), null, 2); } catch { return text; }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const ask = $("ask");
  if (ask.disabled) return;
  predicting = true;
  ask.disabled = true;
  ask.textContent = "Predicting …";
  mark([]);
  const begin = performance.now();
  try {
    const answer = await fetch(page.dataset.path, { method: "POST", headers: { "Content-Type": "application/json" }, body: body() });
    const text = await answer.text();
    let parsed = {};
    try { parsed = JSON.parse(text); } catch { /* shown as text */ }
    $("outcome").textContent = answer.ok ? "Answered" : `${answer.status} ${parsed.title ?? ""}: ${parsed.detail ?? ""}`;
    $("took").textContent = `${Math.round(performance.now() - begin)} ms, request ${answer.headers.get("x-request-id")}`;
    $("result").textContent = pretty(text);
    $("outcome").parentElement.className = answer.ok ? "" : "problem";
    if (Array.isArray(parsed.errors)) mark(parsed.errors);
  } catch {
    $("outcome").textContent = "The controller does not answer.";
    $("outcome").parentElement.className = "problem";
    $("took").textContent = $("result").textContent = "";
  }
  $("answer").hidden = false;
  predicting = false;
  ask.textContent = "Predict";
  document.dispatchEvent(new Event("predicted"));
});

for (const button of document.querySelectorAll("[data-copy]")) {
  const target = $(button.dataset.copy);
  button.addEventListener("click", async () => {
    let done = "Copied";
    try { await navigator.clipboard.writeText(target.textContent); } catch {
      // Only pages from HTTPS or from this machine may write to the clipboard.
      getSelection().selectAllChildren(target);
      done = "Selected";
    }
    button.textContent = done;
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

form.addEventListener("input", draw);
addEventListener("pageshow", draw);
draw();

// The page of runs: keeps the chart and the list up to date, and runs flows.
import { call, toast, whileBusy } from "./live.js";
import { keepFresh } from "./flow-actions.js";
import "./times.js";

const load = keepFresh("runs", "/dashboard/flows/now");
const form = document.getElementById("run");
/** By parameter: what people read. */
const NAMES = {
  data: ["Training data", "SHA-256 of a version, or original; empty: the newest, else the original data"],
  force: ["Go on in spite of findings", ""],
  model_type: ["Model type", ""],
  trials: ["Trials", ""],
  timeout: ["Seconds of the study", ""],
  epochs: ["Epochs", ""],
  version: ["Version", "empty: the one that the alias names"],
  wait: ["Seconds to wait for the rollout", ""],
};

/** A field for a parameter that has this JSON schema. */
function field(name, schema) {
  const [title, hint] = NAMES[name] ?? [name, ""];
  const label = document.createElement("label");
  const input = document.createElement(schema.enum ? "select" : "input");
  if (schema.enum) input.append(...schema.enum.map((one) => new Option(one, one)));
  else if (schema.type === "boolean") input.type = "checkbox";
  else if (schema.type === "string") Object.assign(input, { pattern: schema.pattern ?? "", spellcheck: false, autocomplete: "off" });
  else Object.assign(input, { type: "number", min: schema.minimum, max: schema.maximum, step: schema.type === "integer" ? 1 : "any", placeholder: schema.default ?? "" });
  input.name = name;
  input.dataset.kind = schema.type;
  label.append(title, input);
  if (hint) {
    const more = document.createElement("span");
    more.className = "small soft";
    more.textContent = hint;
    label.append(more);
  }
  return label;
}

/** The fields of what the chosen flow of the chosen experiment takes; what was written stays. */
function offer() {
  const allowed = JSON.parse(form.dataset.allowed);
  const taken = allowed[form.elements.experiment.value]?.[form.elements.flow.value] ?? {};
  const before = Object.fromEntries([...form.querySelectorAll("#parameters [name]")].map((one) => [one.name, one.type === "checkbox" ? one.checked : one.value]));
  document.getElementById("parameters").replaceChildren(...Object.entries(taken).map(([name, schema]) => field(name, schema)));
  for (const input of form.querySelectorAll("#parameters [name]")) {
    if (!(input.name in before)) continue;
    if (input.type === "checkbox") input.checked = before[input.name];
    else if (input.tagName !== "SELECT" || [...input.options].some(({ value }) => value === before[input.name])) input.value = before[input.name];
  }
}

function given() {
  const body = { experiment: form.elements.experiment.value };
  for (const input of form.querySelectorAll("#parameters [name]")) {
    if (input.type === "checkbox") { if (input.checked) body[input.name] = true; }
    else if (input.value.trim() !== "") body[input.name] = ["integer", "number"].includes(input.dataset.kind) ? Number(input.value) : input.value.trim();
  }
  return body;
}

if (form) {
  for (const name of ["flow", "experiment"]) form.elements[name].addEventListener("change", offer);
  offer();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const problem = document.getElementById("run-problem");
    problem.hidden = true;
    const go = document.getElementById("go");
    await whileBusy(go, go.textContent, async () => {
      try {
        const { flow, experiment } = await call("POST", `/api/run_flow/${form.elements.flow.value}`, given());
        document.getElementById("start").open = false;
        toast(`${flow} of ${experiment} is requested`);
        await load();
      } catch (error) {
        problem.textContent = error.message;
        problem.hidden = false;
      }
    });
  });
}

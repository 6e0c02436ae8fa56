// The forms of a project's page: a new release, commands, and codes to enrol devices.
import { call, toast } from "./live.js";
import { $, attempt, json, names, onSubmit, order } from "./device-actions.js";

const { api, name: project } = $("project").dataset;
const changed = () => document.dispatchEvent(new Event("changed"));
const quoted = (text) => (/^[A-Za-z0-9._@:/,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

// -- a new release -----------------------------------------------------------------------------------

const release = $("new-release");

function given() {
  const field = release.elements;
  const policy = {
    groups: names(field.groups.value),
    percent: names(field.percent.value).map(Number),
    success: Number(field.success.value),
    soak: Number(field.soak.value),
    abort: { failed: Number(field.failed.value), of: Number(field.of.value) },
  };
  if (field.what.value === "endpoint") return { endpoint: field.endpoint.value.trim(), policy };
  const [model, version] = field.version ? field.version.value.split(/ (?=\d+$)/) : [field.model.value, field.number.value];
  return { model, version: Number(version), policy };
}

/** The same as a command. */
function command({ endpoint, model, version, policy }) {
  const what = endpoint === undefined ? `set ${quoted(project)} ${version || "VERSION"} --model ${quoted(model)}` : `follow ${quoted(project)} ${quoted(endpoint || "MODEL@ALIAS")}`;
  const list = (values) => quoted(values.join(",") || "none");
  return `model-deployment release ${what} --groups ${list(policy.groups)} --percent ${list(policy.percent)} --success ${policy.success} --soak ${policy.soak} --abort ${policy.abort.failed}/${policy.abort.of}`;
}

function offer() {
  for (const label of release.querySelectorAll("[data-for]")) label.hidden = label.dataset.for !== release.elements.what.value;
  $("command").textContent = command(given());
}

if (release) {
  release.addEventListener("input", offer);
  offer();
  onSubmit(release, $("set-go"), $("set-problem"), async () => {
    const made = await call("POST", `${api}/setModel`, given());
    $("set").open = false;
    toast(made.release ? `Release ${made.release.number} is being prepared` : "It is followed from now on");
    history.replaceState(null, "", "?tab=releases");
    changed();
  });
}

// -- commands ----------------------------------------------------------------------------------------

const ordering = $("new-command");

async function give(name, value) {
  const group = ordering.elements.group.value;
  await order(api, { name, value, ...(group ? { groups: [group] } : {}) });
  toast(`${name} is given to ${group ? `group ${group}` : "all devices"}`);
  changed();
}

onSubmit(ordering, $("order-go"), $("order-problem"), ({ name, value }) => give(name.value.trim(), json(value.value)));
for (const button of document.querySelectorAll("[data-dark]")) {
  button.addEventListener("click", () => attempt(button, $("order-problem"), () => give("dark", button.dataset.dark === "true")));
}

// -- enrolment ---------------------------------------------------------------------------------------

let counting = 0;

function left(until) {
  const seconds = Math.max(0, Math.round((until - Date.now()) / 1000));
  const text = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  $("code-left").textContent = seconds ? `Good for ${text} min.` : "It is no longer good: make another one.";
  if (!seconds) clearInterval(counting);
}

onSubmit($("new-code"), $("code-go"), $("code-problem"), async ({ groups, device }) => {
  const body = { groups: names(groups.value), ...(device.value.trim() ? { device: device.value.trim() } : {}) };
  const made = await call("POST", `${api}/enrolments`, body);
  $("code").textContent = made.code;
  $("code-command").textContent = made.command;
  $("code-shown").hidden = false;
  clearInterval(counting);
  const until = Date.parse(made.expires_at);
  left(until);
  counting = setInterval(() => left(until), 1000);
});
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const text = $(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(text.textContent);
      toast("Copied");
    } catch {
      getSelection().selectAllChildren(text);
      toast("It is selected: copy it with the keyboard.");
    }
  });
}

// Models and versions: filter, live states, deploy one.
import { call, onChange, parse } from "./live.js";
import { curl, flags, named, quote, room } from "./option-form.js";

const filter = document.getElementById("filter");
const rows = () => [...(document.querySelector("#models tbody")?.rows ?? [])];

filter?.addEventListener("input", () => {
  const wanted = filter.value.trim().toLowerCase().split(/\s+/);
  let shown = 0;
  for (const row of rows()) {
    row.hidden = !wanted.every((word) => row.dataset.search.includes(word));
    shown += !row.hidden;
  }
  document.getElementById("nomatch").hidden = shown > 0;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || !filter || event.target.closest("input, select, textarea, dialog")) return;
  event.preventDefault();
  filter.focus();
});

// States are live. If the actions of a version change with its state, the page reloads.
let stale = false;

function reload() {
  // Not while the deploy form is open.
  stale = document.querySelector("dialog[open]") !== null;
  if (!stale) location.reload();
}

onChange(({ rows: changed, names }) => {
  for (const row of rows()) {
    const cell = row.querySelector("[data-live-cell=state]");
    if (!cell) continue;
    const html = changed[row.dataset.live];
    const before = cell.querySelector(".badge")?.textContent ?? "";
    const gone = names !== null && !names.includes(row.dataset.live) && before !== "";
    let now = before;
    if (html) {
      const fresh = parse(html).querySelector("[data-cell=state]");
      now = fresh.querySelector(".badge").textContent;
      cell.replaceChildren(...fresh.childNodes);
    }
    const acts = (state) => (state === "" || state === "failed" ? state : "on");
    if (gone || acts(before) !== acts(now)) reload();
  }
});

// The list of models shows the first deployments of each model, and the number of the others.
const cells = new Map([...document.querySelectorAll("[data-deployed]")].map((cell) => [cell.dataset.deployed, cell]));
const modelOf = (name) => name.slice(0, name.lastIndexOf("-"));

function drawDeployed(cell, names) {
  for (const one of cell.querySelectorAll("[data-live]")) if (!names.includes(one.dataset.live)) one.remove();
  const more = names.length - cell.querySelectorAll("[data-live]").length;
  cell.querySelector(".more").textContent = more ? `and ${more} more` : "";
  cell.querySelector(".nothing").hidden = names.length > 0;
}

if (cells.size) onChange(({ rows: changed, names }) => {
  for (const [name, html] of Object.entries(changed)) {
    const cell = cells.get(modelOf(name));
    if (!cell) continue;
    const row = parse(html);
    const badge = row.querySelector("[data-cell=state] .badge");
    const all = [...cell.querySelectorAll("[data-live]")];
    const old = all.find((one) => one.dataset.live === name);
    if (old) old.querySelector(".badge").replaceWith(badge);
    else if (all.length < Number(cell.dataset.most)) {
      const link = document.createElement("a");
      link.href = row.querySelector("a").getAttribute("href");
      link.textContent = name.slice(name.lastIndexOf("-") + 1);
      const one = document.createElement("span");
      one.dataset.live = name;
      one.append(link, " ", badge, " ");
      cell.querySelector(".more").before(one);
    }
  }
  if (names === null) return;
  for (const [model, cell] of cells) drawDeployed(cell, names.filter((name) => modelOf(name) === model));
});

const dialog = document.getElementById("deploy");
if (dialog) {
  const form = dialog.querySelector("form");
  const go = document.getElementById("deploy-go");
  const problem = document.getElementById("deploy-problem");
  let version = "";

  for (const button of document.querySelectorAll("[data-deploy]")) {
    button.addEventListener("click", () => {
      version = button.dataset.deploy;
      document.getElementById("deploy-version").textContent = version;
      problem.hidden = true;
      form.reset();
      document.getElementById("deploy-advanced").open = false;
      describe();
      dialog.showModal();
      go.focus();
    });
  }
  dialog.addEventListener("close", () => { if (stale) location.reload(); });
  document.getElementById("deploy-cancel").addEventListener("click", () => dialog.close());

  /** The same as a command, and the memory that it takes. */
  let asked = 0;
  async function describe() {
    const options = named(form);
    const path = `/deploy/${dialog.dataset.segment}/${version}`;
    const number = ++asked;
    document.getElementById("deploy-cli").textContent = `model-deployment deploy ${quote(dialog.dataset.model)} ${version} ${flags(options)}`.trim();
    document.getElementById("deploy-curl").textContent = curl("POST", path, options, dialog.dataset.user);
    const found = await room(path, options);
    if (number !== asked) return;
    const box = document.getElementById("deploy-room");
    box.textContent = found.text;
    box.className = found.short ? "bad" : "";
  }
  form.addEventListener("input", describe);

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!form.checkValidity()) {
      document.getElementById("deploy-advanced").open = true;
      form.reportValidity();
      return;
    }
    go.disabled = true;
    go.textContent = "Deploying …";
    problem.hidden = true;
    try {
      await call("POST", `/deploy/${dialog.dataset.segment}/${version}?wait=0`, named(form));
      location.href = `/dashboard/deployments/${dialog.dataset.segment}-${version}`;
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
      go.disabled = false;
      go.textContent = "Deploy";
    }
  });
  // After "Back" the browser shows the page as it was left.
  addEventListener("pageshow", ({ persisted }) => {
    if (!persisted) return;
    go.disabled = false;
    go.textContent = "Deploy";
    dialog.close();
  });
}

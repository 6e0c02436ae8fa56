// The page of one endpoint: keeps its traffic, rollout and history up to date, and steers the rollout.
import { call, onChange, parse, toast, whileBusy } from "./live.js";

const page = document.getElementById("endpoint");
const { name, path } = page.dataset;
const $ = (id) => document.getElementById(id);
const buttons = [...document.querySelectorAll("[data-do]")];
/** Mark of the newest row; the page shows what was asked for after it. */
let mark = null;
let loading = false;
let again = false;

// -- what the server renders ------------------------------------------------------------------------

/** Replace the sections that differ, and keep the places of the focus and of scrolled tables. */
function show(fresh) {
  const now = $("now");
  const before = { ...now.dataset };
  const ids = (root) => [...root.children].map((one) => one.id).join(" ");
  if (ids(now) !== ids(fresh)) {
    now.replaceWith(fresh);
  } else {
    [...fresh.children].forEach((section, place) => {
      const old = now.children[place];
      if (old.outerHTML !== section.outerHTML) replace(old, section.cloneNode(true));
    });
    Object.assign(now.dataset, fresh.dataset);
  }
  offer();
  const { news } = $("now").dataset;
  if (news !== before.news) toast(`${name}: ${news}`);
}

function replace(old, fresh) {
  const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const down = [...old.querySelectorAll(".tall")].map((one) => one.scrollTop);
  old.replaceWith(fresh);
  fresh.querySelectorAll(".tall").forEach((one, place) => { one.scrollTop = down[place] ?? 0; });
  if (focused !== null) fresh.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

/** Show the buttons of what is possible now. */
function offer() {
  const { allowed: names, active, resume } = $("now").dataset;
  const allowed = names.split(" ");
  const focused = document.activeElement;
  for (const button of buttons) {
    button.hidden = !allowed.includes(button.dataset.do);
    if (button.dataset.do === "resume") button.textContent = resume;
    if (button.dataset.do === "promote") button.classList.toggle("primary", active === "1");
  }
  if (buttons.includes(focused) && focused.hidden) (buttons.find((one) => !one.hidden) ?? $("name")).focus();
}

async function load() {
  if (loading) {
    again = true;
    return;
  }
  loading = true;
  try {
    const answer = await fetch(`/dashboard/endpoints${path}/now`);
    const text = await answer.text();
    const fresh = answer.headers.get("content-type")?.startsWith("text/html") ? parse(text) : null;
    if (fresh?.id === "now") show(fresh);
    else if (answer.status === 404) gone();
  } catch { /* the banner says that the controller does not answer */ }
  loading = false;
  if (again) {
    again = false;
    load();
  }
}

function gone() {
  $("status").className = "problem";
  $("status").textContent = "The endpoint was deleted.";
  for (const button of buttons) button.hidden = true;
}

onChange(({ endpoints, endpointNames }) => {
  const html = endpoints[name];
  const known = mark;
  if (html) mark = parse(html).dataset.mark;
  if (mark !== known || (endpointNames !== null && !endpointNames.includes(name))) load();
});
// How long a step has lasted changes without anything else.
setInterval(() => { if (!document.hidden) load(); }, 15000);
document.addEventListener("back", load);

// -- promote, pause, resume, roll back -----------------------------------------------------------------

const dialog = $("confirm");
const yes = $("confirm-yes");
let action = "";

const steer = (what) => call("POST", `/endpoints${path}/${what}`);

function ask(button) {
  action = button.dataset.do;
  const label = button.textContent;
  const { candidate, active } = $("now").dataset;
  const what = action === "promote" || active === "1" ? `version ${candidate}` : name;
  $("confirm-title").textContent = `${label} ${what}?`;
  $("confirm-text").textContent = $("now").dataset[action];
  $("confirm-problem").hidden = true;
  yes.textContent = label;
  yes.className = action === "promote" ? "primary" : "danger primary";
  dialog.showModal();
  $("confirm-no").focus();
}

for (const button of buttons) {
  button.addEventListener("click", async () => {
    if (["promote", "rollback"].includes(button.dataset.do)) {
      ask(button);
      return;
    }
    await whileBusy(button, button.textContent, () => steer(button.dataset.do).catch((error) => toast(error.message)));
    await load();
    offer();
  });
}
$("confirm-no")?.addEventListener("click", () => dialog.close());
yes?.addEventListener("click", async () => {
  await whileBusy(yes, yes.textContent, async () => {
    try {
      await steer(action);
      dialog.close();
      await load();
    } catch (error) {
      $("confirm-problem").textContent = error.message;
      $("confirm-problem").hidden = false;
    }
  });
  if (!dialog.open) offer();
});

// Cancels runs and runs them again, and keeps a part of a page up to date.
import { call, parse, tellAges, toast, whileBusy } from "./live.js";
import { drawGantts } from "./gantt.js";

/** Milliseconds between two looks: while something runs, and else. */
const SOON = 2000, LATER = 15000;
const dialog = document.getElementById("cancel");
let run = "";
/** Of each section, the HTML that the server sent: scripts write times and charts into it. */
const sent = new WeakMap();

/** Load a part again and again, and show what differs; `id` names its element. Returns a function that loads it now. */
export function keepFresh(id, path, shown = () => {}) {
  let timer = 0;
  let loading = false;
  async function load() {
    clearTimeout(timer);
    if (loading) return;
    loading = true;
    try {
      const answer = await fetch(path);
      const fresh = answer.headers.get("content-type")?.startsWith("text/html") ? parse(await answer.text()) : null;
      if (fresh?.id === id) replace(document.getElementById(id), fresh);
      else if (answer.status === 404) toast("This run is not kept any more.");
    } catch { /* the banner says that the controller does not answer */ }
    loading = false;
    shown();
    plan();
  }
  function plan() {
    clearTimeout(timer);
    const { active } = document.getElementById(id).dataset;
    timer = setTimeout(() => { if (document.hidden) plan(); else load(); }, active === "1" ? SOON : LATER);
  }
  remember([...document.getElementById(id).children]);
  drawGantts();
  plan();
  document.addEventListener("back", load);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) load(); });
  document.addEventListener("changed", load);
  return load;
}

/** Replace the children that differ from what the server sent before, and keep what is focused or open. */
function replace(old, fresh) {
  const before = [...old.children], after = [...fresh.children];
  Object.assign(old.dataset, fresh.dataset);
  remember(after);
  if (before.length !== after.length || before.some((one, place) => one.tagName !== after[place].tagName)) {
    swap(old, () => old.replaceChildren(...after));
  } else {
    after.forEach((section, place) => {
      if (sent.get(before[place]) !== sent.get(section)) swap(before[place], () => before[place].replaceWith(section));
    });
  }
  tellAges(old);
  drawGantts(old);
}

function remember(sections) {
  for (const section of sections) sent.set(section, section.outerHTML);
}

function swap(old, action) {
  const focused = document.activeElement;
  const mark = old.contains(focused) ? marked(focused) : null;
  const open = [...old.querySelectorAll("details")].map((one) => one.open);
  const place = document.getElementById("main");
  action();
  if (open.some(Boolean)) place.querySelectorAll("#now details").forEach((one) => { one.open = true; });
  if (mark) place.querySelector(mark)?.focus({ preventScroll: true });
}

/** A selector of an element that is there again after a part was replaced. */
function marked(element) {
  for (const name of ["href", "data-cancel", "data-retry"]) {
    const value = element.getAttribute(name);
    if (value !== null) return `${element.tagName.toLowerCase()}[${name}="${CSS.escape(value)}"]`;
  }
  return element.tagName === "SUMMARY" ? "summary" : null;
}

const changed = () => document.dispatchEvent(new Event("changed"));

document.addEventListener("click", async ({ target }) => {
  const button = target.closest?.("[data-cancel], [data-retry]");
  if (!button) return;
  if (button.dataset.cancel !== undefined) {
    run = button.dataset.cancel;
    document.getElementById("cancel-problem").hidden = true;
    dialog.showModal();
    document.getElementById("cancel-no").focus();
    return;
  }
  await whileBusy(button, button.textContent, async () => {
    try {
      const { id, flow, experiment } = await call("POST", `/api/flow-runs/${encodeURIComponent(button.dataset.retry)}/retry`);
      toast(`${flow} of ${experiment} runs again`);
      if (document.getElementById("runs")) changed();
      else location.assign(`/dashboard/flows/runs/${encodeURIComponent(id)}`);
    } catch (error) {
      toast(error.message);
    }
  });
});

document.getElementById("cancel-no")?.addEventListener("click", () => dialog.close());
document.getElementById("cancel-yes")?.addEventListener("click", async ({ currentTarget: yes }) => {
  await whileBusy(yes, yes.textContent, async () => {
    try {
      await call("POST", `/api/flow-runs/${encodeURIComponent(run)}/cancel`);
      dialog.close();
      changed();
    } catch (error) {
      document.getElementById("cancel-problem").textContent = error.message;
      document.getElementById("cancel-problem").hidden = false;
    }
  });
});

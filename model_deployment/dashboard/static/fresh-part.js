// Keeps the part "now" of a page up to date: loads it again, and replaces the sections that differ.
import { parse, tellAges } from "./live.js";
import { drawCharts, renew } from "./charts.js";

/** Milliseconds between two looks: while something is under way, and else. */
const SOON = 2000, LATER = 5000;
/** Of each section, the HTML that the server sent: scripts write times and charts into it. */
const sent = new WeakMap();
const remember = (root) => { for (const one of root.children) sent.set(one, one.outerHTML); };

/**
 * Returns a function that loads the part now. `address()` says where from, `shown()` is called after each look, and
 * `gone()` when what the page is about is not there any more.
 */
export function keepFresh(address, { shown = () => {}, gone = () => {} } = {}) {
  const now = () => document.getElementById("now");
  let timer = 0;
  let wanted = 0;
  async function load() {
    clearTimeout(timer);
    const number = ++wanted;
    try {
      const answer = await fetch(address());
      const html = answer.headers.get("content-type")?.startsWith("text/html") ? await answer.text() : "";
      // A later look, with another address, has overtaken this one.
      if (number !== wanted) return;
      const fresh = found(html);
      if (answer.ok && fresh) show(now(), fresh);
      else if (answer.status === 404) gone();
    } catch { /* the banner says that the controller does not answer */ }
    if (number !== wanted) return;
    shown();
    plan();
  }
  function plan() {
    clearTimeout(timer);
    timer = setTimeout(() => { if (document.hidden) plan(); else load(); }, now().dataset.active === "1" ? SOON : LATER);
  }
  remember(now());
  drawCharts(now());
  plan();
  document.addEventListener("back", load);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) load(); });
  return load;
}

/** The part in an answer: all of it, or within a page. */
function found(html) {
  if (!html) return null;
  const element = parse(html);
  if (element?.id === "now") return element;
  return new DOMParser().parseFromString(html, "text/html").getElementById("now");
}

function show(old, fresh) {
  const before = [...old.children], after = [...fresh.children];
  const names = (sections) => sections.map((one) => `${one.tagName}#${one.id}`).join(" ");
  remember(fresh);
  if (names(before) !== names(after)) {
    keepPlace(old, () => old.replaceChildren(...after));
  } else {
    after.forEach((section, place) => {
      const shown = before[place];
      if (sent.get(shown) === sent.get(section)) return;
      if (shown.querySelector("figure[data-chart]") && renew(shown, section.outerHTML)) return;
      keepPlace(shown, () => shown.replaceWith(section));
    });
  }
  Object.assign(old.dataset, fresh.dataset);
  drawCharts(old);
  tellAges(old);
}

/** Keep what is focused, open and scrolled while a section is replaced. */
function keepPlace(section, action) {
  const root = document.getElementById("now");
  const focused = section.contains(document.activeElement) ? mark(document.activeElement) : null;
  const open = [...root.querySelectorAll("details")].map((one) => one.open);
  const down = [...root.querySelectorAll(".tall")].map((one) => one.scrollTop);
  action();
  root.querySelectorAll("details").forEach((one, place) => { one.open = open[place] ?? false; });
  root.querySelectorAll(".tall").forEach((one, place) => { one.scrollTop = down[place] ?? 0; });
  if (focused) root.querySelector(focused)?.focus({ preventScroll: true });
}

/** A selector of an element that is there again after its section was replaced. */
function mark(element) {
  for (const name of ["href", "data-do"]) {
    const value = element.getAttribute(name);
    if (value !== null) return `[${name}="${CSS.escape(value)}"]`;
  }
  return element.tagName === "SUMMARY" ? "summary" : null;
}

// The tab "Inputs": captures beside training data, and what a bar of a histogram stands for.
import { whileBusy } from "./live.js";
import { $, loadPart } from "./deployment.js";

const box = $("columns");
const again = $("again-columns");

/** Say what a bar stands for, or nothing. */
function point(picture, place) {
  const bins = JSON.parse(picture.dataset.bins);
  const text = picture.parentElement.querySelector(".bin");
  if (place === null || !bins.length) {
    text.textContent = "";
    delete picture.dataset.at;
    return;
  }
  const at = Math.max(0, Math.min(bins.length - 1, place));
  const [label, before, now] = bins[at];
  text.textContent = `${label}: ${before ? `training ${before}, ` : ""}captures ${now || "none"}`;
  picture.dataset.at = at;
  picture.setAttribute("aria-valuenow", at);
  picture.setAttribute("aria-valuetext", text.textContent);
}

const pictureOf = (event) => event.target.closest?.("svg[data-bins]");

box?.addEventListener("pointermove", (event) => {
  const picture = pictureOf(event);
  if (!picture) return;
  const { left, width } = picture.getBoundingClientRect();
  point(picture, Math.floor(((event.clientX - left) / width) * JSON.parse(picture.dataset.bins).length));
});
box?.addEventListener("pointerout", (event) => { const picture = pictureOf(event); if (picture && !picture.contains(event.relatedTarget)) point(picture, null); });
box?.addEventListener("focusout", (event) => { const picture = pictureOf(event); if (picture) point(picture, null); });
box?.addEventListener("keydown", (event) => {
  const picture = pictureOf(event);
  const at = Number(picture?.dataset.at ?? -1);
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: 1e6 }[event.key];
  if (!picture || to === undefined) return;
  event.preventDefault();
  point(picture, to);
});

again?.addEventListener("click", () => whileBusy(again, "Loading …", () => loadPart("columns")));
if (box) loadPart("columns");

// Versions of a model: choose some to compare, make an endpoint for an alias, show metrics that came late.
import { call } from "./live.js";
import "./times.js";

const MOST = 10;
const chosen = document.getElementById("chosen");
const compare = document.getElementById("compare");
const boxes = () => [...document.querySelectorAll("[name=version]")];

if (chosen) {
  const numbers = () => [...new Set(chosen.value.match(/\d+/g) ?? [])];
  const update = () => {
    const named = numbers();
    for (const box of boxes()) box.checked = named.includes(box.value);
    compare.disabled = named.length < 2 || named.length > MOST;
    compare.title = named.length > MOST ? `${MOST} versions at most` : "";
  };
  chosen.addEventListener("input", update);
  chosen.addEventListener("keydown", (event) => { if (event.key === "Enter" && !compare.disabled) compare.click(); });
  document.addEventListener("change", ({ target }) => {
    if (target.name !== "version") return;
    const others = numbers().filter((one) => one !== target.value);
    chosen.value = (target.checked ? [...others, target.value] : others).join(", ");
    update();
  });
  // Somebody may tick a box before this script has come; after "Back" the browser fills all in by itself.
  addEventListener("pageshow", () => {
    if (!chosen.value) chosen.value = boxes().filter((box) => box.checked).map((box) => box.value).join(", ");
    update();
  });
  compare.addEventListener("click", () => { location.href = `${compare.dataset.path}?versions=${numbers().join(",")}`; });
}

const follow = document.getElementById("follow");
if (follow) {
  const go = document.getElementById("follow-go");
  const problem = document.getElementById("follow-problem");
  let name = "";
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-follow]");
    if (!button) return;
    name = button.dataset.follow;
    document.getElementById("follow-name").textContent = name;
    problem.hidden = true;
    follow.showModal();
  });
  document.getElementById("follow-cancel").addEventListener("click", () => follow.close());
  follow.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    const path = name.split("@").map(encodeURIComponent).join("@");
    try {
      await call("PUT", `/endpoints/${path}`, {});
      location.href = `/dashboard/endpoints/${path}`;
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
    go.disabled = false;
  });
}

// The controller remembers metrics once they are read; then this page is drawn again.
const late = document.getElementById("late");
if (late) {
  const address = new URL(location.href);
  address.searchParams.set("metrics", "wait");
  address.hash = "";
  fetch(address).then((answer) => answer.text()).then((html) => {
    const idle = !document.querySelector("dialog[open]") && !chosen?.value;
    if (!html.includes('id="late"') && idle) location.reload();
    else late.textContent = "Some metrics could not be read. Reload the page to try again.";
  }).catch(() => { late.textContent = "Some metrics could not be read. Reload the page to try again."; });
}

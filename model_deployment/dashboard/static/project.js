// The page of one project of devices: keeps its tab up to date, filters devices, and steers releases.
import "./times.js";
import "./project-forms.js";
import { call, toast } from "./live.js";
import { $, ask, attempt } from "./device-actions.js";
import { keepFresh } from "./fresh-part.js";

const { path, api, name } = $("project").dataset;
const load = keepFresh(() => `${path}/now${location.search}`, { shown: offer, gone: () => toast("The project was deleted.") });
document.addEventListener("changed", load);
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });

// -- which devices are shown: the address says it, so it can be sent ---------------------------------

const wanted = $("wanted");
let waits = 0;

function choose(event) {
  event?.preventDefault();
  const chosen = new URLSearchParams();
  for (const { name: field, value } of wanted.elements) if (field && value.trim()) chosen.set(field, value.trim());
  history.replaceState(null, "", `?${chosen}`);
  load();
}

/** Let people choose groups and releases that came after the page; what is chosen stays. */
function offer() {
  if (!wanted) return;
  const { groups, running } = $("counts").dataset;
  for (const [select, values, text] of [[wanted.elements.group, groups, (one) => one], [wanted.elements.release, running, (one) => `release ${one}`]]) {
    const known = [...select.options].map(({ value }) => value);
    const fresh = values.split(" ").filter((value) => value && !known.includes(value));
    select.options[0].after(...fresh.map((value) => new Option(text(value), value)));
  }
}

wanted?.addEventListener("input", () => { clearTimeout(waits); waits = setTimeout(choose, 250); });
wanted?.addEventListener("submit", choose);
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || !wanted || event.target.closest("input, select, textarea, dialog")) return;
  event.preventDefault();
  wanted.elements.search.focus();
});

// -- pause, resume, stop, unfollow -------------------------------------------------------------------

const TEXTS = {
  stop: "No device is told to run it any more. If a release was complete before it, a new release takes its version to all devices at once.",
  unfollow: "Champions of the endpoint become no releases any more. What devices run stays.",
};

async function steer(action, number) {
  if (action === "unfollow") await call("POST", `${api}/setModel`, { endpoint: null });
  else await call("POST", `${api}/releases/${number}/${action}`);
  await load();
}

$("project").addEventListener("click", ({ target }) => {
  const button = target.closest("[data-do]");
  if (!button) return;
  const { do: action, number } = button.dataset;
  if (action in TEXTS) {
    const what = action === "stop" ? `Stop release ${number}?` : `Let ${name} follow no endpoint?`;
    ask({ title: what, text: TEXTS[action], label: action === "stop" ? "Stop it" : "Follow no more", action: () => steer(action, number) });
    return;
  }
  const problem = document.createElement("p");
  attempt(button, problem, () => steer(action, number)).then((done) => { if (!done) toast(problem.textContent); });
});

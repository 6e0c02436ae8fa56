// A report: what to do now, and Evidently's page, which is large and loads only when it is wanted.
import { call, whileBusy } from "./live.js";

const problem = document.getElementById("problem");
for (const button of document.querySelectorAll("[data-call]")) {
  button.addEventListener("click", () => whileBusy(button, "Working …", async () => {
    problem.hidden = true;
    try {
      await call(button.dataset.method, button.dataset.call);
      location.href = button.dataset.then;
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  }));
}

const load = document.getElementById("load");
load?.addEventListener("click", () => {
  const frame = document.getElementById("evidently");
  frame.src = load.dataset.src;
  frame.hidden = false;
  load.hidden = true;
  frame.focus();
});

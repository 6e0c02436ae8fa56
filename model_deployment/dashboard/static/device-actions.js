// What the pages of projects and devices have in common: forms that call the API, and a question before what cannot be undone.
import { call, whileBusy } from "./live.js";

export const $ = (id) => document.getElementById(id);

/** The names in a text that has commas between them. */
export const names = (text) => text.split(",").map((one) => one.trim()).filter(Boolean);

/** A value as JSON; a text that is none is meant as text. */
export function json(text) {
  try { return JSON.parse(text); } catch { return text; }
}

/** Run an action on a button; what fails is told in `problem`. Returns whether it was done. */
export async function attempt(button, problem, action) {
  let done = false;
  problem.hidden = true;
  await whileBusy(button, button.textContent, async () => {
    try {
      await action();
      done = true;
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  });
  return done;
}

/** Call a function with the fields of a form when it is sent. */
export function onSubmit(form, button, problem, action) {
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(button, problem, () => action(form.elements));
  });
}

let confirmed = null;

/** Ask before an action; the dialog stays open while it fails. */
export function ask({ title, text, label, action }) {
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = label;
  $("confirm-problem").hidden = true;
  confirmed = action;
  $("confirm").showModal();
  $("confirm-no").focus();
}

$("confirm-no")?.addEventListener("click", () => $("confirm").close());
$("confirm-yes")?.addEventListener("click", async ({ currentTarget }) => {
  if (await attempt(currentTarget, $("confirm-problem"), confirmed)) $("confirm").close();
});

/** Give a command to devices, by name or by group; to all without either. */
export function order(api, body) {
  return call("POST", `${api}/commands`, body);
}

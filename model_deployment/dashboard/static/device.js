// The page of one device: keeps it up to date; groups, commands, another token, revoking.
import "./times.js";
import "./device-log.js";
import { call, toast } from "./live.js";
import { $, ask, json, names, onSubmit, order } from "./device-actions.js";
import { keepFresh } from "./fresh-part.js";

const { path, api, name, project } = $("device").dataset;
let presence = $("now").dataset.presence;

function window() {
  const chosen = new URLSearchParams(location.search).get("window");
  return chosen ? `?${new URLSearchParams({ window: chosen })}` : "";
}

function shown() {
  const before = presence;
  presence = $("now").dataset.presence;
  if (presence !== before) toast(`${name} is ${presence}`);
  for (const button of document.querySelectorAll(".title [data-do]")) button.hidden = presence === "revoked";
}

const load = keepFresh(() => `${path}/now${window()}`, { shown, gone: () => toast("The device was deleted.") });

const ACTIONS = {
  revoke: () => ask({
    title: `Revoke ${name}?`,
    text: "Its token is no longer good, and its connection ends at once. It goes on predicting with what it has. It can register again with a new code.",
    label: "Revoke",
    action: async () => { await call("POST", `${api}/revoke`); await load(); },
  }),
  rotate: () => ask({
    title: `Give ${name} a new token?`,
    text: "The one that it has is no longer good, and its connection ends at once: it stays offline until it gets the new one.",
    label: "Make a new token",
    action: async () => {
      const { token } = await call("POST", `${api}/rotate`);
      $("token").textContent = token;
      $("token-shown").showModal();
      await load();
    },
  }),
  groups: () => open("groups", ({ groups }) => { groups.value = $("now").dataset.groups; }),
  command: () => open("command", () => {}),
};

function open(which, fill) {
  const form = $(`${which}-form`);
  fill(form.elements);
  form.querySelector("[data-problem]").hidden = true;
  $(`${which}-dialog`).showModal();
}

function dialog(which, action) {
  const form = $(`${which}-form`);
  if (!form) return;
  onSubmit(form, form.querySelector("[type=submit]"), form.querySelector("[data-problem]"), async (fields) => {
    await action(fields);
    $(`${which}-dialog`).close();
    await load();
  });
  form.querySelector("[data-close]").addEventListener("click", () => $(`${which}-dialog`).close());
}

dialog("groups", ({ groups }) => call("PATCH", api, { groups: names(groups.value) }));
dialog("command", (fields) => order(`/projects/${encodeURIComponent(project)}`, { name: fields.name.value.trim(), value: json(fields.value.value), devices: [name] }));
$("device").addEventListener("click", ({ target }) => ACTIONS[target.closest("[data-do]")?.dataset.do]?.());
$("token-close")?.addEventListener("click", () => {
  $("token-shown").close();
  $("token").textContent = "";
});

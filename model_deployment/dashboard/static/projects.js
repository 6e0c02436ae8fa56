// The page of all projects of devices: keeps the list up to date, and creates projects.
import "./times.js";
import { call } from "./live.js";
import { $, names, onSubmit } from "./device-actions.js";
import { keepFresh } from "./fresh-part.js";

keepFresh(() => "/dashboard/projects");
onSubmit($("new-project"), $("create-go"), $("create-problem"), async ({ name, models }) => {
  await call("POST", "/projects", { name: name.value.trim(), models: names(models.value) });
  location.assign(`/dashboard/projects/${encodeURIComponent(name.value.trim())}`);
});

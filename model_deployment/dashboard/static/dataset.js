// The page of one version: runs the full flow with it, and deletes it.
import { call, toast, whileBusy } from "./live.js";
import "./times.js";

const get = (id) => document.getElementById(id);
const { sha256 } = get("dataset").dataset;

get("run")?.addEventListener("click", ({ currentTarget: button }) =>
  whileBusy(button, button.textContent, async () => {
    try {
      const { id } = await call("POST", "/api/run_flow/full_flow", { experiment: button.dataset.experiment, data: sha256 });
      location.assign(`/dashboard/flows/runs/${id}`);
    } catch (error) {
      toast(error.message);
    }
  }));

get("delete")?.addEventListener("click", () => {
  get("sure-problem").hidden = true;
  get("sure").showModal();
});
get("sure-cancel")?.addEventListener("click", () => get("sure").close());
get("sure")?.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const go = get("sure-go");
  await whileBusy(go, go.textContent, async () => {
    try {
      await call("DELETE", `/datasets/${sha256}`);
      location.assign("/dashboard/datasets");
    } catch (error) {
      get("sure-problem").textContent = error.message;
      get("sure-problem").hidden = false;
    }
  });
});

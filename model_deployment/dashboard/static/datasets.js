// The form for uploads: sends a file piece by piece, shows how far it is, and what does not fit.
import { toast } from "./live.js";
import "./times.js";

const form = document.getElementById("upload");
const get = (id) => document.getElementById(id);

const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1024)} KB` : `${(bytes / 1048576).toFixed(1)} MB`);

/** What does not fit: the sentence of the problem, and each column in a line. */
function refuse(problem) {
  get("upload-problem").hidden = false;
  const errors = problem.errors ?? [];
  // The sentence lists the first columns too; the list says it better.
  get("upload-detail").textContent = errors.length > 1 ? `${errors.length} things do not fit:` : problem.detail;
  get("upload-errors").replaceChildren(...(errors.length > 1 ? errors : []).map(({ column, message }) => {
    const line = document.createElement("li");
    if (column) {
      const name = document.createElement("b");
      name.textContent = column;
      line.append(name, ": ");
    }
    line.append(message);
    return line;
  }));
}

/** The answer of an upload; fetch cannot tell how far it is. */
function send(file, query, begun) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const away = () => reject({ detail: "cannot upload: the connection to the controller broke. Nothing was kept; try again" });
    request.open("POST", `/upload_data?${new URLSearchParams(query)}`);
    request.setRequestHeader("Content-Type", /\.parquet$/i.test(file.name) ? "application/vnd.apache.parquet" : /\.csv$/i.test(file.name) ? "text/csv" : "application/octet-stream");
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      get("bar").value = (100 * loaded) / total;
      get("sent").textContent = loaded < total ? `${size(loaded)} of ${size(total)}` : "checking the columns";
    });
    request.addEventListener("error", away);
    request.addEventListener("abort", () => resolve(null));
    request.addEventListener("load", () => {
      let answer = null;
      try { answer = JSON.parse(request.responseText); } catch { /* a gateway's own page */ }
      if (request.status === 202) resolve(answer);
      else if (answer?.detail) reject(answer);
      else away();
    });
    begun(request);
    request.send(file);
  });
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { file: input, experiment, run } = form.elements;
  const file = input.files[0];
  const busy = (on) => {
    get("progress").hidden = get("stop").hidden = !on;
    get("send").disabled = input.disabled = on;
    get("bar").value = 0;
    get("sent").textContent = "";
  };
  get("upload-problem").hidden = true;
  if (file.size > Number(form.dataset.limit)) {
    refuse({ detail: `cannot upload ${file.name}: it has ${size(file.size)}, and ${size(Number(form.dataset.limit))} are allowed (MODEL_DEPLOYMENT_MAX_UPLOAD_BYTES)` });
    return;
  }
  busy(true);
  try {
    const kept = await send(file, { experiment: experiment.value, run: run.checked, name: file.name }, (request) => { get("stop").onclick = () => request.abort(); });
    if (kept) location.assign(kept.run ? `/dashboard/flows/runs/${kept.run.id}` : `/dashboard/datasets/${kept.sha256}`);
    else toast("stopped; nothing was kept");
  } catch (problem) {
    refuse(problem);
  } finally {
    busy(false);
  }
});

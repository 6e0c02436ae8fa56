// What the model is: what the registry says of the version, and who deployed it.
import { call } from "./live.js";
import { $, api, keepFresh, page } from "./deployment.js";
import { timeElement } from "./times.js";

/** Characters of a text that are shown before it has to be opened. */
const LONG = 400;

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function link(href, text) {
  const made = element("a", "", text);
  made.href = href;
  return made;
}

/** Show a fact, or nothing if there is none. */
function put(name, ...content) {
  const row = document.querySelector(`[data-about="${name}"]`);
  row.hidden = content.length === 0;
  row.querySelector("dd").replaceChildren(...content);
}

/** With something between two of them. */
const joined = (elements, between = " ") => elements.flatMap((one, place) => (place ? [between, one] : [one]));

function describe(text) {
  const place = $("description");
  place.hidden = !text;
  place.textContent = text;
  if (text.length <= LONG) return;
  const more = element("details", "", "");
  more.append(element("summary", "", `${text.slice(0, LONG)} …`), text.slice(LONG));
  place.replaceChildren(more);
}

/** An alias leads to its endpoint, if there is one. */
function alias(name, endpoints) {
  const tag = element("span", "tag info", name);
  const address = `${page.dataset.model}@${name}`;
  if (!endpoints.has(address)) return tag;
  const made = link(`/dashboard/endpoints/${encodeURIComponent(address).replaceAll("%40", "@")}`, "");
  made.append(tag);
  return made;
}

function show({ registered, deployed_by: deployer }, endpoints) {
  $("deployed-by").textContent = deployer ? ` by ${deployer}` : "";
  if (!registered) return;
  const { description, aliases, tags, run_id: run, run_url: address, user, flavors, created_at: at, source, as_of: old } = registered;
  describe(description ?? "");
  $("registry-old").hidden = !old;
  if (old) $("registry-old").replaceChildren("The registry does not answer. What it says of this version is from ", timeElement(old, "minutes"), ".");
  put("aliases", ...joined((aliases ?? []).map((name) => alias(name, endpoints))));
  put("registered", ...(at ? [timeElement(at, "minutes"), user ? ` by ${user}` : ""] : []));
  put("run", ...(run ? [/^https?:/.test(address ?? "") ? link(address, run) : element("code", "", run)] : []));
  put("flavors", ...joined(Object.entries(flavors ?? {}).map(([name, version]) => element("span", "", `${name} ${version}`.trim())), ", "));
  put("tags", ...joined(Object.entries(tags ?? {}).map(([name, value]) => element("span", "tag info pair", `${name}: ${value}`))));
  put("source", ...(source ? [element("code", "", source)] : []));
}

let shown = "";

keepFresh(async () => {
  let found, listed;
  try {
    [found, listed] = await Promise.all([call("GET", api), call("GET", "/endpoints").catch(() => [])]);
  } catch { return; }
  const { registered, deployed_by } = found;
  const now = JSON.stringify([registered, deployed_by, listed.map((one) => one.name)]);
  if (now === shown) return;
  shown = now;
  show(found, new Set(listed.map((one) => one.name)));
}, 60);

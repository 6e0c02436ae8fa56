// What of the overview is shown, as the address has it: links can be sent, and "Back" works.

export const view = { q: "", state: "all", sort: "need", down: false, open: new Set(), closed: new Set() };

const known = (all, value, otherwise) => (all.includes(value) ? value : otherwise);

/** Take the view from the address; what it names has to be one of these. */
export function readAddress(states, sorts) {
  const given = new URLSearchParams(location.search);
  view.q = given.get("q") ?? "";
  view.state = known(states, given.get("state"), "all");
  view.sort = known(sorts, given.get("sort"), "need");
  view.down = given.has("down");
  view.open = new Set(given.getAll("open"));
  view.closed = new Set(given.getAll("closed"));
}

/** The address of the view, with these changes. */
export function address(changed = {}) {
  const wanted = { ...view, ...changed };
  const query = new URLSearchParams();
  if (wanted.q.trim()) query.set("q", wanted.q);
  if (wanted.state !== "all") query.set("state", wanted.state);
  if (wanted.sort !== "need") query.set("sort", wanted.sort);
  if (wanted.down) query.set("down", "1");
  for (const model of [...wanted.open].sort()) query.append("open", model);
  for (const model of [...wanted.closed].sort()) query.append("closed", model);
  const text = query.toString();
  return text ? `${location.pathname}?${text}` : location.pathname;
}

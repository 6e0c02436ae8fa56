// Forms for options: what is filled in, the same as a command, and the memory that it takes.

/** The value of a field; null for the default, undefined if it cannot be read. */
export function valueOf(field) {
  const text = field.value.trim();
  if (text === "") return field.validity.badInput ? undefined : null;
  if (!field.validity.valid) return undefined;
  if (field.dataset.kind === "number") return Number(text);
  if (field.dataset.kind === "word") return /^\d*\.?\d+$/.test(text) ? Number(text) : text;
  if (field.dataset.kind === "range") return range(text);
  if (field.dataset.kind === "list") return text.split(",").map((name) => name.trim()).filter(Boolean);
  return text;
}

/** A number of replicas as the controller has it; undefined if the range ends before it begins. */
function range(text) {
  const [min, max = min] = text.split("-").map(Number);
  if (min > max) return undefined;
  return min === max ? min : { min, max };
}

/** A value as text: of a range, from where to where. */
const shown = (value) => (value !== null && typeof value === "object" ? `${value.min}-${value.max}` : String(value));

export const fieldsOf = (form) => [...form.elements].filter((field) => field.name);

/** The options that a form for a new deployment names. */
export function named(form) {
  const values = fieldsOf(form).map((field) => [field.name, valueOf(field)]);
  return Object.fromEntries(values.filter(([, value]) => value !== null && value !== undefined));
}

const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** Flags of the command line for options. A default has no flag. */
export function flags(options) {
  const parts = [];
  for (const [name, value] of Object.entries(options)) {
    const flag = `--${name.replaceAll("_", "-")}`;
    for (const one of value === null ? [] : [value].flat()) parts.push(`${flag} ${quote(shown(one))}`);
  }
  return parts.join(" ");
}

/** A curl line for a call of this controller; curl asks for the password. */
export function curl(method, path, body, user) {
  const login = user ? `-u ${quote(user)} ` : "";
  const data = body && Object.keys(body).length ? ` -H 'Content-Type: application/json' -d ${quote(JSON.stringify(body))}` : "";
  return `curl ${login}-X ${method} ${quote(location.origin + path)}${data}`;
}

export { quote };

/** Bytes as people read them. */
export function size(bytes) {
  const mega = bytes / 1048576;
  return mega >= 1024 ? `${(mega / 1024).toFixed(1)} GB` : `${Math.max(1, Math.round(mega))} MB`;
}

/** What a deploy with these options would take, in words; empty where that cannot be told. */
export async function room(path, options) {
  const query = new URLSearchParams();
  for (const name of ["workers", "env_manager", "start_method"]) if (options[name] != null) query.set(name, options[name]);
  if (options.replicas != null) query.set("replicas", options.replicas.min ?? options.replicas);
  try {
    const answer = await fetch(`${path}?${query}`);
    if (!answer.ok) return { text: "", short: false };
    const found = await answer.json();
    const ports = found.ports_free === 0 ? " No port is free." : "";
    const text = `It takes about ${size(found.memory_needed)} of memory; ${size(found.memory_available)} of ${size(found.memory_total)} are free.${ports}`;
    return { text: found.shortage ? `${text} That is too little: ${found.shortage}.` : text, short: Boolean(found.shortage) || ports !== "" };
  } catch {
    return { text: "", short: false };
  }
}

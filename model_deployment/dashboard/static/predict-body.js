// From typed texts to the JSON of a request. Values stay JSON text as typed: a JavaScript number would round large integers.
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

/** The text of a field as JSON; undefined leaves it out. Field: {widget, required, nullable}. */
export function token(field, typed) {
  const text = field.widget === "text" ? typed : typed.trim();
  if (text === "" && field.nullable) return "null";
  if (text === "" && (!field.required || field.widget === "json")) return field.required ? "null" : undefined;
  switch (field.widget) {
    case "boolean": return text === "true" || text === "false" ? text : JSON.stringify(text);
    case "number": return NUMBER.test(text) ? text : text === "" ? "null" : JSON.stringify(text);
    case "json":
      try { JSON.parse(text); return text; } catch { return JSON.stringify(text); }
    default: return JSON.stringify(text);
  }
}

/** A JSON object from names and the JSON of their values; undefined is left out. */
export const object = (pairs) => `{${pairs.filter(([, value]) => value !== undefined).map(([name, value]) => `${JSON.stringify(name)}: ${value}`).join(", ")}}`;

/** The request of some rows of texts. */
export function rowsBody(columns, rows, params, unnamed) {
  const records = rows.map((row) => columns.map((column, place) => [column.name, token(column, row[place] ?? "")]));
  const data = unnamed
    ? `"inputs": [${records.map(([[, value]]) => value ?? "null").join(", ")}]`
    : `"dataframe_records": [${records.map(object).join(", ")}]`;
  return params.length ? `{${data}, "params": ${object(params)}}` : `{${data}}`;
}

/** Parameters are inserted before the last brace of a request as written. */
export function withParams(text, params) {
  if (!params.length || !text.endsWith("}")) return text;
  const before = text.slice(0, -1).trimEnd();
  return `${before}${before.endsWith("{") ? "" : ", "}"params": ${object(params)}}`;
}

/** Whether a text is meant to be JSON; else it is CSV. */
export const isJson = (text) => /^\s*[[{"]/.test(text);

const exact = (_, value, context) => (typeof value === "number" && JSON.rawJSON ? JSON.rawJSON(context.source) : value);

/** JSON with its numbers as they are written, where the browser can keep them. */
export const parseExact = (text) => JSON.parse(text, exact);

/** A value of {@link parseExact} as a text for people. */
export function shown(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Indented JSON; other text stays as it is. */
export function pretty(text) {
  try { return JSON.stringify(parseExact(text), null, 2); } catch { return text; }
}

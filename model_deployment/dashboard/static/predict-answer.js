// The answer as a table beside its inputs, to copy or to keep.
import { parseExact, shown } from "./predict-body.js";

/** Rows and columns of predictions that are shown. */
const MOST = 200, WIDE = 40;

/** Predictions as columns: {names, rows of values}; null if they are not one for each row. */
function columnsOf(predictions) {
  if (predictions !== null && typeof predictions === "object" && !Array.isArray(predictions) && !JSON.isRawJSON?.(predictions)) {
    const lists = Object.entries(predictions);
    const [, first] = lists[0] ?? [];
    if (!Array.isArray(first) || !lists.every(([, list]) => Array.isArray(list) && list.length === first.length)) return null;
    return { names: lists.map(([name]) => name), rows: first.map((_, at) => lists.map(([, list]) => list[at])) };
  }
  if (!Array.isArray(predictions)) return null;
  const plain = (value) => value !== null && typeof value === "object" && !Array.isArray(value) && !JSON.isRawJSON?.(value);
  if (predictions.length && predictions.every(plain)) {
    const names = [...new Set(predictions.flatMap((one) => Object.keys(one)))];
    return { names, rows: predictions.map((one) => names.map((name) => one[name])) };
  }
  const width = Array.isArray(predictions[0]) ? predictions[0].length : 0;
  if (width && width <= WIDE && predictions.every((one) => Array.isArray(one) && one.length === width)) {
    return { names: predictions[0].map((_, place) => (width === 1 ? "prediction" : `prediction ${place}`)), rows: predictions };
  }
  return { names: ["prediction"], rows: predictions.map((one) => [one]) };
}

/** The answer as a table with inputs ({names, rows of texts}, or null); null if it has no rows. */
export function answerTable(text, inputs) {
  let answer;
  try { answer = parseExact(text); } catch { return null; }
  const found = columnsOf(answer?.predictions);
  if (!found || !found.rows.length) return null;
  const beside = inputs && inputs.rows.length === Math.min(found.rows.length, inputs.rows.length) && inputs.total === found.rows.length ? inputs : null;
  return { names: found.names, rows: found.rows, inputs: beside };
}

export function drawTable({ names, rows, inputs }) {
  const table = document.createElement("table");
  table.className = "cells";
  const cell = (row, name, text, kind) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (kind) made.className = kind;
    if (name === "th") made.scope = "col";
    row.append(made);
  };
  const head = table.createTHead().insertRow();
  cell(head, "th", "Row");
  for (const name of names) cell(head, "th", name, "output");
  for (const name of inputs?.names ?? []) cell(head, "th", name);
  const body = table.createTBody();
  rows.slice(0, MOST).forEach((values, at) => {
    const row = body.insertRow();
    cell(row, "td", String(at + 1), "soft");
    for (const value of values) cell(row, "td", value === null ? "null" : shown(value), "output");
    for (const text of inputs?.rows[at] ?? []) cell(row, "td", text);
  });
  const box = document.createElement("div");
  box.className = "scroll tall";
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Predictions beside their inputs");
  box.append(table);
  const note = document.createElement("p");
  note.className = "soft small";
  note.textContent = rows.length > MOST ? `The first ${MOST} of ${rows.length.toLocaleString("en")} rows; a download has all predictions.` : "";
  note.hidden = !note.textContent;
  return [box, note];
}

// Spreadsheets calculate cells that begin so; an apostrophe keeps them from it. Numbers stay.
const formula = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;
const number = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const guarded = (text) => (formula.test(text) && !number.test(text) ? `'${text}` : text);
const quoted = (text, between) => (new RegExp(`["\\r\\n${between}]`).test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const quote = (text, between) => quoted(guarded(text), between);

/** The table as CSV, or with tabs between values. */
export function delimited({ names, rows, inputs }, between = ",") {
  const lines = [[...(inputs?.names ?? []), ...names], ...rows.map((values, at) => [...(inputs ? inputs.rows[at] ?? inputs.names.map(() => "") : []), ...values.map(shown)])];
  return `${lines.map((line) => line.map((text) => quote(text, between)).join(between)).join("\r\n")}\r\n`;
}

export function save(text, type, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

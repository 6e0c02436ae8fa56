// The rows of the form: fields for one row, a table for several; errors are shown at their cells.

/** Most rows that can be typed in. */
export const MOST_ROWS = 50;

function element(name, attributes = {}, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...content);
  return made;
}

export class Rows {
  /** changed() is called after each change. */
  constructor(box, columns, rows, changed) {
    this.box = box;
    this.columns = columns;
    /** Texts, by row and column. */
    this.rows = rows;
    this.changed = changed;
    this.cells = [];
    this.draw();
  }

  replace(rows) {
    this.rows = rows;
    this.draw();
    this.changed();
  }

  add(row) {
    this.rows.push(row);
    this.draw();
    this.changed();
    this.cells.at(-1)?.[0]?.focus();
  }

  remove(at) {
    this.rows.splice(at, 1);
    this.draw();
    this.changed();
    this.cells[Math.min(at, this.rows.length - 1)]?.[0]?.focus();
  }

  draw() {
    this.cells = this.rows.map((row, at) => this.columns.map((column, place) => this.input(column, at, place)));
    this.box.replaceChildren(this.rows.length === 1 ? this.fields() : this.table());
  }

  input(column, at, place) {
    const many = this.rows.length > 1;
    const value = this.rows[at][place] ?? "";
    const common = { "data-column": column.name, "data-row": at, "aria-label": many ? `${column.name}, row ${at + 1}` : undefined };
    let made;
    if (column.widget === "boolean") {
      const choices = column.required ? ["true", "false"] : ["", "true", "false"];
      made = element("select", common, ...choices.map((one) => element("option", { value: one, selected: one === value }, one || "not sent")));
      if (!choices.includes(value)) this.rows[at][place] = made.value;
    } else if (column.widget === "json" || (column.widget === "text" && value.includes("\n"))) {
      made = element("textarea", { ...common, rows: many ? 1 : 2, spellcheck: "false", placeholder: column.hint });
      made.value = value;
    } else {
      const hint = column.nullable ? "null" : column.required ? column.hint : "not sent";
      made = element("input", { ...common, class: column.widget === "text" ? "long" : undefined, inputmode: column.widget === "number" ? "decimal" : undefined, autocomplete: "off", spellcheck: "false", placeholder: hint });
      made.value = value;
    }
    made.addEventListener("input", () => { this.rows[at][place] = made.value; this.changed(); });
    return made;
  }

  kind(column) {
    return `${column.kind}${column.nullable ? ", may be null" : column.required ? "" : ", optional"}`;
  }

  fields() {
    const box = element("div", { class: "fields" });
    this.columns.forEach((column, place) => {
      const label = element("label", { class: column.widget === "json" ? "wide" : undefined });
      label.append(element("span", {}, element("b", {}, column.name), " ", element("span", { class: "soft" }, this.kind(column))), this.cells[0][place], element("span", { class: "wrong", hidden: true }));
      box.append(label);
    });
    return box;
  }

  table() {
    const head = element("tr", {}, element("th", { scope: "col" }, "Row"), ...this.columns.map((column) => element("th", { scope: "col", title: this.kind(column) }, element("b", {}, column.name), element("span", { class: "soft" }, this.kind(column)))), element("th", { scope: "col" }, element("span", { class: "hidden" }, "Actions")));
    const body = this.rows.map((_, at) => {
      const remove = element("button", { type: "button", "aria-label": `Remove row ${at + 1}`, title: `Remove row ${at + 1}` }, "✕");
      remove.addEventListener("click", () => this.remove(at));
      return element("tr", {}, element("th", { scope: "row" }, String(at + 1)), ...this.cells[at].map((cell) => element("td", {}, cell, element("span", { class: "wrong", hidden: true }))), element("td", {}, remove));
    });
    const table = element("table", { class: "cells" }, element("thead", {}, head), element("tbody", {}, ...body));
    return element("div", { class: "scroll tall", tabindex: "0", role: "group", "aria-label": "Rows" }, table);
  }

  /** Show errors at their cells, and focus the first; those without a row are of the first row that has the column. */
  mark(errors) {
    let first = null;
    this.cells.forEach((row, at) => row.forEach((cell, place) => {
      const own = errors.filter((error) => (error.row ?? 0) === at && (this.columns.length === 1 || error.column === this.columns[place].name) && error.kind !== "params");
      const wrong = cell.parentElement.querySelector(".wrong");
      cell.setAttribute("aria-invalid", own.length > 0);
      wrong.hidden = own.length === 0;
      wrong.textContent = own.map(said).join("; ");
      if (own.length) first ??= cell;
    }));
    first?.focus();
  }
}

/** What is wrong with a value. */
export const said = (error) => (error.got === "null" && error.kind === "null" ? "required" : `expected ${error.expected}, got ${error.got}`);

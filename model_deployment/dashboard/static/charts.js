// Charts with axes, a grid, the values under the pointer or under a cursor that keys move, and ranges to look into.
import { onZone } from "./times.js";
import { manyDays, spanText, text } from "./chart-axes.js";
import { axes, bars, FOOT, HEIGHT, LEFT, lines, RIGHT, svg, TOP } from "./chart-drawing.js";

/** Pixels of a movement that is no click. */
const DRAG = 6;
const charts = new Set();
const sizes = new ResizeObserver((seen) => { for (const { target } of seen) target.chart?.draw(); });
onZone(() => { for (const chart of charts) chart.draw(); });

class Chart {
  /**
   * Options: zoom(since, until) shows another range, errors(since, until) shows what failed in it. Both are in seconds.
   */
  constructor(figure, options) {
    this.figure = figure;
    this.options = options;
    this.cursor = null;
    this.anchor = null;
    /** Labels of series that are not shown. */
    this.hidden = new Set();
    this.picture = svg("svg", { tabindex: 0, role: "slider" });
    this.plot = document.createElement("div");
    this.plot.className = "canvas";
    this.plot.append(this.picture);
    this.legend = document.createElement("p");
    this.legend.className = "legend";
    figure.append(this.plot, this.legend);
    this.plot.chart = this;
    this.listen();
    this.take(JSON.parse(figure.dataset.chart));
    sizes.observe(this.plot);
    charts.add(this);
  }

  take(data) {
    this.all = data;
    const moved = (place) => (place === null ? null : data.places.indexOf(this.data.places[place]));
    // The cursor stays at its time, if that is still there.
    const [cursor, anchor] = [this.cursor, this.anchor].map(moved);
    this.data = this.seen(data);
    this.cursor = cursor === -1 || anchor === -1 ? null : cursor;
    this.anchor = this.cursor === null ? null : anchor;
    this.draw();
  }

  /** The data without hidden series, and with an axis for the others. */
  seen(data) {
    const series = data.series.filter(({ label }) => !this.hidden.has(label));
    const largest = series.reduce((one, other) => (other.high > one.high ? other : one), { high: 0 });
    return { ...data, series, ...(largest.high ? { high: largest.high, ticks: largest.ticks } : {}) };
  }

  toggle(label) {
    if (!this.hidden.delete(label)) this.hidden.add(label);
    this.take(this.all);
    this.legend.querySelector(`[data-label="${CSS.escape(label)}"]`)?.focus();
  }

  forget() {
    sizes.unobserve(this.plot);
    charts.delete(this);
  }

  // -- where things are ------------------------------------------------------------------------------

  get width() { return Math.max(120, this.plot.clientWidth); }

  x(at) {
    const { since, until } = this.data;
    return LEFT + ((at - since) / (until - since)) * (this.width - LEFT - RIGHT);
  }

  y(value) {
    const { low, high } = this.data;
    return HEIGHT - FOOT - ((value / 2 - low / 2) / (high / 2 - low / 2)) * (HEIGHT - FOOT - TOP);
  }

  /** The middle of what a value stands for. */
  middle(place) { return this.x(this.data.places[place] + this.data.step / 2); }

  /** The place that is nearest to an x. */
  nearest(x) {
    let best = 0;
    this.data.places.forEach((_, place) => {
      if (Math.abs(this.middle(place) - x) < Math.abs(this.middle(best) - x)) best = place;
    });
    return best;
  }

  // -- drawing ---------------------------------------------------------------------------------------

  draw() {
    const { width } = this;
    this.picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.picture.setAttribute("width", width);
    this.picture.setAttribute("height", HEIGHT);
    this.picture.replaceChildren(...axes(this), ...(this.data.kind === "bars" ? bars(this) : lines(this)));
    this.marks = svg("g", { class: "marks" });
    this.picture.append(this.marks);
    this.picture.setAttribute("aria-label", this.figure.querySelector("figcaption").textContent.trim().replace(/\s+/g, " "));
    this.picture.setAttribute("aria-valuemin", 0);
    this.picture.setAttribute("aria-valuemax", this.data.places.length - 1);
    this.point();
  }

  /** The cursor, the range that is being selected, and what they say. */
  point() {
    const { places, step, series, unit, baseline } = this.data;
    const at = this.cursor;
    const made = [];
    if (this.anchor !== null && at !== null) {
      const [from, to] = this.range();
      made.push(svg("rect", { class: "selected", x: this.x(from), y: TOP, width: Math.max(1, this.x(to) - this.x(from)), height: HEIGHT - FOOT - TOP }));
    }
    if (at !== null) {
      const x = this.middle(at).toFixed(1);
      made.push(svg("path", { class: "cursor", d: `M${x} ${TOP}V${HEIGHT - FOOT}` }));
      if (this.data.kind === "lines") for (const { style, values } of series) if (values[at] !== null) made.push(svg("circle", { class: style, cx: x, cy: this.y(values[at]), r: 4 }));
    }
    this.marks?.replaceChildren(...made);
    const names = this.all.series.map(({ label, style, values, high }) => this.key(label, style, at === null || this.hidden.has(label) ? "" : text(values[at], unit), high > 0));
    if (baseline !== null) names.push(this.key("baseline", "baseline", at === null ? "" : text(baseline, unit)));
    const when = document.createElement("b");
    when.textContent = at === null ? "" : spanText(places[at], step, manyDays(this.data.since, this.data.until));
    const focused = this.legend.contains(document.activeElement) ? document.activeElement.dataset.label : undefined;
    this.legend.replaceChildren(when, ...names);
    if (focused !== undefined) this.legend.querySelector(`[data-label="${CSS.escape(focused)}"]`)?.focus();
    this.picture.setAttribute("aria-valuenow", at ?? 0);
    this.picture.setAttribute("aria-valuetext", at === null ? "no value chosen; the arrow keys choose one" : `${this.legend.innerText.replace(/\s+/g, " ")}${this.failed(at) ? "; Enter shows the errors" : ""}`);
    this.picture.classList.toggle("leads", at !== null && this.failed(at));
  }

  /** What a colour stands for; a button, if its series can be hidden. */
  key(label, style, value, canHide = false) {
    const element = document.createElement(canHide ? "button" : "span");
    element.className = `key ${style}`;
    element.textContent = value ? `${label} ` : label;
    const number = document.createElement("b");
    number.textContent = value;
    element.append(number);
    if (canHide) {
      element.type = "button";
      element.dataset.label = label;
      element.setAttribute("aria-pressed", !this.hidden.has(label));
      element.title = this.hidden.has(label) ? `Show ${label}` : `Hide ${label}`;
      element.addEventListener("click", () => this.toggle(label));
    }
    return element;
  }

  // -- pointer and keys ------------------------------------------------------------------------------

  /** Whether a bar has errors that can be looked at. */
  failed(place) {
    return Boolean(this.options.errors) && this.data.series.some(({ style, values }) => style === "failed" && values[place] > 0);
  }

  /** The selected range, in seconds. */
  range() {
    const { places, step } = this.data;
    const [first, last] = [this.anchor, this.cursor].sort((a, b) => a - b);
    return [places[first], places[last] + step];
  }

  /** Move the cursor of this chart, and of those beside it that have the same places. */
  move(place, own = true) {
    this.cursor = place;
    this.point();
    if (!own) return;
    for (const other of charts) if (other !== this && other.figure.parentElement === this.figure.parentElement && other.data.step && other.data.since === this.data.since) other.move(place, false);
  }

  /** Look into the selected range, or at the errors of the place. */
  enter() {
    const selected = this.anchor !== null && this.anchor !== this.cursor;
    const [from, to] = selected ? this.range() : [0, 0];
    this.anchor = null;
    if (selected) (this.options.zoom ?? this.zoom).call(this, from, to);
    else if (this.cursor !== null && this.failed(this.cursor)) this.options.errors(this.data.places[this.cursor], this.data.places[this.cursor] + this.data.step);
    this.point();
  }

  /** Show a part of the values that are here, with a button that shows all of them again. */
  zoom(since, until) {
    const all = JSON.parse(this.figure.dataset.chart);
    const within = all.places.map((at) => at >= since && at <= until);
    const kept = (values) => values.filter((_, place) => within[place]);
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Show all";
    button.addEventListener("click", () => { button.remove(); this.take(all); this.picture.focus(); });
    this.figure.querySelector("figcaption button")?.remove();
    this.figure.querySelector("figcaption").append(" ", button);
    this.cursor = null;
    this.take({ ...all, since, until, places: kept(all.places), series: all.series.map((one) => ({ ...one, values: kept(one.values) })) });
  }

  listen() {
    const { picture } = this;
    let pressed = null;
    const here = (event) => this.nearest(event.clientX - picture.getBoundingClientRect().left);
    picture.addEventListener("pointermove", (event) => {
      if (pressed !== null && Math.abs(event.clientX - pressed.x) > DRAG) {
        if (this.anchor === null) {
          this.anchor = pressed.place;
          picture.setPointerCapture(event.pointerId);
        }
      }
      this.move(here(event));
    });
    picture.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.anchor = null;
      pressed = { x: event.clientX, place: here(event) };
      this.move(pressed.place);
    });
    picture.addEventListener("pointerup", () => {
      if (pressed === null) return;
      pressed = null;
      this.enter();
    });
    picture.addEventListener("pointercancel", () => { pressed = null; this.anchor = null; this.point(); });
    picture.addEventListener("pointerleave", () => { if (pressed === null && document.activeElement !== picture) this.move(null); });
    picture.addEventListener("blur", () => { this.anchor = null; this.move(null); });
    picture.addEventListener("keydown", (event) => this.press(event));
  }

  press(event) {
    const last = this.data.places.length - 1;
    const at = this.cursor ?? last + 1;
    const to = { ArrowLeft: at - 1, ArrowRight: this.cursor === null ? last : at + 1, PageUp: at - 10, PageDown: at + 10, Home: 0, End: last }[event.key];
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (to !== undefined) {
      this.anchor = event.shiftKey ? this.anchor ?? this.cursor ?? last : null;
      this.move(Math.max(0, Math.min(last, to)));
    } else if (event.key === "Enter") {
      this.enter();
    } else if (event.key === "Escape") {
      if (this.anchor === null && this.cursor === null) return;
      this.anchor = null;
      this.move(null);
    } else return;
    event.preventDefault();
  }
}

/** Draw the charts below a box. */
export function drawCharts(box, options = {}) {
  for (const chart of charts) if (!chart.figure.isConnected) chart.forget();
  for (const figure of box.querySelectorAll("figure[data-chart]")) {
    if (!figure.querySelector(".canvas")) new Chart(figure, options);
  }
}

/** Give the charts of a box newer values from the same charts in HTML, and say whether that was possible. */
export function renew(box, html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  const [old, now] = [box, fresh.content].map((root) => [...root.querySelectorAll("figure[data-chart]")]);
  const title = (figure) => figure.querySelector("figcaption b").textContent;
  if (!old.length || old.map(title).join("\n") !== now.map(title).join("\n")) return false;
  old.forEach((figure, place) => {
    figure.dataset.chart = now[place].dataset.chart;
    figure.querySelector("figcaption").replaceChildren(...now[place].querySelector("figcaption").childNodes);
    figure.querySelector(".canvas").chart.take(JSON.parse(figure.dataset.chart));
  });
  return true;
}

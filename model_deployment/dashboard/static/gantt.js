// Draws bars over time: a line for each run or task, in the chosen zone. The data is JSON in `data-gantt`.
import { svg } from "./chart-drawing.js";
import { tickText, timeTicks } from "./chart-axes.js";
import { onZone } from "./times.js";

/** Pixels: height of a line, of its text and its bars; room around; width of a text of the axis. */
const LINE = 36, NAME = 15, WIDE = 14, NARROW = 8, SIDE = 6, FOOT = 22, TEXT = 84;
/** Seconds that an axis has at least. */
const SHORTEST = 10;
const STATES = ["requested", "scheduled", "pending", "paused", "running", "cancelling", "completed", "failed", "crashed", "cancelled"];
const drawn = new Map();

/** Draw the charts within an element. */
export function drawGantts(root = document) {
  for (const place of root.querySelectorAll("[data-gantt]")) draw(place);
}

function draw(place) {
  const width = place.clientWidth - 2;
  const key = `${width} ${place.dataset.gantt}`;
  if (width <= 0 || drawn.get(place) === key) return;
  drawn.set(place, key);
  const { now, lines } = JSON.parse(place.dataset.gantt);
  place.hidden = lines.length === 0;
  if (!lines.length) return;
  place.replaceChildren(legend(lines), picture(lines, now, width));
}

/** The states that occur, in words beside their colours. */
function legend(lines) {
  const states = new Set(lines.flatMap(({ bars }) => bars.map(({ state }) => state)));
  const list = document.createElement("p");
  list.className = "legend small";
  for (const state of STATES.filter((one) => states.has(one))) {
    const item = document.createElement("span");
    const mark = svg("svg", { width: 12, height: 12, class: `bar ${state}` });
    mark.append(svg("rect", { width: 12, height: 12, rx: 2 }));
    item.append(mark, state);
    list.append(item);
  }
  return list;
}

function picture(lines, now, width) {
  const bars = lines.flatMap((line) => line.bars);
  const since = Math.min(...bars.map(({ start }) => start));
  const until = Math.max(since + SHORTEST, ...bars.map(({ end }) => end ?? now));
  const x = (at) => SIDE + ((at - since) / (until - since)) * (width - 2 * SIDE);
  const height = lines.length * LINE + FOOT;
  const image = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
  image.append(...axis(since, until, x, width, height));
  lines.forEach((line, place) => image.append(...drawLine(line, place * LINE, x, now, width)));
  return image;
}

function axis(since, until, x, width, height) {
  const { step, found } = timeTicks(since, until, Math.max(2, Math.floor(width / TEXT)));
  return found.flatMap((at, number) => {
    const left = Math.round(x(at)) + 0.5;
    const place = left > width - 44 ? "end" : left < 30 ? "start" : "middle";
    return [svg("line", { x1: left, x2: left, y1: 0, y2: height - FOOT + 4 }), svg("text", { x: place === "end" ? width - 2 : left, y: height - 6, class: place }, tickText(at, step, number === 0))];
  });
}

function drawLine({ label, href, bars }, top, x, now, width) {
  // A name stands where its first bar begins, unless there is no room for it.
  const begin = Math.min(...bars.map(({ start }) => start));
  const left = Math.max(SIDE, Math.min(x(begin), width - 8 * label.length));
  const name = svg("text", { x: left, y: top + NAME - 3, class: "name" }, label);
  const made = bars.map((bar) => drawBar(bar, top + NAME, x, now));
  if (!href) return [name, ...made];
  const link = svg("a", { href, tabindex: -1 });
  link.append(name);
  return [link, ...made];
}

function drawBar({ start, end, state, text, wide }, top, x, now) {
  const until = end ?? now;
  const height = wide ? WIDE : NARROW;
  const group = svg("g", { class: `bar ${state} ${wide ? "wide" : "narrow"}` });
  const rect = svg("rect", { x: x(start).toFixed(1), y: top + (WIDE - height) / 2, width: Math.max(2, x(until) - x(start)).toFixed(1), height, rx: 2 });
  const seconds = until - start;
  group.append(rect, svg("title", {}, `${text}: ${state}, ${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`));
  return group;
}

function drawAgain() {
  for (const place of [...drawn.keys()]) {
    if (place.isConnected) draw(place);
    else drawn.delete(place);
  }
}
new ResizeObserver(drawAgain).observe(document.getElementById("main"));
onZone(() => {
  for (const place of drawn.keys()) drawn.set(place, "");
  drawAgain();
});

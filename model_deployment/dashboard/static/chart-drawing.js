// What a chart is drawn of: axes with a grid, bars, lines. A chart has its data, its width, and says where a time and a value are.
import { text, tickText, timeTicks } from "./chart-axes.js";

const NS = "http://www.w3.org/2000/svg";
/** Pixels: the picture's height, and the room around what is drawn. */
export const HEIGHT = 190, LEFT = 54, RIGHT = 12, TOP = 10, FOOT = 24;
/** Pixels between two texts of the time axis. */
const TEXT = 84;

export function svg(name, attributes = {}, content = "") {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = content;
  return element;
}

export function axes(chart) {
  const { since, until, ticks, unit } = chart.data;
  const made = [];
  for (const value of ticks) {
    const y = Math.round(chart.y(value)) + 0.5;
    made.push(svg("line", { x1: LEFT, x2: chart.width - RIGHT, y1: y, y2: y }), svg("text", { x: LEFT - 7, y: y + 4, class: "end" }, text(value, unit)));
  }
  const { step, found } = timeTicks(since, until, Math.max(2, Math.floor((chart.width - LEFT - RIGHT) / TEXT)));
  found.forEach((at, number) => {
    const x = Math.round(chart.x(at)) + 0.5;
    const place = x > chart.width - 44 ? "end" : x < LEFT + 20 ? "start" : "middle";
    made.push(svg("line", { x1: x, x2: x, y1: TOP, y2: HEIGHT - FOOT + 4 }), svg("text", { x: place === "end" ? chart.width - 2 : x, y: HEIGHT - 6, class: place }, tickText(at, step, number === 0)));
  });
  return made;
}

export function bars(chart) {
  const { places, step, series } = chart.data;
  const room = chart.x(chart.data.since + step) - LEFT;
  const gap = room > 4 ? 1 : 0;
  const below = places.map(() => 0);
  return series.map(({ style, values }) => {
    const parts = values.map((value, place) => {
      if (!value) return "";
      const base = below[place];
      below[place] += value;
      // What is there is seen, however little it is.
      const top = Math.min(chart.y(base) - 1.5, chart.y(below[place]));
      const left = chart.x(places[place]);
      return `M${left.toFixed(1)} ${chart.y(base).toFixed(1)}V${top.toFixed(1)}h${(room - gap).toFixed(1)}V${chart.y(base).toFixed(1)}Z`;
    });
    return svg("path", { class: `fill ${style}`, d: parts.join("") });
  });
}

export function lines(chart) {
  const { series, baseline, places, step } = chart.data;
  const made = [];
  if (baseline !== null) made.push(svg("path", { class: "curve baseline", d: `M${LEFT} ${chart.y(baseline).toFixed(1)}H${chart.width - RIGHT}` }));
  for (const { style, values } of series) {
    let drawing = false;
    const parts = [];
    values.forEach((value, place) => {
      if (value !== null) {
        const at = `${chart.middle(place).toFixed(1)} ${chart.y(value).toFixed(1)}`;
        const alone = !drawing && (values[place + 1] ?? null) === null;
        parts.push(alone ? `M${at}h.01` : `${drawing ? "L" : "M"}${at}`);
      }
      drawing = value !== null;
    });
    made.push(svg("path", { class: `curve ${style}`, d: parts.join("") }));
    // Points that were measured, not added up, are marked.
    if (!step) for (const [place, value] of values.entries()) if (value !== null && places.length <= 60) made.push(svg("circle", { class: style, cx: chart.middle(place), cy: chart.y(value), r: 3 }));
  }
  return made;
}

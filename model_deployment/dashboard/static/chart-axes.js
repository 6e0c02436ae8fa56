// Scales, ticks and texts of charts.
import { ahead, clock, day, moment } from "./times.js";

const MINUTE = 60, HOUR = 3600, DAY = 86400;
/** Seconds between two lines of a time axis. */
const STEPS = [1, 2, 5, 10, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY, 365 * DAY];
const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const large = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tiny = new Intl.NumberFormat("en", { notation: "scientific", maximumSignificantDigits: 4 });

/** A number with its unit, as people read it. */
export function text(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "ms" && value >= 1000) return `${plain.format(value / 1000)} s`;
  const size = Math.abs(value);
  const number = value !== 0 && (size < 1e-4 || size >= 1e9) ? tiny : size >= 1000 ? large : plain;
  return unit ? `${number.format(value)} ${unit}` : number.format(value);
}

/** Times, in seconds, of at most so many lines between two times: full minutes, hours and days of the chosen zone. */
export function timeTicks(since, until, most) {
  const step = STEPS.find((one) => (until - since) / one <= most) ?? STEPS.at(-1);
  const found = [];
  const shift = ahead(new Date(since * 1000)) / 1000;
  for (let at = Math.ceil((since + shift) / step) * step - shift; at <= until; at += step) found.push(at);
  return { step, found };
}

/** What is written below a line of the time axis: a day where one begins, else a time. */
export function tickText(at, step, isFirst) {
  const date = new Date(at * 1000);
  if (step >= DAY) return day(date).slice(5);
  if (step < MINUTE) return moment(date).slice(11);
  const time = clock(date);
  return time === "00:00" || (isFirst && step >= HOUR) ? `${day(date).slice(5)} ${time}` : time;
}

/** Whether a time axis has more than one day, so that times need theirs. */
export const manyDays = (since, until) => day(new Date(since * 1000)) !== day(new Date(until * 1000 - 1));

/** When a value was measured: a moment, or from when to when. */
export function spanText(at, step, dated) {
  const begin = new Date(at * 1000);
  const times = step ? `${clock(begin)}–${clock(new Date((at + step) * 1000))}` : clock(begin);
  return dated ? `${day(begin)} ${times}` : times;
}

// How a missing cell may be: a histogram with an interval, or bars of classes.

import { draw, make, number } from "./dom.js";

const BINS = 24;
const WIDTH = 220;
const HEIGHT = 64;

export function distribution(name, draws, expected, lower, upper) {
  const isNumeric = lower !== null && lower !== undefined;
  return isNumeric ? histogram(name, draws, expected, lower, upper) : bars(draws, expected);
}

function amount(value) {
  return typeof value === "number" ? value : Date.parse(value);
}

function short(value) {
  return typeof value === "number" ? number(value) : String(value).replace("T00:00:00", "");
}

function histogram(name, draws, expected, lower, upper) {
  const values = draws.map(amount);
  const ends = [...values, amount(lower), amount(upper)];
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const x = (value) => ((value - low) / (high - low || 1)) * WIDTH;
  const counts = new Array(BINS).fill(0);
  for (const value of values) counts[Math.min(BINS - 1, Math.floor((x(value) / WIDTH) * BINS))]++;
  const most = Math.max(...counts);
  const step = WIDTH / BINS;
  const columns = counts.map((count, index) => {
    const height = (count / most) * (HEIGHT - 4);
    return draw("rect", { class: "bin", x: index * step, y: HEIGHT - height, width: step - 1, height });
  });
  const [left, right] = [x(amount(lower)), x(amount(upper))];
  const band = draw("rect", { class: "band", x: left, y: 0, width: Math.max(right - left, 1), height: HEIGHT });
  const middle = x(amount(expected));
  const line = draw("line", { class: "expected", x1: middle, x2: middle, y1: 0, y2: HEIGHT });
  const text = `expected ${short(expected)}, 90 % in ${short(lower)} – ${short(upper)}`;
  const label = `${name}: ${text}`;
  const box = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label, class: "histogram" };
  return make("figure", {}, draw("svg", box, band, columns, line), make("figcaption", {}, text));
}

function bars(draws, expected) {
  const counts = new Map([[String(expected), 0]]);
  for (const value of draws) counts.set(String(value), (counts.get(String(value)) ?? 0) + 1);
  const sorted = [...counts].sort((one, other) => other[1] - one[1]).slice(0, 6);
  const lines = sorted.map(([value, count]) => {
    const share = Math.round((100 * count) / draws.length);
    const meter = make("meter", { min: 0, max: 100, value: share, "aria-label": `${value}: ${share} %` });
    return make("div", { class: "share" }, make("span", {}, value), meter, make("span", {}, `${share} %`));
  });
  return make("div", { class: "shares" }, lines, make("p", { class: "hint" }, `likeliest: ${expected}`));
}

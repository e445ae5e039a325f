// A p-value on a dial, whose scale is logarithmic.

import { draw, make, number, verdict } from "./dom.js";

const LEAST = 1e-3;
const RADIUS = 50;

function point(p, radius) {
  const share = 1 - Math.log(Math.max(p, LEAST)) / Math.log(LEAST);
  const angle = Math.PI * (1 - share);
  return [60 + radius * Math.cos(angle), 60 - radius * Math.sin(angle)];
}

function arc(from, to, name) {
  const [[x1, y1], [x2, y2]] = [point(from, RADIUS), point(to, RADIUS)];
  return draw("path", { class: name, d: `M${x1} ${y1} A${RADIUS} ${RADIUS} 0 0 1 ${x2} ${y2}` });
}

export function dialOf(found) {
  const p = found.rows[0].p_value;
  const [x, y] = point(p, RADIUS - 8);
  const label = `p-value ${number(p, 3)}`;
  const dial = draw(
    "svg",
    { viewBox: "0 0 120 70", role: "img", "aria-label": label, class: "gauge" },
    arc(LEAST, 0.01, "worst"),
    arc(0.01, 0.1, "middling"),
    arc(0.1, 1, "fine"),
    draw("line", { x1: 60, y1: 60, x2: x, y2: y }),
  );
  return [dial, make("p", {}, verdict(found, "items"))];
}

// What is known of a model: its figures, its schema, how its training went, its card.

import { codeBox } from "./code.js";
import { draw, make, number } from "./dom.js";

export function show(content, model) {
  content.append(
    make("section", {}, make("h3", {}, "Figures"), pairs(model.figure_rows.map(({ label, text }) => [label, text]))),
    make("section", {}, make("h3", {}, "Training"), curves(model.history), make("p", {}, model.latent_units)),
  );
  const findings = Object.entries(model.findings);
  if (findings.length) content.append(make("section", {}, make("h3", {}, "Schema"), pairs(findings)));
  content.append(make("details", {}, make("summary", {}, "Model card"), make("pre", { tabindex: "0" }, model.card)));
  const code = codeBox();
  code.show([{ model: model.name }]);
  content.append(code);
}

function pairs(rows) {
  const lines = rows.map(([label, text]) => make("tr", {}, make("th", { scope: "row" }, label), make("td", {}, text)));
  return make("table", { class: "pairs" }, make("tbody", {}, lines));
}

const WIDTH = 600;
const HEIGHT = 200;
const LEFT = 60;
const BOTTOM = 24;

function curves(history) {
  const lines = [
    ["training", "negative_elbo"],
    ["held out", "validation_negative_elbo"],
  ].map(([label, name]) => [label, history.map((epoch) => epoch[name])]);
  const values = lines.flatMap(([, line]) => line).filter(Number.isFinite);
  if (!values.length) return make("p", {}, "There is no record of it.");
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (epoch) => LEFT + (epoch / Math.max(history.length - 1, 1)) * (WIDTH - LEFT - 8);
  const y = (value) => 8 + ((high - value) / (high - low || 1)) * (HEIGHT - BOTTOM - 16);
  const marks = [low, high].map((value) =>
    draw("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, number(value)),
  );
  const paths = lines.map(([, line], index) => {
    const points = line.map((value, epoch) => [epoch, value]).filter(([, value]) => Number.isFinite(value));
    return draw("polyline", { class: `line${index}`, points: points.map(([epoch, value]) => `${x(epoch)},${y(value)}`).join(" ") });
  });
  const label = `Negative ELBO in nats by epoch, from ${number(values[0])} to ${number(values.at(-1))}`;
  const axis = draw("text", { x: WIDTH - 8, y: HEIGHT - 4, "text-anchor": "end" }, `epoch ${history.length}`);
  return make(
    "figure",
    {},
    draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label, class: "chart" }, marks, paths, axis),
    make(
      "figcaption",
      {},
      "Negative ELBO, nats: ",
      lines.map(([name], index) => make("span", { class: `key line${index}` }, name)),
    ),
  );
}

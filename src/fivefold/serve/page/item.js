// One picture: drawn or dropped, parts of it erased and filled in, noise put on and removed, its surprise shown.

import { run } from "./api.js";
import { codeBox } from "./code.js";
import { dialOf } from "./dial.js";
import { button, choice, complain, dropping, field, make, newest } from "./dom.js";
import { Sketch } from "./sketch.js";
import { paint, paintHeat, scaleOf } from "./pixels.js";

const DRAWS = 3;
const PANELS = [
  ["impute", "Filled in"],
  ...Array.from({ length: DRAWS }, (_, index) => [`draw${index + 1}`, `Draw ${index + 1}`]),
  ["spread", "90 % interval, width"],
  ["denoise", "Noise removed"],
  ["surprise", "Surprise"],
];

export async function show(content, model) {
  const of = scaleOf(model.schema);
  const sketch = new Sketch(model.schema, () => renew());
  const dial = make("div", { class: "dial", "aria-live": "polite" });
  const panels = Object.fromEntries(PANELS.map(([name, title]) => [name, panel(title)]));
  const code = codeBox();
  let seed = 0;

  const renew = newest(async () => {
    const calls = callsFor(model, sketch);
    code.show(calls);
    const answers = await Promise.all(calls.map(run));
    const found = Object.fromEntries(calls.map(({ verb }, index) => [verb, answers[index]]));
    dial.replaceChildren(...dialOf(found.detect));
    const shows = (name, values, painter = (canvas) => paint(canvas, values[0], of)) => {
      panels[name].hidden = !values;
      if (values) painter(panels[name].canvas);
    };
    shows("impute", found.impute?.values);
    for (let draw = 1; draw <= DRAWS; draw++) shows(`draw${draw}`, found.impute?.[`draw${draw}`].values);
    const spread = found.impute && widths(found.impute.lower.values[0], found.impute.upper.values[0], of);
    shows("spread", spread, (canvas) => paintHeat(canvas, spread[0], 1));
    shows("denoise", found.denoise?.values);
    shows("surprise", found.surprise.values, (canvas) => paintHeat(canvas, found.surprise.values[0]));
  });

  async function another() {
    const answer = await run({ model: model.name, verb: "generate", query: { n: 1, seed: seed++, sharp: true } });
    sketch.put(answer.values[0]);
  }

  // The server reads the file: it knows more kinds than the browser, and the item is what a job would see.
  async function dropped(file) {
    try {
      const { height, width } = model.schema;
      const query = { resize: `${height}x${width}` };
      sketch.put((await run({ model: model.name, verb: "impute", query, file })).values[0]);
    } catch (error) {
      complain(error);
    }
  }

  content.append(
    make("p", { class: "hint" }, "Draw on the picture, or erase a part and see what may have been there."),
    make(
      "div",
      { class: "studio" },
      make("div", {}, sketch.element, toolsOf(sketch, () => another().catch(complain))),
      make("div", {}, dial, make("div", { class: "grid" }, Object.values(panels))),
    ),
    dropping("Or drop a picture here", dropped),
    code,
  );
  await another();
}

function callsFor(model, sketch) {
  const call = { model: model.name, values: [sketch.values], dtype: sketch.hasHoles ? null : model.schema.dtype };
  const calls = [
    { ...call, verb: "detect" },
    { ...call, verb: "surprise" },
  ];
  if (sketch.hasHoles) calls.push({ ...call, verb: "impute", query: { draws: DRAWS, interval: 0.9 } });
  if (sketch.noise > 0) calls.push({ ...call, verb: "denoise" });
  return calls;
}

function widths(lower, upper, of) {
  return [lower.map((row, y) => row.map((pixel, x) => pixel.map((low, channel) => of(upper[y][x][channel]) - of(low))))];
}

function panel(title) {
  const canvas = make("canvas", { class: "pixels", role: "img", "aria-label": title });
  const figure = make("figure", { hidden: true }, canvas, make("figcaption", {}, title));
  figure.canvas = canvas;
  return figure;
}

function toolsOf(sketch, another) {
  const tool = choice([["draw", "Draw"], ["erase", "Erase"]], "erase", (value) => (sketch.tool = value));
  const size = choice([["1", "fine"], ["2", "middle"], ["4", "broad"]], "2", (value) => (sketch.size = Number(value)));
  const colour = make("input", { type: "color", value: "#ffffff", oninput: () => (sketch.colour = colour.value) });
  const noise = make("input", { type: "range", min: 0, max: 1, step: 0.02, value: 0, oninput: () => sketch.disturb(Number(noise.value)) });
  const buttons = [
    button("Another item", another, { class: "main" }),
    button("Erase nothing", () => sketch.restore()),
    button("Blank", () => sketch.blank()),
  ];
  return [
    make("div", { class: "bar" }, field("Tool", tool), field("Brush", size), field("Colour", colour)),
    make("div", { class: "bar" }, field("Noise", noise), buttons),
  ];
}

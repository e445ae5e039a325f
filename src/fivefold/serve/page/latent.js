// A plane through latent space: two latent numbers by pointer or keys, and the item that they decode to.

import { run } from "./api.js";
import { codeBox } from "./code.js";
import { button, choice, complain, dropping, field, make, newest, number } from "./dom.js";
import { paint, scaleOf, shape } from "./pixels.js";

const SIDE = 480; // pixels of the plane
const REACH = 3; // latent numbers from −3 to 3
const TILES = 9; // decoded items in each direction
const STEP = 0.1;

export async function show(content, model) {
  const of = scaleOf(model.schema);
  const label = "Latent plane: drag, or move with the arrow keys";
  const plane = make("canvas", { class: "plane", width: SIDE, height: SIDE, tabindex: "0", role: "application", "aria-label": label });
  const item = make("canvas", { class: "sketch", role: "img", "aria-label": "The decoded item" });
  shape(item, model.schema);
  const about = make("p", { class: "hint" });
  const code = codeBox();
  const tiles = make("canvas", { width: SIDE, height: SIDE });
  const z = new Array(model.latent_dim).fill(0);
  const rate = new Rate();
  let seed = 0;

  const dims = unitsOf(model);
  const axes = [dims[0][0], (dims[1] ?? dims[0])[0]].map(Number);
  const selects = axes.map((axis, index) => choice(dims, String(axis), (value) => ((axes[index] = Number(value)), everything())));

  const decode = newest(async () => {
    const call = { model: model.name, verb: "decode", values: [z.map((value) => Number(value.toFixed(3)))] };
    code.show([call]);
    paint(item, (await run(call)).values[0], of);
    about.textContent = `unit ${axes[0]}: ${number(z[axes[0]], 3)}, unit ${axes[1]}: ${number(z[axes[1]], 3)}${rate.text()}`;
    mark();
  });

  const tile = newest(async () => {
    const places = Array.from({ length: TILES }, (_, index) => (2 * REACH * (index + 0.5)) / TILES - REACH);
    const codes = places.flatMap((up) => places.map((right) => moved(z, axes, right, -up)));
    const { values } = await run({ model: model.name, verb: "decode", values: codes });
    const context = tiles.getContext("2d");
    const one = make("canvas");
    const side = SIDE / TILES;
    context.imageSmoothingEnabled = false;
    values.forEach((picture, index) => {
      paint(one, picture, of);
      context.drawImage(one, (index % TILES) * side, Math.floor(index / TILES) * side, side, side);
    });
    mark();
  });

  function mark() {
    const context = plane.getContext("2d");
    const [x, y] = [(z[axes[0]] / REACH + 1) / 2, (1 - z[axes[1]] / REACH) / 2].map((share) => share * SIDE);
    const side = (1.6 * SIDE) / TILES;
    context.globalAlpha = 0.6;
    context.clearRect(0, 0, SIDE, SIDE);
    context.drawImage(tiles, 0, 0);
    context.globalAlpha = 1;
    context.imageSmoothingEnabled = false;
    context.drawImage(item, x - side / 2, y - side / 2, side, side);
    context.strokeStyle = "#e2562d";
    context.lineWidth = 3;
    context.strokeRect(x - side / 2, y - side / 2, side, side);
  }

  function everything() {
    tile();
    return decode();
  }

  function start(codes) {
    codes.forEach((value, index) => (z[index] = value));
    return everything();
  }

  // Where the items are: codes of one that is drawn.
  async function another() {
    const drawn = await run({ model: model.name, verb: "generate", query: { n: 1, seed: seed++ } });
    return start((await run({ model: model.name, verb: "encode", values: drawn.values })).mean.values[0]);
  }

  async function dropped(file) {
    try {
      const query = { resize: `${model.schema.height}x${model.schema.width}` };
      await start((await run({ model: model.name, verb: "encode", query, file })).mean.values[0]);
    } catch (error) {
      complain(error);
    }
  }

  listen(plane, (right, up) => {
    z[axes[0]] = clamp(right ?? z[axes[0]]);
    z[axes[1]] = clamp(up ?? z[axes[1]]);
    decode();
  }, () => [z[axes[0]], z[axes[1]]]);
  content.append(
    make("p", { class: "hint" }, "Drag through the plane: the item under the pointer is decoded as you go. The units that say most come first."),
    make("div", { class: "bar" }, field("To the right", selects[0]), field("Upwards", selects[1]),
      button("Zero", () => start(z.map(() => 0))), button("Another item", () => another().catch(complain), { class: "main" })),
    make("div", { class: "studio" }, plane, make("div", {}, item, about)),
    dropping("Or start from a picture: drop it here", dropped),
    code,
  );
  await another();
}

function unitsOf(model) {
  const kl = model.figures.held_out?.kl_per_unit ?? [];
  const units = Array.from({ length: model.latent_dim }, (_, index) => index);
  units.sort((one, other) => (kl[other] ?? 0) - (kl[one] ?? 0));
  return units.map((unit) => [String(unit), `unit ${unit}${kl[unit] === undefined ? "" : ` (${number(kl[unit], 2)} nats)`}`]);
}

function moved(z, axes, right, up) {
  const codes = [...z];
  codes[axes[0]] = right;
  codes[axes[1]] = up;
  return codes;
}

function clamp(value) {
  return Math.min(Math.max(value, -REACH), REACH);
}

function listen(plane, move, where) {
  const at = (event) => {
    const box = plane.getBoundingClientRect();
    move(((event.clientX - box.left) / box.width) * 2 * REACH - REACH, REACH - ((event.clientY - box.top) / box.height) * 2 * REACH);
  };
  plane.addEventListener("pointerdown", (event) => {
    plane.setPointerCapture(event.pointerId);
    at(event);
  });
  plane.addEventListener("pointermove", (event) => event.buttons && at(event));
  plane.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: [STEP, 0], ArrowLeft: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const [right, up] = where();
    move(right + step[0], up + step[1]);
  });
}

// How many items are decoded a second while the pointer moves.
class Rate {
  constructor() {
    this.times = [];
  }

  text() {
    const now = performance.now();
    this.times = [...this.times.filter((time) => now - time < 1000), now];
    return this.times.length > 5 ? ` – ${this.times.length} items a second` : "";
  }
}

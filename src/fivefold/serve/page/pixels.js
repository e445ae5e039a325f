// Images as nested lists of numbers, on canvases.

import { make } from "./dom.js";

// An image `values[row][column][channel]` on a canvas; `of(value)` makes 0–1 of a value.
export function paint(canvas, values, of) {
  const [height, width] = [values.length, values[0].length];
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const pixel = values[row][column];
      const colour = pixel.length >= 3 ? pixel : [pixel[0], pixel[0], pixel[0]];
      image.data.set([...[0, 1, 2].map((channel) => 255 * of(colour[channel])), 255], 4 * (row * width + column));
    }
  }
  context.putImageData(image, 0, 0);
}

const FULL = 10; // the surprise that has the brightest colour
const HEAT = [
  [24, 28, 44],
  [190, 60, 30],
  [255, 235, 160],
];

// Numbers of which 0 is usual, as colours from dark to bright.
export function paintHeat(canvas, values, full = FULL) {
  const parts = values.map((row) => row.map((pixel) => hot(Math.max(...pixel) / full)));
  paint(canvas, parts, (value) => value);
}

function hot(share) {
  const place = Math.min(Math.max(share, 0), 1) * (HEAT.length - 1);
  const index = Math.min(Math.floor(place), HEAT.length - 2);
  const mix = place - index;
  return HEAT[index].map((value, channel) => (value * (1 - mix) + HEAT[index + 1][channel] * mix) / 255);
}

// What makes 0–1 of the values of a model's items.
export function scaleOf(schema) {
  return (value) => (value === null ? 0.5 : (value - schema.low) / (schema.high - schema.low || 1));
}

// Gives a canvas the shape of an item, as large as there is room.
export function shape(canvas, { height, width }) {
  canvas.style.aspectRatio = `${width} / ${height}`;
  canvas.style.width = `min(100%, ${24 * Math.min(1, width / height)}rem)`;
}

// Canvases of the first items of an array, of which those that are no values of the model's items are heat maps.
export function gridOf(array, schema, most) {
  const canvases = array.values.slice(0, most).map((values, index) => {
    const canvas = make("canvas", { class: "pixels", role: "img", "aria-label": `Item ${index}` });
    if (array.dtype === schema.dtype) paint(canvas, values, scaleOf(schema));
    else paintHeat(canvas, values);
    return canvas;
  });
  return make("div", { class: "grid" }, canvases);
}

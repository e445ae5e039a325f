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

// What makes 0–1 of the values of a model's items.
export function scaleOf(schema) {
  return (value) => (value === null ? 0.5 : (value - schema.low) / (schema.high - schema.low || 1));
}

export function gridOf(array, schema, most) {
  const of = array.dtype === schema.dtype ? scaleOf(schema) : (value) => Math.min(Math.max(value / 6, 0), 1);
  const canvases = array.values.slice(0, most).map((values, index) => {
    const canvas = make("canvas", { class: "pixels", role: "img", "aria-label": `Item ${index}` });
    paint(canvas, values, of);
    return canvas;
  });
  return make("div", { class: "grid" }, canvases);
}

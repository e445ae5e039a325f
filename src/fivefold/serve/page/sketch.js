// A picture that is drawn on with pointer or keys: its numbers, the noise on them, and which are erased.

import { make } from "./dom.js";
import { paint, scaleOf, shape } from "./pixels.js";

export class Sketch {
  constructor(schema, onchange) {
    const { height, width, channels } = schema;
    Object.assign(this, { schema, onchange, tool: "erase", size: 2, colour: "#ffffff", noise: 0 });
    this.clean = filled(height, width, () => new Array(channels).fill(schema.low));
    this.erased = filled(height, width, () => false);
    this.grain = filled(height, width, () => Array.from({ length: channels }, normal));
    this.cursor = [Math.floor(height / 2), Math.floor(width / 2)];
    const label = "The picture: draw or erase with the pointer, or move with the arrow keys and press space";
    this.canvas = make("canvas", { class: "sketch", tabindex: "0", role: "application", "aria-label": label });
    this.element = this.canvas;
    shape(this.canvas, this.schema);
    this.listen();
  }

  // What jobs get: null where it is erased.
  get values() {
    const { low, high, dtype } = this.schema;
    const isWhole = /int/.test(dtype);
    const disturbed = (value, grain) => {
      const noisy = Math.min(Math.max(value + this.noise * (high - low) * grain, low), high);
      return isWhole ? Math.round(noisy) : noisy;
    };
    return this.clean.map((row, y) =>
      row.map((pixel, x) => pixel.map((value, channel) => (this.erased[y][x] ? null : disturbed(value, this.grain[y][x][channel])))),
    );
  }

  get hasHoles() {
    return this.erased.some((row) => row.includes(true));
  }

  put(values) {
    this.clean = values;
    this.restore();
  }

  blank() {
    this.put(this.clean.map((row) => row.map((pixel) => pixel.map(() => this.schema.low))));
  }

  restore() {
    for (const row of this.erased) row.fill(false);
    this.changed();
  }

  disturb(noise) {
    this.noise = noise;
    this.changed();
  }

  changed() {
    this.show();
    this.onchange();
  }

  show() {
    paint(this.canvas, this.values, scaleOf(this.schema));
    const context = this.canvas.getContext("2d");
    context.fillStyle = "#2f7fd6";
    this.erased.forEach((row, y) => row.forEach((isErased, x) => isErased && (x + y) % 2 && context.fillRect(x, y, 1, 1)));
    if (document.activeElement === this.canvas && this.byKeys) {
      context.fillStyle = "#e2562d";
      context.fillRect(this.cursor[1], this.cursor[0], 1, 1);
    }
  }

  touch(y, x) {
    const radius = this.size / 2;
    const reach = Math.ceil(radius);
    for (let row = Math.max(0, y - reach); row <= Math.min(this.schema.height - 1, y + reach); row++) {
      for (let column = Math.max(0, x - reach); column <= Math.min(this.schema.width - 1, x + reach); column++) {
        if (Math.hypot(row - y, column - x) > radius) continue;
        this.erased[row][column] = this.tool === "erase";
        if (this.tool === "draw") this.clean[row][column] = this.ink();
      }
    }
    this.changed();
  }

  ink() {
    const parts = [1, 3, 5].map((start) => parseInt(this.colour.slice(start, start + 2), 16) / 255);
    const { low, high, channels, dtype } = this.schema;
    const shares = channels >= 3 ? parts : [(parts[0] + parts[1] + parts[2]) / 3];
    const value = (share) => low + share * (high - low);
    return Array.from({ length: channels }, (_, index) => (/int/.test(dtype) ? Math.round(value(shares[index] ?? 1)) : value(shares[index] ?? 1)));
  }

  listen() {
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      const place = (share, count) => Math.min(Math.max(Math.floor(share * count), 0), count - 1);
      this.touch(place((event.clientY - box.top) / box.height, this.schema.height), place((event.clientX - box.left) / box.width, this.schema.width));
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.byKeys = false;
      at(event);
    });
    this.canvas.addEventListener("pointermove", (event) => event.buttons && at(event));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("blur", () => this.show());
  }

  key(event) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const move = moves[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    this.byKeys = true;
    if (!move) {
      this.touch(...this.cursor);
      return;
    }
    const limits = [this.schema.height, this.schema.width];
    this.cursor = this.cursor.map((place, axis) => Math.min(Math.max(place + move[axis], 0), limits[axis] - 1));
    this.show();
  }
}

function filled(height, width, cell) {
  return Array.from({ length: height }, () => Array.from({ length: width }, cell));
}

function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

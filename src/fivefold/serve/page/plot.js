// A line on a canvas with its bands, gaps, events and continuations; what is shown of it is moved by pointer and keys.

import { make, number } from "./dom.js";
import { quantiles } from "./lines.js";

const HEIGHT = 190;
const LEFT = 56;
const BOTTOM = 22;
const TOP = 8;
const SHARES = [0.05, 0.25, 0.5, 0.75, 0.95];
const SPREADS = 1.645; // standard deviations to either side that hold 90 %

export class Plot {
  // `view` is `{from, to}` in steps, shared by plots; `onview(from, to)` asks for another.
  constructor(name, channel, fan, steps, events, view, onview) {
    Object.assign(this, { name, channel, steps, events, view, onview, fan: quantiles(fan, SHARES) });
    const label = `${name}: drag or turn the wheel to zoom, arrow keys to move, + and − to zoom, 0 for all`;
    this.canvas = make("canvas", { class: "plot", tabindex: "0", role: "application", "aria-label": label });
    this.element = make("figure", {}, make("figcaption", {}, name), this.canvas);
    this.listen();
  }

  show() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth;
    Object.assign(this.canvas, { width: this.width * ratio, height: HEIGHT * ratio });
    this.context = this.canvas.getContext("2d");
    this.context.scale(ratio, ratio);
    this.colours = coloursOf(this.canvas);
    this.scale();
    this.drawAxes();
    this.context.save();
    this.context.beginPath();
    this.context.rect(LEFT, 0, this.width - LEFT, HEIGHT - BOTTOM);
    this.context.clip();
    this.drawEvents();
    this.drawBands();
    this.drawLine(this.channel.value, () => true, this.colours.accent, 1.5);
    this.drawLine(this.channel.value, (step) => this.isFilled(step), this.colours.second, 2.5);
    this.drawFan();
    this.drawBrush();
    this.context.restore();
  }

  isFilled(step) {
    return this.channel.lower[step] !== this.channel.upper[step];
  }

  x(step) {
    const { from, to } = this.view;
    return LEFT + ((step - from) / (to - from || 1)) * (this.width - LEFT - 4);
  }

  y(value) {
    return TOP + ((this.high - value) / (this.high - this.low || 1)) * (HEIGHT - TOP - BOTTOM);
  }

  // The steps that are seen of `count`.
  seen(count) {
    return [Math.max(0, Math.floor(this.view.from)), Math.min(count, Math.ceil(this.view.to) + 1)];
  }

  scale() {
    this.low = Infinity;
    this.high = -Infinity;
    const widen = (value) => {
      if (!Number.isFinite(value)) return;
      this.low = Math.min(this.low, value);
      this.high = Math.max(this.high, value);
    };
    const { value, lower, upper } = this.channel;
    const [first, last] = this.seen(value.length);
    for (let step = first; step < last; step++) [value[step], lower[step], upper[step]].forEach(widen);
    if (this.view.to > value.length) this.fan.forEach((shares) => shares.forEach(widen));
  }

  drawAxes() {
    const { context, colours } = this;
    context.fillStyle = colours.soft;
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "right";
    if (Number.isFinite(this.low)) for (const value of [this.low, this.high]) context.fillText(number(value, 3), LEFT - 6, this.y(value) + 4);
    const [first, last] = this.seen(this.steps.length);
    context.fillText(this.steps[last - 1] ?? "", Math.max(this.x(last - 1), this.width / 2 + 10), HEIGHT - 6);
    context.textAlign = "left";
    if (this.width > 500) context.fillText(this.steps[first] ?? "", LEFT, HEIGHT - 6);
  }

  drawEvents() {
    this.context.fillStyle = this.colours.strange;
    this.context.globalAlpha = 0.3;
    for (const { first, last } of this.events) {
      const left = this.x(first - 0.5);
      this.context.fillRect(left, 0, Math.max(this.x(last + 0.5) - left, 2), HEIGHT);
    }
    this.context.globalAlpha = 1;
  }

  drawBands() {
    const { smooth, std, lower, upper } = this.channel;
    const around = (sign) => (step) => smooth[step] + sign * SPREADS * std[step];
    this.drawBand(smooth.length, around(-1), around(1), this.colours.accent, () => true);
    this.drawBand(lower.length, (step) => lower[step], (step) => upper[step], this.colours.second, (step) => this.isFilled(step));
  }

  // The area between two lines, in pieces where steps are in; a piece of one step is half a step wide to either side.
  drawBand(count, below, above, colour, isIn) {
    const { context } = this;
    const [first, last] = this.seen(count);
    const stride = Math.max(1, Math.floor((last - first) / this.width));
    context.fillStyle = colour;
    context.globalAlpha = 0.22;
    let piece = [];
    const close = () => {
      if (!piece.length) return;
      const places = piece.length > 1 ? piece.map((step) => [step, step]) : [[piece[0], piece[0] - 0.5], [piece[0], piece[0] + 0.5]];
      context.beginPath();
      for (const [step, at] of places) context.lineTo(this.x(at), this.y(above(step)));
      for (const [step, at] of places.reverse()) context.lineTo(this.x(at), this.y(below(step)));
      context.fill();
      piece = [];
    };
    for (let step = first; step < last; step += stride) {
      if (isIn(step) && Number.isFinite(below(step))) piece.push(step);
      else close();
    }
    close();
    context.globalAlpha = 1;
  }

  // The line through steps that are in; of many per pixel the lowest and the highest.
  drawLine(values, isIn, colour, width) {
    const { context } = this;
    const [first, last] = this.seen(values.length);
    const stride = Math.max(1, Math.floor((last - first) / this.width));
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    let isDown = false;
    for (let start = first; start < last; start += stride) {
      const part = [];
      for (let step = start; step < Math.min(start + stride, last); step++) if (isIn(step) && Number.isFinite(values[step])) part.push(values[step]);
      if (!part.length) {
        isDown = false;
        continue;
      }
      const ends = stride === 1 ? part : [Math.min(...part), Math.max(...part)];
      if (!isDown) context.moveTo(this.x(start) - 0.5, this.y(ends[0]));
      for (const value of ends) context.lineTo(this.x(start) + 0.5, this.y(value));
      isDown = true;
    }
    context.stroke();
  }

  drawFan() {
    const start = this.channel.value.length;
    const { context } = this;
    for (const [below, above] of [[0, 4], [1, 3]]) {
      context.fillStyle = this.colours.calm;
      context.globalAlpha = 0.25;
      context.beginPath();
      this.fan.forEach((shares, step) => context.lineTo(this.x(start + step), this.y(shares[above])));
      for (let step = this.fan.length - 1; step >= 0; step--) context.lineTo(this.x(start + step), this.y(this.fan[step][below]));
      context.fill();
    }
    context.globalAlpha = 1;
    context.strokeStyle = this.colours.calm;
    context.lineWidth = 1.5;
    context.beginPath();
    this.fan.forEach((shares, step) => context.lineTo(this.x(start + step), this.y(shares[2])));
    context.stroke();
  }

  drawBrush() {
    if (!this.brush) return;
    this.context.fillStyle = this.colours.soft;
    this.context.globalAlpha = 0.25;
    this.context.fillRect(Math.min(...this.brush), 0, Math.abs(this.brush[1] - this.brush[0]), HEIGHT);
    this.context.globalAlpha = 1;
  }

  listen() {
    const step = (x) => this.view.from + ((x - LEFT) / (this.width - LEFT - 4)) * (this.view.to - this.view.from);
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.brush = [event.offsetX, event.offsetX];
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.brush) return;
      this.brush[1] = event.offsetX;
      this.show();
    });
    this.canvas.addEventListener("pointerup", () => {
      const [left, right] = [Math.min(...this.brush), Math.max(...this.brush)];
      this.brush = null;
      if (right - left > 6) this.onview(step(left), step(right));
      else this.show();
    });
    const turned = (event) => {
      event.preventDefault();
      const factor = 2 ** (Math.sign(event.deltaY) / 2);
      const at = step(event.offsetX);
      this.onview(at - (at - this.view.from) * factor, at + (this.view.to - at) * factor);
    };
    this.canvas.addEventListener("wheel", turned, { passive: false });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const { from, to } = this.view;
    const size = to - from;
    const views = {
      ArrowLeft: [from - size / 5, to - size / 5],
      ArrowRight: [from + size / 5, to + size / 5],
      "+": [from + size / 4, to - size / 4],
      "-": [from - size / 2, to + size / 2],
      0: [-Infinity, Infinity],
    };
    if (!views[event.key]) return;
    event.preventDefault();
    this.onview(...views[event.key]);
  }
}

function coloursOf(element) {
  const style = getComputedStyle(element);
  return Object.fromEntries(["accent", "second", "strange", "calm", "soft"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

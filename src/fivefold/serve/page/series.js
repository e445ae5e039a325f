// Series: the line with its bands, gaps filled, events to jump to, and how it may go on.

import { run } from "./api.js";
import { codeBox } from "./code.js";
import { button, choice, complain, dropping, field, make, number, say } from "./dom.js";
import { seriesOf } from "./lines.js";
import { Plot } from "./plot.js";

const DRAWS = 30;
const LEAST = 8; // steps that are shown at least

export function show(content, model) {
  const results = make("div");
  const code = codeBox();
  const steps = make("input", { type: "number", min: 1, max: 1000, value: model.schema.steps });
  let file = null;

  async function work() {
    if (!file) return;
    say("Working …");
    const call = (verb, query, part) => ({ model: model.name, verb, query, file, part });
    const calls = [
      call("impute", { interval: 0.9 }),
      call("denoise", { std: true }),
      call("detect", {}),
      call("generate", { n: DRAWS, steps: Number(steps.value) }, "after"),
    ];
    code.show(calls);
    try {
      const answers = await Promise.all(calls.map(run));
      const found = Object.fromEntries(calls.map(({ verb }, index) => [verb, answers[index]]));
      results.replaceChildren(make("p", {}, summaryOf(found)));
      new Lines(results, seriesOf(model, found), found.detect.events?.rows ?? [], model.schema);
      say("Done.");
    } catch (error) {
      results.replaceChildren();
      complain(error);
    }
  }

  steps.addEventListener("change", work);
  const drop = dropping("Drop series here, or choose a file", (given) => {
    file = given;
    work();
  });
  content.append(drop, make("div", { class: "bar" }, field("Steps to go on", steps)), results, code);
}

function summaryOf({ impute, detect }) {
  const { steps, anomalies, events } = detect.figures;
  return `${steps} steps, ${impute.figures.missing} values missing and filled in (second colour, 90 % intervals), ${anomalies} strange steps in ${events} events; `
    + `the shade has 90 % of what the line may be without noise, the fan after it 50 % and 90 % of ${DRAWS} continuations.`;
}

class Lines {
  constructor(place, series, events, schema) {
    Object.assign(this, { place, series, events, schema });
    this.area = make("div");
    const which = choice(series.map(({ key }, index) => [String(index), key || "the series"]), "0", (index) => this.open(Number(index)));
    const zoom = (factor) => () => this.zoom(factor);
    const bar = make(
      "div",
      { class: "bar" },
      series.length > 1 ? field("Series", which) : null,
      button("Zoom in", zoom(0.5)),
      button("Zoom out", zoom(2)),
      button("All", () => this.look(-Infinity, Infinity)),
    );
    place.append(bar, this.area);
    this.open(0);
    new ResizeObserver(() => this.show()).observe(this.area);
  }

  open(index) {
    const one = this.series[index];
    this.end = one.steps.length + Math.max(0, ...Object.values(one.fan).map((draws) => draws[0]?.length ?? 0));
    this.view = { from: 0, to: this.end };
    const events = this.eventsOf(one);
    this.plots = Object.entries(one.channels).map(
      ([name, channel]) => new Plot(name, channel, one.fan[name], one.steps, events, this.view, (from, to) => this.look(from, to)),
    );
    this.area.replaceChildren(...this.plots.map(({ element }) => element), make("h3", {}, "Events"), this.listOf(events));
    this.show();
  }

  eventsOf({ key, steps }) {
    const places = new Map(steps.map((label, step) => [label, step]));
    const { ids } = this.schema;
    const name = ids ?? "series";
    return this.events
      .filter((event) => event[name] === undefined || key === "" || String(event[name]) === key)
      .map((event) => ({ ...event, first: places.get(String(event.start)), last: places.get(String(event.end)) }))
      .filter(({ first, last }) => first !== undefined && last !== undefined);
  }

  listOf(events) {
    if (!events.length) return make("p", {}, "There are none.");
    const lines = events.map(({ start, first, last, steps, p_value: p, change }) =>
      make(
        "tr",
        {},
        make("td", {}, button(String(start), () => this.jump(first, last), { "aria-label": `Look at the event from ${start}` })),
        ...[steps, number(p, 3), change ?? ""].map((text) => make("td", {}, text)),
      ),
    );
    const head = ["from", "steps", "p-value", "change"].map((name) => make("th", { scope: "col" }, name));
    const table = make("table", {}, make("thead", {}, make("tr", {}, head)), make("tbody", {}, lines));
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Events" }, table);
  }

  jump(first, last) {
    const room = Math.max(this.schema.steps / 2, last - first);
    this.look(first - room, last + room);
    this.plots[0].element.scrollIntoView({ block: "nearest" });
  }

  zoom(factor) {
    const middle = (this.view.from + this.view.to) / 2;
    const half = ((this.view.to - this.view.from) * factor) / 2;
    this.look(middle - half, middle + half);
  }

  look(from, to) {
    const size = Math.min(Math.max(to - from, LEAST), this.end);
    this.view.from = Math.min(Math.max(from, 0), this.end - size);
    this.view.to = this.view.from + size;
    this.show();
  }

  show() {
    for (const plot of this.plots) plot.show();
  }
}

// One row as a form: each change shows at once how strange it is, each cell that is cleared how it may be.

import { run } from "./api.js";
import { codeBox } from "./code.js";
import { distribution } from "./distribution.js";
import { button, choice, complain, field, make, newest, number, verdict } from "./dom.js";

const COPIES = 200; // of a row with missing cells, of which each is drawn once
const DAY = 86_400_000_000; // µs
const STRANGE = 3; // spreads above what is expected

let handed = null; // a row that another view gives

export function handOver(row) {
  handed = row;
}

export async function show(content, model) {
  const cells = model.schema.columns.map((column) => new Cell(column, () => renew()));
  const verdict = make("div", { class: "verdict", "aria-live": "polite" });
  const code = codeBox();
  let seed = 0;

  const renew = newest(async () => {
    const row = Object.fromEntries(cells.map((cell) => [cell.name, cell.value]));
    const missing = cells.filter((cell) => cell.value === null);
    const detect = { model: model.name, verb: "detect", rows: [row] };
    const surprise = { ...detect, verb: "surprise" };
    const impute = { ...detect, verb: "impute", query: { draws: 1, interval: 0.9 }, copies: COPIES };
    const calls = missing.length === cells.length ? [impute] : [detect, surprise, ...(missing.length ? [impute] : [])];
    code.show(calls);
    const answers = await Promise.all(calls.map(run));
    const found = Object.fromEntries(calls.map(({ verb }, index) => [verb, answers[index]]));
    verdict.replaceChildren(...(found.detect ? judged(found.detect) : ["A row of nothing is not strange."]));
    for (const cell of cells) cell.tell(found.surprise?.rows[0][cell.name] ?? null, missing.includes(cell) ? found.impute : null);
  });

  async function another() {
    const answer = await run({ model: model.name, verb: "generate", query: { n: 1, seed: seed++, complete: true } });
    fill(answer.rows[0]);
  }

  function fill(row) {
    for (const cell of cells) cell.value = row[cell.name] ?? null;
    return renew();
  }

  const bar = make(
    "div",
    { class: "bar" },
    button("Another row", () => another().catch(complain), { class: "main" }),
    button("Clear all", () => fill({})),
    verdict,
  );
  content.append(
    make("p", { class: "hint" }, "Change a cell to see how strange that is; clear one to see what it may have been."),
    bar,
    make("div", { class: "cells" }, cells.map((cell) => cell.element)),
    code,
  );
  const row = handed;
  handed = null;
  await (row ? fill(row) : another());
}

function judged(found) {
  const { p_value: p, score } = found.rows[0];
  return [
    ...verdict(found, `rows, score ${number(score, 3)}`),
    make("meter", { min: 0, max: 1, low: 0.05, value: p, "aria-label": "p-value" }),
  ];
}

class Cell {
  constructor(column, onchange) {
    this.column = column;
    this.name = column.name;
    this.control = controlOf(column, onchange);
    this.about = make("div", { class: "about" });
    const clear = button("Clear", () => ((this.value = null), onchange()), { "aria-label": `Clear ${column.name}` });
    const box = field(column.name, this.control);
    this.element = make("section", { class: "cell" }, make("div", { class: "entry" }, box, clear), this.about);
  }

  get value() {
    const text = this.control.value;
    if (text === "") return null;
    const { kind, dtype } = this.column;
    if (kind === "boolean") return text === "true";
    if (kind === "datetime") return this.control.type === "date" && !dtype.startsWith("date") ? `${text}T00:00:00` : text;
    return kind === "category" && dtype === "string" ? text : Number.isFinite(Number(text)) ? Number(text) : text;
  }

  set value(value) {
    const text = value === null ? "" : String(value);
    this.control.value = this.control.type === "date" ? text.slice(0, 10) : text;
  }

  // Shows how strange the cell is, or if it was missing how it may be.
  tell(surprise, imputed) {
    this.element.classList.toggle("strange", surprise !== null && surprise > STRANGE);
    if (imputed) {
      const of = (answer) => answer.rows[0][this.name];
      const draws = imputed.draw1.rows.map((row) => row[this.name]);
      this.about.replaceChildren(distribution(this.name, draws, of(imputed), of(imputed.lower), of(imputed.upper)));
    } else if (surprise === null) this.about.replaceChildren();
    else this.about.replaceChildren(...surpriseBar(this.name, surprise));
  }
}

function surpriseBar(name, surprise) {
  const label = `surprise of ${name}`;
  const meter = make("meter", { min: -1, max: 10, high: STRANGE, optimum: -1, value: surprise, "aria-label": label });
  return [meter, make("span", {}, ` surprise ${number(surprise, 2)}`)];
}

function controlOf(column, onchange) {
  const { kind, dtype, step } = column;
  if (kind === "category" || kind === "boolean") {
    const values = kind === "boolean" ? ["true", "false"] : column.categories.map(String);
    return choice([["", "– missing –"], ...values.map((value) => [value, value])], "", onchange);
  }
  const attributes = { oninput: onchange, placeholder: "missing", autocomplete: "off" };
  if (kind === "datetime") {
    const isPlain = !dtype.includes("tz=") && /^(timestamp|date)/.test(dtype);
    const type = !isPlain ? "text" : dtype.startsWith("date") || step % DAY === 0 ? "date" : "datetime-local";
    return make("input", { ...attributes, type, step: type === "datetime-local" ? "any" : null });
  }
  return make("input", { ...attributes, type: "number", step: kind === "integer" ? 1 : "any" });
}

// A file goes in, or nothing where new items are made, a job is done, results come out: to look at, and to download.

import { run, save } from "./api.js";
import { codeBox } from "./code.js";
import { button, choice, complain, dropping, field, make, number, say } from "./dom.js";
import { gridOf } from "./pixels.js";

const JOBS = [
  ["detect", "Find anomalies"],
  ["impute", "Fill in what is missing"],
  ["denoise", "Remove noise"],
  ["surprise", "How strange each part is"],
  ["generate", "Make new ones"],
  ["morph", "Go from one to another"],
  ["encode", "Compress to latent numbers"],
  ["decode", "Make items of latent numbers"],
  ["compress", "Pack into an archive"],
  ["decompress", "Unpack an archive"],
];
const NUMBERS = {
  generate: [["n", "How many", 16], ["seed", "Seed", 0]],
  morph: [["from", "From number", 0], ["to", "To number", 1], ["steps", "Steps", 12]],
};
const MOST_ROWS = 100;
const MOST_PICTURES = 24;

export function show(content, model) {
  const state = { file: null };
  const job = choice(JOBS, "detect");
  const results = make("div", { class: "results" });
  const code = codeBox();
  const start = button("Do it", () => work(), { disabled: true, class: "main" });
  const fetchIt = button("Download the results", () => download(), { disabled: true });
  const numbers = make("div", { class: "bar" });
  const given = () => Object.fromEntries([...numbers.querySelectorAll("input")].map(({ name, value }) => [name, Number(value)]));
  const call = () => {
    if (job.value !== "generate") return { model: model.name, verb: job.value, file: state.file, query: given() };
    const sharp = model.modality === "images" ? { sharp: true } : {};
    return { model: model.name, verb: "generate", query: { ...given(), ...sharp } };
  };

  async function work() {
    say("Working …");
    results.replaceChildren();
    code.show([job.value === "compress" ? { ...call(), accept: "application/octet-stream" } : call()]);
    try {
      if (job.value === "compress") results.append(make("p", {}, "An archive is to be downloaded."));
      else results.append(...shown(await run(call()), model));
      fetchIt.disabled = false;
      say("Done.");
    } catch (error) {
      complain(error);
    }
  }

  async function download() {
    try {
      await save(call());
    } catch (error) {
      complain(error);
    }
  }

  function chosen() {
    const controls = (NUMBERS[job.value] ?? []).map(([name, label, value]) => field(label, make("input", { type: "number", name, min: 0, value })));
    numbers.replaceChildren(...controls);
    start.disabled = !state.file && job.value !== "generate";
    fetchIt.disabled = true;
  }

  job.addEventListener("change", chosen);
  const drop = dropping("Drop a file here, or choose one", (file) => {
    state.file = file;
    chosen();
    say(file.name);
  });
  content.append(drop, make("div", { class: "bar" }, field("Job", job), numbers, start, fetchIt), results, code);
}

function shown(answer, model) {
  const parts = [figuresOf(answer.figures)];
  if (answer.rows) parts.push(tableOf(answer.rows));
  if (answer.events) parts.push(make("h3", {}, "Events"), tableOf(answer.events.rows));
  const array = answer.mean ?? answer;
  if (array.values) parts.push(model.modality === "images" && array.shape.length === 4 ? gridOf(array, model.schema, MOST_PICTURES) : numbersOf(array));
  return parts;
}

function figuresOf(figures) {
  const entries = Object.entries(figures).filter(([, value]) => typeof value !== "object");
  return make("dl", { class: "figures" }, entries.map(([name, value]) => make("div", {}, make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, number(value)))));
}

export function tableOf(rows) {
  if (!rows.length) return make("p", {}, "None.");
  const names = Object.keys(rows[0]);
  const head = make("tr", {}, names.map((name) => make("th", { scope: "col" }, name)));
  const lines = rows.slice(0, MOST_ROWS).map((row) => make("tr", {}, names.map((name) => make("td", {}, number(row[name])))));
  const more = rows.length > MOST_ROWS ? make("p", {}, `The first ${MOST_ROWS} of ${rows.length}; all are in the download.`) : null;
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, lines));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Results" }, table, more);
}

function numbersOf(array) {
  const flat = array.values.flat(Infinity);
  return make("p", {}, `${array.shape.join(" × ")} numbers: ${flat.slice(0, 30).map((value) => number(value)).join(", ")}${flat.length > 30 ? " …" : ""}`);
}

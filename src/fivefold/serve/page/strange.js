// A table with its strange rows first, and its strange cells coloured.

import { run } from "./api.js";
import { codeBox } from "./code.js";
import { button, choice, complain, dropping, field, make, number, say } from "./dom.js";
import { handOver } from "./row.js";

const MOST_ROWS = 200;
const FULL = 12; // the surprise from which on a cell has its full colour
const RATES = [
  ["", "all rows"],
  ["0.01", "1 % of them falsely"],
  ["0.05", "5 % of them falsely"],
  ["0.1", "10 % of them falsely"],
  ["0.2", "20 % of them falsely"],
];

export function show(content, model) {
  const results = make("div");
  const code = codeBox();
  const rate = choice(RATES, "", () => work());
  let file = null;
  let shared = null; // what holds at all rates: values and surprise

  async function work() {
    if (!file) return;
    say("Working …");
    const call = (verb, query) => ({ model: model.name, verb, query, file });
    const detect = call("detect", rate.value ? { fdr: rate.value } : {});
    code.show([detect, call("surprise"), call("impute")]);
    try {
      shared ??= await Promise.all([run(call("surprise")), run(call("impute"))]);
      const found = await run(detect);
      results.replaceChildren(...tableOf(model, found, shared[0].rows, shared[1].rows, rate.value !== ""));
      say("Done.");
    } catch (error) {
      results.replaceChildren();
      complain(error);
    }
  }

  const drop = dropping("Drop a table here, or choose one", (given) => {
    file = given;
    shared = null;
    work();
  });
  content.append(drop, make("div", { class: "bar" }, field("Show", rate)), results, code);
}

function tableOf(model, found, surprise, values, isFiltered) {
  const order = found.rows.map((_, index) => index).filter((index) => !isFiltered || found.rows[index].anomaly);
  const score = (index) => found.rows[index].score;
  order.sort((one, other) => found.rows[one].p_value - found.rows[other].p_value || score(one) - score(other));
  const text = isFiltered ? `${order.length} of ${found.rows.length} rows are strange.` : `${found.rows.length} rows, the strangest first.`;
  if (!order.length) return [make("p", {}, text)];
  const modelled = new Set(model.schema.columns.map(({ name }) => name));
  const names = Object.keys(values[0]);
  const head = ["row", "p-value", ...names].map((name) => make("th", { scope: "col" }, name));
  const lines = order.slice(0, MOST_ROWS).map((index) => {
    const open = button(String(found.rows[index].row), () => look(model, modelled, values[index], surprise[index]), {
      "aria-label": `Look at row ${found.rows[index].row}`,
    });
    const cells = names.map((name) => cellOf(values[index][name], surprise[index][name], modelled.has(name)));
    const p = make("td", {}, number(found.rows[index].p_value, 3));
    return make("tr", {}, make("th", { scope: "row" }, open), p, cells);
  });
  const table = make("table", {}, make("thead", {}, make("tr", {}, head)), make("tbody", {}, lines));
  const label = "Rows, the strangest first";
  return [
    ...(found.warnings ?? []).map((warning) => make("p", { class: "hint" }, warning)),
    make("p", {}, `${text} Coloured cells are strange given the others of their row; cells in italics were missing and are filled in.`),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, table),
  ];
}

function cellOf(value, surprise, isModelled) {
  const text = number(value).replace("T00:00:00", "");
  if (!isModelled) return make("td", { class: "soft" }, text);
  if (surprise === null) return make("td", { class: "filled" }, text);
  const cell = make("td", { title: `surprise ${number(surprise, 2)}` }, text);
  const heat = Math.min(Math.max((surprise - 1) / (FULL - 1), 0), 1);
  if (heat > 0) {
    cell.classList.add("hot");
    cell.style.setProperty("--heat", `${Math.round(10 + 45 * heat)}%`);
  }
  return cell;
}

function look(model, modelled, row, surprise) {
  const known = Object.entries(row).filter(([name]) => modelled.has(name) && surprise[name] !== null);
  handOver(Object.fromEntries(known));
  location.hash = `${encodeURIComponent(model.name)}/row`;
}

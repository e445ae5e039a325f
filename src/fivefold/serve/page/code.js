// The Python and the curl for what was done.

import { contentOf, pathOf } from "./api.js";
import { button, make, say } from "./dom.js";

const PYTHON_NAMES = { draws: "n_draws" };
const RESULTS = {
  decode: "items",
  denoise: "clean",
  detect: "found",
  encode: "means, deviations",
  impute: "whole",
  surprise: "excess",
};

// A box that shows the code of calls; `box.show(calls)` replaces it.
export function codeBox() {
  const python = make("code");
  const curl = make("code");
  const box = make(
    "details",
    { class: "code" },
    make("summary", {}, "Show the code"),
    ...[["Python", python], ["curl", curl]].map(([name, code]) =>
      make(
        "section",
        {},
        make("h3", {}, name, " ", button("Copy", () => copy(code.textContent), { "aria-label": `Copy the ${name}` })),
        make("pre", { tabindex: "0" }, code),
      ),
    ),
  );
  box.show = (calls) => {
    python.textContent = pythonOf(calls);
    curl.textContent = calls.map(curlOf).join("\n");
  };
  return box;
}

async function copy(text) {
  await navigator.clipboard.writeText(text);
  say("Copied.");
}

export function pythonOf(calls) {
  const lines = ["import fivefold"];
  if (calls.some((call) => call.values)) lines.push("import numpy as np");
  if (calls.some((call) => call.rows)) lines.push("import pyarrow as pa");
  lines.push("", `model = fivefold.load(${literal(calls[0].model)})  # the model's folder`);
  let last = "";
  for (const call of calls) {
    const data = dataOf(call);
    if (data && data !== last) lines.push(`data = ${data}`);
    last = data || last;
    lines.push(verbOf(call));
  }
  return `${lines.join("\n")}\n`;
}

function dataOf(call) {
  if (call.rows) return `pa.Table.from_pylist(${literal(call.rows)}${call.copies ? ` * ${call.copies}` : ""})`;
  if (call.values) return `np.array(${literal(call.values, true)}${call.dtype ? `, ${literal(call.dtype)}` : ""})`;
  return call.file && call.verb !== "decompress" ? literal(call.file.name) : "";
}

function verbOf(call) {
  if (!call.verb) return "print(model.schema, model.record)";
  const query = Object.entries(call.query ?? {});
  const named = (pairs) => pairs.map(([name, value]) => `, ${PYTHON_NAMES[name] ?? name}=${literal(value)}`).join("");
  if (call.verb === "generate") {
    const others = query.filter(([name]) => name !== "n");
    return `new = fivefold.generate(model, ${call.query.n}${named(others)}${call.file ? ", after=data" : ""})`;
  }
  if (call.verb === "morph") {
    return `means, _ = fivefold.encode(model, data)\nnew = fivefold.morph(model, means[${call.query.from}], means[${call.query.to}], steps=${call.query.steps})`;
  }
  if (call.verb === "compress") return `open("data.ff", "wb").write(fivefold.compress(model, data))`;
  if (call.verb === "decompress") return `data = fivefold.decompress(open(${literal(call.file.name)}, "rb").read(), model)`;
  const files = ["std", "report", "heatmaps", "part"]; // in Python all comes at once
  return `${RESULTS[call.verb]} = fivefold.${call.verb}(model, data${named(query.filter(([name]) => !files.includes(name)))})`;
}

function literal(value, isArray = false) {
  if (value === null || value === undefined) return isArray ? "np.nan" : "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map((part) => literal(part, isArray)).join(", ")}]`;
  if (typeof value === "object") {
    const pairs = Object.entries(value).map(([name, part]) => `${JSON.stringify(name)}: ${literal(part)}`);
    return `{${pairs.join(", ")}}`;
  }
  return JSON.stringify(value);
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

export function curlOf(call) {
  const words = ["curl -s"];
  if (call.file) words.push("-F", quoted(`${call.part ?? "data"}=@${call.file.name}`));
  else if (contentOf(call)) words.push("-H 'content-type: application/json' -d", quoted(JSON.stringify(contentOf(call))));
  else if (call.verb) words.push("-X POST");
  if (call.verb) words.push("-H", quoted(`accept: ${call.accept ?? "application/json"}`));
  words.push(quoted(location.origin + pathOf(call)));
  return words.join(" ");
}

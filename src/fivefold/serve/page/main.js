// The page: which models there are, and which view of which is shown; the address's part after # says so.

import { describe, listModels, onKeyWanted } from "./api.js";
import { button, complain, field, make, say } from "./dom.js";

const VIEWS = {
  model: ["Model", "./about.js"],
  item: ["A picture", "./item.js"],
  latent: ["Latent plane", "./latent.js"],
  series: ["Series", "./series.js"],
  row: ["A row", "./row.js"],
  table: ["A table", "./strange.js"],
  file: ["A file", "./files.js"],
};
const OF_MODALITY = {
  images: ["item", "latent"],
  tables: ["row", "table"],
  series: ["series"],
};

const view = document.getElementById("view");
let models = [];

function place() {
  const [name, tab] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const summary = models.find((model) => model.name === name) ?? models[0];
  const tabs = ["model", ...OF_MODALITY[summary.modality], "file"];
  return { summary, tabs, tab: tabs.includes(tab) ? tab : tabs[0] };
}

function link(name, tab, text, isCurrent) {
  const href = `#${encodeURIComponent(name)}/${tab}`;
  return make("a", { href, "aria-current": isCurrent ? "page" : null }, text);
}

let shown = 0;

async function show() {
  const turn = ++shown;
  const { summary, tabs, tab } = place();
  const nav = document.getElementById("models");
  nav.replaceChildren(...models.map(({ name }) => link(name, tab, name, name === summary.name)));
  document.title = `${summary.name} – Fivefold`;
  try {
    const [model, module] = await Promise.all([describe(summary.name), import(VIEWS[tab][1])]);
    if (turn !== shown) return;
    const links = tabs.map((each) => link(summary.name, each, VIEWS[each][0], each === tab));
    const content = make("div", { class: "content" });
    view.replaceChildren(
      make("h2", {}, summary.name, " ", make("small", {}, summary.describes)),
      make("nav", { class: "tabs", "aria-label": "Views" }, links),
      content,
    );
    say("");
    await module.show(content, model);
  } catch (error) {
    complain(error);
  }
}

function askForKey() {
  return new Promise((resolve) => {
    const input = make("input", { type: "password", autocomplete: "off", required: true });
    const form = make("form", {}, make("h2", {}, "This server wants a key"), field("Key", input), button("Go on", null, { type: "submit" }));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      view.replaceChildren();
      resolve(input.value);
    });
    view.replaceChildren(form);
    input.focus();
  });
}

onKeyWanted(askForKey);
try {
  models = await listModels();
  window.addEventListener("hashchange", show);
  await show();
} catch (error) {
  complain(error);
}

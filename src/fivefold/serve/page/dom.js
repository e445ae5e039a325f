// Elements, whose text is always text: nothing from a model or a file becomes markup.

const SVG = "http://www.w3.org/2000/svg";

export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

let fields = 0;

// A control with its label; the control is `field.control`.
export function field(label, control) {
  control.id ||= `field-${++fields}`;
  const element = make("div", { class: "field" }, make("label", { for: control.id }, label), control);
  element.control = control;
  return element;
}

export function choice(options, chosen, onchange) {
  const select = make("select", { onchange: () => onchange?.(select.value) });
  for (const [value, text] of options) select.append(make("option", { value, selected: value === chosen }, text));
  return select;
}

export function button(text, onclick, attributes = {}) {
  return make("button", { type: "button", onclick, ...attributes }, text);
}

const SHOWN = 5000; // ms

let fading = 0;

// A word to the user, which goes by itself; errors stay until there is something new to say.
export function say(text) {
  clearTimeout(fading);
  document.getElementById("status").textContent = text;
  if (text) fading = setTimeout(() => say(""), SHOWN);
}

export function complain(error) {
  say(error.message);
  clearTimeout(fading);
}

export function number(value, digits = 4) {
  if (value === null || value === undefined || value === "") return "";
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(digits)));
}

// Calls `work` with the newest arguments only: those that come while it is busy replace each other.
export function newest(work) {
  let busy = false;
  let waiting = null;
  return async function call(...words) {
    if (busy) {
      waiting = words;
      return;
    }
    busy = true;
    try {
      await work(...words);
    } catch (error) {
      complain(error);
    } finally {
      busy = false;
    }
    if (waiting) {
      const next = waiting;
      waiting = null;
      await call(...next);
    }
  };
}

// A place where a file is dropped or chosen.
export function dropping(label, onfile, accept = "") {
  const input = make("input", { type: "file", accept, onchange: () => input.files[0] && onfile(input.files[0]) });
  const place = field(label, input);
  place.classList.add("drop");
  place.addEventListener("dragover", (event) => {
    event.preventDefault();
    place.classList.add("over");
  });
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    if (event.dataTransfer.files[0]) onfile(event.dataTransfer.files[0]);
  });
  return place;
}

// What detection says of one item: that it is usual only where it could have said otherwise.
export function verdict({ rows: [{ p_value: p, anomaly }], figures, warnings = [] }, items) {
  const word = anomaly ? "strange" : warnings.length ? "not flagged" : "usual";
  const kind = anomaly ? "bad" : warnings.length ? "" : "good";
  return [
    make("strong", { class: kind }, word),
    ` p = ${number(p, 3)} among ${figures.calibrated_on} held-out ${items} `,
    ...warnings.map((warning) => make("span", { class: "hint" }, warning)),
  ];
}

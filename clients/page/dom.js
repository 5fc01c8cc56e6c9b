// Elements made without markup: text of a metric stays text.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      element.addEventListener(name, value);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// el("button", {type: "button", click: open}, "Open")
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

export function byId(id) {
  return document.getElementById(id);
}

// A status is read out when somebody asked for what it says, and not each time that a row comes.
export function readOut(element, aloud) {
  element.setAttribute("aria-live", aloud ? "polite" : "off");
}

// Puts text into an element only if it is another one: a live region is then not read out again.
export function say(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

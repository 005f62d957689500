// Elements that are made one by one, and figures as people read them.

const space = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((c) => c != null && c !== false));
  return element;
}

/** h makes an element of HTML. */
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** s makes an element of SVG. */
export const s = (tag, attributes, ...children) => fill(document.createElementNS(space, tag), attributes, children);

export const byId = (id) => document.getElementById(id);

/** setText changes a text only if it differs, so that screen readers are not told again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const number = (n) => Math.round(n).toLocaleString("en-US");

export function seconds(n) {
  if (n < 0.01) return (n * 1000).toFixed(1) + " ms";
  if (n < 1) return Math.round(n * 1000) + " ms";
  if (n < 10) return n.toFixed(1) + " s";
  if (n < 180) return Math.round(n) + " s";
  if (n < 10800) return Math.round(n / 60) + " min";
  if (n < 259200) return Math.round(n / 3600) + " h";
  return Math.round(n / 86400) + " days";
}

export function bytes(n) {
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (n < 1024 || unit === "GiB") return (n < 10 && unit !== "B" ? n.toFixed(1) : Math.round(n)) + " " + unit;
    n /= 1024;
  }
  return "";
}

export const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

export const list = (names) => names.length < 2 ? names.join("") : names.slice(0, -1).join(", ") + " and " + names.at(-1);

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

/** h makes an element of HTML. Children are elements or texts; a text is never parsed. */
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** s makes an element of SVG. */
export const s = (tag, attributes, ...children) => fill(document.createElementNS(space, tag), attributes, children);

export const byId = (id) => document.getElementById(id);

/** setText changes a text only if it differs, so that screen readers are not told again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * patch makes an element look like another one and touches only what differs, so that what
 * a person has selected or folded stays. Neither may hold anything that listens.
 */
export function patch(old, wanted) {
  if (old.nodeType !== wanted.nodeType || old.nodeName !== wanted.nodeName) return old.replaceWith(wanted);
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return undefined;
  }
  for (const { name } of [...old.attributes]) if (name !== "open" && !wanted.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of wanted.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const children = [...wanted.childNodes];
  while (old.childNodes.length > children.length) old.lastChild.remove();
  children.forEach((child, i) => (i < old.childNodes.length ? patch(old.childNodes[i], child) : old.append(child)));
  return undefined;
}

export const number = (n) => Math.round(n).toLocaleString("en-US");

/** figure is a number with a digit behind the dot where it is small. */
export const figure = (n) => (n > 0 && n < 10 && n % 1 ? n.toFixed(1) : number(n));

export function seconds(n) {
  if (n < 0.01) return (n * 1000).toFixed(1) + " ms";
  if (n < 1) return Math.round(n * 1000) + " ms";
  if (n < 10) return n.toFixed(1) + " s";
  if (n < 180) return Math.round(n) + " s";
  if (n < 10800) return Math.round(n / 60) + " min";
  if (n < 259200) return Math.round(n / 3600) + " h";
  return Math.round(n / 86400) + " days";
}

/** span is a time in nanoseconds, as events hold it. */
export const span = (ns) => seconds(ns / 1e9);

export function bytes(n) {
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (n < 1024 || unit === "GiB") return (n < 10 && unit !== "B" ? n.toFixed(1) : Math.round(n)) + " " + unit;
    n /= 1024;
  }
  return "";
}

export const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

/** instant is a time of day to the millisecond. */
export const instant = (ms) => `${clock(ms)}.${String(Math.floor(ms) % 1000).padStart(3, "0")}`;

export const list = (names) => (names.length < 2 ? names.join("") : names.slice(0, -1).join(", ") + " and " + names.at(-1));

export const count = (n, one, more = one + "s") => `${number(n)} ${n === 1 ? one : more}`;

/** save gives a person a file that the page has made of data that it holds. */
export function save(name, parts, type) {
  const link = h("a", { href: URL.createObjectURL(new Blob(parts, { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

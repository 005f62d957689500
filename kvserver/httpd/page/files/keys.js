// Keys and values as bytes. A key is held as a text in which each character is one byte.

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** fromBytes and toBytes change between bytes and such a text. */
export function fromBytes(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 4096) text += String.fromCharCode(...bytes.subarray(i, i + 4096));
  return text;
}

export const toBytes = (key) => Uint8Array.from(key, (c) => c.charCodeAt(0));

/** keyOf is the key of an item, of a page or of a watch. */
export const keyOf = (item) => (item.key_base64 !== undefined ? atob(item.key_base64) : fromBytes(encoder.encode(item.key)));

const hex = (byte) => "%" + byte.toString(16).toUpperCase().padStart(2, "0");

/** encode percent-encodes a key for a path or a query. */
export const encode = (key) => key.replace(/[^A-Za-z0-9_.~-]/g, (c) => hex(c.charCodeAt(0)));

/** textOf is what bytes are as UTF-8; null if they are none. */
export function textOf(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

// Characters that a person cannot see, or that move those around them: controls, formats
// such as the marks of direction, and all spaces but the usual one.
const unseen = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;

/**
 * pieces cuts a key into [text, escaped]: what can be read stands as it is, all other bytes
 * as %xx.
 */
export function pieces(key) {
  const text = textOf(toBytes(key));
  const found = [];
  const add = (piece, escaped) => {
    if (found.length && found.at(-1)[1] === escaped) found.at(-1)[0] += piece;
    else found.push([piece, escaped]);
  };
  for (const c of text ?? key) {
    const plain = text === null ? c >= " " && c <= "~" : !unseen.test(c);
    if (plain) add(c, false);
    else add(text === null ? hex(c.charCodeAt(0)) : [...encoder.encode(c)].map(hex).join(""), true);
  }
  return found;
}

/** typed is a key as it is typed into a field: pieces, with % as %25. parse is the opposite. */
export const typed = (key) => pieces(key).map(([text, escaped]) => (escaped ? text : text.replaceAll("%", "%25"))).join("");

export function parse(text) {
  return fromBytes(encoder.encode(text)).replace(/%([0-9A-Fa-f]{2})/g, (_, digits) => String.fromCharCode(parseInt(digits, 16)));
}

/** dump writes bytes as lines of hexadecimal digits and characters. */
export function dump(bytes, perLine) {
  const rows = [];
  for (let at = 0; at < bytes.length; at += perLine) {
    const row = [...bytes.subarray(at, at + perLine)];
    const digits = row.map((b) => b.toString(16).padStart(2, "0")).join(" ").padEnd(3 * perLine - 1);
    const shown = row.map((b) => (b >= 0x20 && b <= 0x7e ? String.fromCharCode(b) : "·")).join("");
    rows.push(`${at.toString(16).padStart(6, "0")}  ${digits}  ${shown}`);
  }
  return rows.join("\n");
}

/**
 * indented writes a text of JSON with line breaks; null if it is none, or a single value.
 * Numbers and names stand as they were written: a browser would round long numbers.
 */
export function indented(text) {
  if (text === null || !/^\s*[[{]/.test(text)) return null;
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  let out = "", depth = 0, opened = false;
  const line = () => "\n" + "  ".repeat(depth);
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s"[\]{},:]+/g)) {
    if (token === "}" || token === "]") {
      depth--;
      out += (opened ? "" : line()) + token;
      opened = false;
      continue;
    }
    if (opened) out += line();
    opened = token === "{" || token === "[";
    if (opened && ++depth > 64) return null; // its lines would be mostly blanks
    out += token === "," ? "," + line() : token === ":" ? ": " : token;
  }
  return out;
}

/** readable shows characters that cannot be seen, but for ends of lines and tabs. */
export const readable = (text) => text.replace(/[^\n\t]/gu, (c) => (unseen.test(c) ? [...encoder.encode(c)].map(hex).join("") : c));

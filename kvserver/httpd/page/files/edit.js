// Edits: each write carries the revision that its author saw, so nothing that somebody else
// wrote meanwhile is lost; and a key of its own, so it can be sent again.

import { ask, Gone, Refusal } from "./ask.js";
import { h, number } from "./dom.js";
import { encode, parse, readable, textOf } from "./keys.js";
import { why } from "./stories.js";

const compared = 1000; // lines, of which the differences are shown

/** newID names a request. It is drawn without crypto.randomUUID, which plain HTTP does not have. */
const newID = () => "ui-" + [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");

const revisionOf = (tag) => number(tag.replaceAll('"', ""));

/**
 * editor is a form that writes one key. at is the entity tag that its author has seen, null
 * for a key that is not there. keep says that keys may have a time to live, which the write
 * leaves as it is. read reads the key again, done is called with the key when it
 * was written, and cancel when it was not.
 */
export function editor({ key, at, keep, text, read, done, cancel }) {
  const field = h("textarea", { id: "edit-value", rows: 10, spellcheck: "false", autocapitalize: "off" });
  field.value = text;
  const asked = key === null ? h("input", { id: "edit-key", type: "text", autocomplete: "off", spellcheck: "false", autocapitalize: "off", required: true }) : null;
  const out = h("div", { role: "status" });
  const write = h("button", { type: "submit" }, at === null ? "Create" : "Write");
  const form = h("form", { class: "editor", onsubmit: (e) => { e.preventDefault(); send(at); } },
    asked ? [h("label", { for: "edit-key" }, "Key"), asked] : null, h("label", { for: "edit-value" }, "Value"), field,
    h("p", { class: "bar" }, write, h("button", { type: "button", onclick: cancel }, "Cancel"), h("span", { class: "legend" }, at === null ? "Only if there is no such key." : `Only if the key still has revision ${revisionOf(at)}.`)), out);

  const target = () => (asked ? parse(asked.value) : key);

  async function send(tag, id = newID(), mine = field.value) {
    const of = target(), condition = tag === null ? { "If-None-Match": "*" } : { "If-Match": tag };
    out.replaceChildren();
    write.disabled = true;
    try {
      await ask(`/v1/kv/${encode(of)}${keep && tag !== null ? "?ttl=keep" : ""}`, { method: "PUT", body: new TextEncoder().encode(mine), headers: { ...condition, "Content-Type": "application/octet-stream", "Idempotency-Key": id }, timeout: 15_000 });
      done(of);
    } catch (error) {
      if (error instanceof Refusal && (error.status === 412 || error.code === "key_not_found")) await conflict(of, mine);
      else if (error instanceof Gone || error.outcome === "unknown") unknown(out, error, () => send(tag, id, mine));
      else out.replaceChildren(h("p", { class: "note bad" }, `Nothing was written. ${why(error, "write on this key")}`));
    } finally {
      write.disabled = false;
    }
  }

  /** conflict shows what somebody else has written, beside what was to be written. */
  async function conflict(of, mine) {
    let theirs;
    try {
      theirs = await read(of);
    } catch (error) {
      if (error.code !== "key_not_found") return out.replaceChildren(h("p", { class: "note bad" }, `Nothing was written: the key has changed. ${why(error, "read on this key")}`));
      return out.replaceChildren(h("p", { class: "note bad" }, "Nothing was written: somebody has deleted this key meanwhile."),
        h("p", { class: "bar" }, h("button", { type: "button", onclick: () => send(null) }, "Create it again with mine"), h("button", { type: "button", onclick: cancel }, "Leave it deleted")));
    }
    const other = textOf(theirs.content);
    return out.replaceChildren(h("p", { class: "note bad" }, `Nothing was written: ${at === null ? "there is such a key" : "somebody has changed it meanwhile"}. It has revision ${revisionOf(theirs.tag)}.`),
      h("div", { class: "versions" }, side("Theirs", other, mine), side("Yours", mine, other)),
      h("p", { class: "bar" }, h("button", { type: "button", onclick: cancel }, "Take theirs"), h("button", { type: "button", onclick: () => send(theirs.tag) }, `Write mine over revision ${revisionOf(theirs.tag)}`)));
  }

  return { form, focus: () => (asked || field).focus() };
}

/** side shows one version; lines that the other one does not have are marked. */
function side(name, text, other) {
  if (text === null) return h("div", null, h("h3", null, name), h("p", { class: "empty" }, "It is no text."));
  const lines = text.split("\n"), others = new Set((other ?? "").split("\n"));
  return h("div", null, h("h3", null, name), h("pre", { class: "content", tabindex: 0, "aria-label": name }, lines.length > compared ? readable(text)
    : lines.map((line, i) => [others.has(line) ? readable(line) : h("mark", null, readable(line) || " "), i < lines.length - 1 ? "\n" : ""])));
}

/** unknown says that a write may have happened, and offers to send it again under its name. */
function unknown(out, error, again) {
  out.replaceChildren(h("p", { class: "note bad" }, `Whether it was written is not known: ${error.message}. The same request can be sent again: it happens once.`),
    h("p", { class: "bar" }, h("button", { type: "button", onclick: again }, "Send it again")));
}

/** remover is a form that deletes one key, if it still has the revision that was seen. */
export function remover({ key, at, done, cancel }) {
  const sure = h("input", { id: "sure", type: "checkbox", required: true }), out = h("div", { role: "status" });
  const form = h("form", { class: "editor", onsubmit: (e) => { e.preventDefault(); send(newID()); } },
    h("p", null, sure, " ", h("label", { for: "sure" }, `Delete this key, if it still has revision ${revisionOf(at)}.`)),
    h("p", { class: "bar" }, h("button", { type: "submit", class: "danger" }, "Delete"), h("button", { type: "button", onclick: cancel }, "Cancel")), out);
  async function send(id) {
    try {
      await ask(`/v1/kv/${encode(key)}`, { method: "DELETE", headers: { "If-Match": at, "Idempotency-Key": id }, timeout: 15_000 });
      done(key);
    } catch (error) {
      if (error instanceof Refusal && error.status === 412) out.replaceChildren(h("p", { class: "note bad" }, "Nothing was deleted: somebody has changed this key meanwhile. Look at it first."));
      else if (error instanceof Gone || error.outcome === "unknown") unknown(out, error, () => send(id));
      else out.replaceChildren(h("p", { class: "note bad" }, `Nothing was deleted. ${why(error, "delete on this key")}`));
    }
  }
  return { form, focus: () => sure.focus() };
}

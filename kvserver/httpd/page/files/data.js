// Data: keys in the order of their bytes, as a tree, and one value. It asks by the same
// routes as any program, with the viewer's token.

import { ask, askJSON, lines, Refusal } from "./ask.js";
import { bytes, clock, count, h, number, save } from "./dom.js";
import { editor, remover } from "./edit.js";
import { dump, encode, indented, keyOf, parse, pieces, readable, textOf, typed } from "./keys.js";
import { why } from "./stories.js";

const pageRows = 100; // rows that are added at once
const pageRounds = 20; // requests for them, at most: a folder of any size costs one
const shownBytes = 256 << 10;
const dumpBytes = 16 << 10;
const farthest = "\xff".repeat(1024); // behind every key of a folder

/** name shows a key; it is set apart from the text around it, whatever direction its letters have. */
export const name = (key) => h("bdi", { class: "name" }, pieces(key).map(([text, escaped]) => (escaped ? h("span", { class: "esc" }, text) : text)));

/** view is Data. mayWrite returns null, or how the page may write. */
export function view(root, mayWrite) {
  const field = h("input", { id: "prefix", type: "text", autocomplete: "off", spellcheck: "false", autocapitalize: "off", placeholder: "all keys" });
  const separator = h("select", { id: "separator", onchange: () => load() }, [["/", "/"], [":", ":"], [".", "."], ["", "none"]].map(([value, text]) => h("option", { value }, text)));
  const crumbs = h("p", { class: "crumbs" }), note = h("p", { class: "note", hidden: true }), table = h("div", { class: "rows" });
  const live = h("p", { class: "legend", "aria-live": "off" }), value = h("div", { class: "value" }), said = h("p", { class: "unseen", role: "status" });
  const fresh = h("button", { type: "button", hidden: true, onclick: () => { state.key = null; edit(editor, null); } }, "New key");
  const state = { prefix: "", rows: [], after: "", more: false, revision: 0, stale: false, key: null, mode: "", following: null, changes: 0, latest: "", timer: 0, on: false, loads: 0, editing: false };

  const go = (prefix) => { location.hash = `data/${encode(prefix)}`; };
  const listPath = (after) => `/v1/kv?prefix=${encode(state.prefix)}&after=${encode(after)}&limit=100&keys_only` + (state.stale ? "&consistency=stale" : "");

  function tell(text, bad) {
    note.hidden = !text;
    note.className = bad ? "note bad" : "note";
    note.textContent = text;
  }

  /** page asks for keys; without a leader for those that this node has. */
  async function page(after) {
    try {
      return await askJSON(listPath(after));
    } catch (error) {
      if (!(error instanceof Refusal) || state.stale || !["no_leader", "timeout"].includes(error.code)) throw error;
      state.stale = true;
      return askJSON(listPath(after));
    }
  }

  /** gather adds rows: a key each, or all keys of a folder. */
  async function gather(rows, after) {
    for (let round = 0; round < pageRounds; round++) {
      const { items, next, revision } = await page(after);
      state.revision = revision;
      for (const item of items) {
        const key = keyOf(item), cut = separator.value ? key.indexOf(separator.value, state.prefix.length) : -1;
        const folder = cut < 0 ? null : key.slice(0, cut + 1);
        if (folder !== null && rows.at(-1)?.folder === folder) continue;
        rows.push(folder === null ? { key, item } : { folder });
        after = folder === null ? key : folder + farthest.slice(folder.length);
      }
      if (!next || rows.length >= pageRows) return { after, more: Boolean(next) };
    }
    return { after, more: true };
  }

  async function load() {
    const mine = ++state.loads;
    stopFollowing();
    state.stale = false;
    const rows = [];
    try {
      const end = await gather(rows, "");
      if (mine !== state.loads) return;
      Object.assign(state, { rows, ...end, changes: 0, latest: "" });
      tell(state.stale ? "There is no leader. These are the keys of this node's own copy, which may be old." : "");
      render();
      said.textContent = `${count(rows.length, "row")}${state.more ? " and more" : ""}`;
      follow();
    } catch (error) {
      if (mine !== state.loads) return;
      tell(why(error, "list on these keys"), true);
      Object.assign(state, { rows: [], more: false });
      render();
      state.timer = setTimeout(load, 3000);
    }
  }

  async function more() {
    if (state.growing) return; // or a second click would add the same rows again
    state.growing = true;
    const rows = [], mine = state.loads;
    try {
      const end = await gather(rows, state.after);
      if (mine !== state.loads) return;
      state.rows.push(...rows);
      Object.assign(state, end);
      render();
    } catch (error) {
      tell(why(error, "list on these keys"), true);
    } finally {
      state.growing = false;
    }
  }

  function stopFollowing() {
    state.following?.abort();
    state.following = null;
    clearTimeout(state.timer);
  }

  /** follow shows changes as they come; where there are no watches, it asks again every 2 s. */
  async function follow() {
    if (!state.on) return;
    const following = (state.following = new AbortController());
    const again = (delay) => { if (state.following === following) state.timer = setTimeout(load, delay); };
    if (state.stale) return again(2000);
    let pending = [], drawing = 0;
    const show = () => {
      drawing = 0;
      for (const change of pending.splice(0)) apply(change);
      render();
    };
    try {
      live.textContent = "Live: changes appear as they happen.";
      await lines(`/v1/watch?prefix=${encode(state.prefix)}&after=${state.revision}&keys_only&progress=10s`, following.signal, (line) => {
        if (line.event === "change") pending.push(line);
        if (line.event === "change" && !drawing) drawing = setTimeout(show, 200);
      });
      again(1000);
    } catch (error) {
      if (following.signal.aborted) return;
      const few = error instanceof Refusal && error.code === "not_active";
      live.textContent = few ? "Asked again every 2 s: the cluster works at a level without watches." : error instanceof Refusal && error.status === 403 ? "Asked again every 2 s: the token may not watch." : "The stream of changes ended; asking again.";
      again(2000);
    }
  }

  /** apply puts a change into the rows. */
  function apply({ revision, events }) {
    state.revision = Math.max(state.revision, revision);
    state.changes += events.length;
    for (const e of events) {
      const key = keyOf(e), cut = separator.value ? key.indexOf(separator.value, state.prefix.length) : -1;
      const folder = cut < 0 ? null : key.slice(0, cut + 1);
      state.latest = `${e.op} at revision ${number(revision)}`;
      const of = folder ?? key, row = state.rows.find((one) => (one.folder ?? one.key) === of);
      const fresh = { changed: Date.now(), gone: folder === null && e.op !== "put" };
      if (row) Object.assign(row, fresh, folder === null && e.op === "put" ? { item: { revision, version: e.version } } : {});
      else if (e.op === "put" && (!state.more || of <= state.after)) {
        const at = state.rows.findIndex((one) => (one.folder ?? one.key) > of);
        state.rows.splice(at < 0 ? state.rows.length : at, 0, { ...(folder === null ? { key, item: { revision, version: e.version } } : { folder }), ...fresh });
      }
      if (key === state.key) open(key, true);
    }
    if (state.rows.length > 5000) load(); // somebody writes new keys faster than anybody reads
  }

  function render() {
    const focused = document.activeElement?.dataset?.row, now = Date.now();
    table.replaceChildren(...(state.rows.length ? [h("ul", { class: "keys" }, state.rows.map((row) => line(row, now)))] : note.hidden || !note.classList.contains("bad") ? [empty()] : []),
      ...(state.more ? [h("button", { type: "button", onclick: more }, "More")] : []));
    if (focused) table.querySelector(`[data-row="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    if (state.changes) live.textContent = `Live: ${count(state.changes, "change")} since you came; the last was a ${state.latest}.`;
  }

  function line(row, now) {
    const isNew = row.changed && now - row.changed < 1500, id = encode(row.folder ?? row.key);
    if (row.folder !== undefined) {
      return h("li", { class: isNew ? "new" : "" }, h("button", { type: "button", class: "row folder", "data-row": id, onclick: () => go(row.folder) },
        h("span", { "aria-hidden": "true" }, "▸ "), name(row.folder.slice(state.prefix.length)), h("span", { class: "unseen" }, " folder")));
    }
    return h("li", { class: `${isNew ? "new" : ""} ${row.gone ? "gone" : ""}` }, h("button", { type: "button", class: "row", "data-row": id, "aria-pressed": String(row.key === state.key), onclick: () => open(row.key) },
      name(row.key.slice(state.prefix.length) || row.key), h("span", { class: "side" }, row.gone ? "deleted" : `rev ${number(row.item.revision)}`)));
  }

  function empty() {
    if (state.prefix) return h("p", { class: "empty" }, "No key begins with that.");
    return h("div", { class: "empty" }, h("p", null, "The store is empty. Write the first key:"),
      h("pre", null, `curl -X PUT --data-binary 'hello' ${location.origin}/v1/kv/greeting`), h("p", null, "It appears here at once."));
  }

  /** read asks for a value. A browser cannot send the keys "." and "..", so they are listed. */
  async function read(key) {
    const stale = state.stale ? "consistency=stale" : "";
    if (key !== "." && key !== "..") {
      const answer = await ask(`/v1/kv/${encode(key)}?${stale}`, { headers: { Accept: "application/octet-stream" } });
      return { content: new Uint8Array(await answer.arrayBuffer()), revision: answer.headers.get("Kv-Revision"), version: answer.headers.get("Kv-Version"), created: answer.headers.get("Kv-Created"), lease: answer.headers.get("Kv-Lease"), ends: answer.headers.get("Kv-Expires-In"), tag: answer.headers.get("ETag") };
    }
    const [item] = (await askJSON(`/v1/kv?prefix=${key}&limit=1&${stale}`)).items;
    if (!item || keyOf(item) !== key) throw new Refusal(404, { detail: "there is no such key", code: "key_not_found" });
    return { content: Uint8Array.from(atob(item.value), (c) => c.charCodeAt(0)), revision: item.revision, version: item.version, created: item.created, tag: `"${item.revision}"` };
  }

  async function open(key, again) {
    if (again && state.editing) return; // a person writes; what changed is met by the condition
    if (!again) [state.mode, state.editing] = ["", false];
    state.key = key;
    for (const button of table.querySelectorAll("[aria-pressed]")) button.setAttribute("aria-pressed", String(button.dataset.row === encode(key)));
    let shown;
    try {
      shown = await read(key);
    } catch (error) {
      if (state.key === key) value.replaceChildren(h("h2", null, name(key)), h("p", { class: "note" }, error.code === "key_not_found" ? "This key is not there any more." : why(error, "read on this key")));
      return;
    }
    if (state.key !== key || state.editing) return;
    state.shown = shown;
    showValue(again);
    if (!again) value.scrollIntoView({ block: "nearest" });
  }

  function showValue(changed) {
    const { content, revision, version, created, lease, ends, tag } = state.shown, text = textOf(content.subarray(0, shownBytes)) ?? (content.length > shownBytes ? textOf(content.subarray(0, shownBytes - 3)) : null);
    const json = content.length <= shownBytes ? indented(text) : null;
    const modes = [...(json !== null ? ["JSON"] : []), ...(text !== null ? ["Text"] : []), "Hex"];
    const mode = modes.includes(state.mode) ? state.mode : modes[0];
    const shown = { JSON: () => readable(json), Text: () => readable(text), Hex: () => dump(content.subarray(0, dumpBytes), innerWidth < 600 ? 8 : 16) }[mode]();
    const cut = mode === "Hex" ? dumpBytes : shownBytes;
    const facts = [["revision", number((tag || "").replaceAll('"', "") || revision)], ["version", number(version)], ...(created ? [["created at revision", number(created)]] : []), ...(ends ? [["ends in", `${number(ends)} s or later`]] : []), ...(lease ? [["lease", lease]] : []), ["length", bytes(content.length)]];
    value.replaceChildren(h("h2", null, name(state.key)),
      h("dl", null, facts.map(([what, is]) => h("div", null, h("dt", null, what), h("dd", null, is)))),
      h("div", { class: "bar" }, h("span", { class: "group", role: "group", "aria-label": "Show as" }, modes.map((m) => h("button", { type: "button", "aria-pressed": String(m === mode), onclick: () => { state.mode = m; showValue(); } }, m))),
        h("span", { class: "group" }, tools(state.shown), h("button", { type: "button", onclick: () => save("value.bin", [content], "application/octet-stream") }, "Save"))),
      content.length ? h("pre", { class: "content", tabindex: 0, "aria-label": "Value" }, shown) : h("p", { class: "empty" }, "The value is empty: it has 0 bytes."),
      content.length > cut ? h("p", { class: "legend" }, `The first ${bytes(cut)} are shown; Save gives all of it.`) : "",
      h("p", { class: "legend" }, changed ? `It changed at ${clock(Date.now())}.` : state.stale ? "From this node's own copy, which may be old." : ""));
  }

  /** edit puts a form into the place of the value. */
  function edit(make, key) {
    state.editing = true;
    const end = (next) => () => { state.editing = false; next(); };
    const back = end(() => (key === null ? value.replaceChildren(hint()) : open(key)));
    const form = make({ key, at: key === null ? null : state.shown.tag, keep: mayWrite().keep, text: key === null ? "" : textOf(state.shown.content), read,
      done: (written) => end(() => { open(written); load(); })(), cancel: back });
    value.replaceChildren(h("h2", null, key === null ? "A new key" : name(key)), form.form);
    form.focus();
  }

  /** tools are the buttons of a value that may be written. */
  function tools({ content }) {
    const key = state.key, text = textOf(content);
    if (!mayWrite() || state.stale || key === "." || key === "..") return null;
    const asText = text !== null && content.length <= shownBytes && !/[\0\r]/.test(text); // a field of a form keeps no other
    return [asText ? h("button", { type: "button", onclick: () => edit(editor, key) }, "Edit") : null, h("button", { type: "button", onclick: () => edit(remover, key) }, "Delete")];
  }

  const hint = () => h("p", { class: "empty" }, "Choose a key to see its value. Bytes that are no text stand as %xx, and can be typed so.");

  function frame() {
    field.value = typed(state.prefix);
    const steps = separator.value ? state.prefix.split(separator.value) : [state.prefix];
    let path = "";
    crumbs.replaceChildren(h("a", { href: "#data" }, "all keys"), ...steps.flatMap((step, i) => {
      const last = i === steps.length - 1;
      path += step + (last ? "" : separator.value);
      return last && !step ? [] : [" › ", h("a", { href: `#data/${encode(path)}` }, name(last ? step : step + separator.value))];
    }));
  }

  return {
    enter(argument = "") {
      state.on = true;
      state.prefix = parse(argument);
      if (!root.firstChild) {
        root.append(h("form", { class: "bar", onsubmit: (e) => { e.preventDefault(); go(parse(field.value)); } }, h("label", { for: "prefix" }, "Keys that begin with"), field, h("button", { type: "submit" }, "List"),
          h("label", { for: "separator" }, "folders by ", separator), fresh), crumbs, note, said, h("div", { class: "browser" }, h("div", null, table, live), value));
        value.append(hint());
      }
      fresh.hidden = !mayWrite();
      frame();
      load();
    },
    update() {
      fresh.hidden = !mayWrite();
    },
    leave() {
      state.on = false;
      state.loads++;
      stopFollowing();
    },
  };
}

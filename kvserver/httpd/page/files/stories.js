// Explain: the stories of raftkv explain, and what of it other views show.

import { ask, askJSON, Refusal } from "./ask.js";
import { clock, h, save, seconds } from "./dom.js";
import { topicOf } from "./learn.js";
import { certainties, grave, title } from "./words.js";

/** spans are how far a person may look back. */
export const spans = [[60, "1 minute"], [600, "10 minutes"], [3600, "1 hour"], [86400, "1 day"]];

/** chosen is how far all views look back, in seconds. */
export const chosen = { seconds: 600 };

/** tell asks what happened. */
export const tell = (span) => askJSON(`/v1/explain?seconds=${span}`);

/** lookBack is the field in which a person says how far. */
export function lookBack(id, changed) {
  const field = h("select", { id, onchange: () => { chosen.seconds = Number(field.value); changed(); } },
    spans.map(([value, name]) => h("option", { value, selected: value === chosen.seconds }, name)));
  return h("label", { for: id }, "Look back ", field);
}

/** when says at what time a story was, how long it took and how certain it is. */
export const when = (story) => [clock(story.from_ms), story.to_ms - story.from_ms > 1500 ? "for " + seconds((story.to_ms - story.from_ms) / 1000) : "", certainties[story.certainty]].filter(Boolean).join(" · ");

export const tone = (story) => (story.kind === "quiet" ? "calm" : grave.includes(story.kind) ? "grave" : "");

function article(story) {
  const topic = topicOf(story.kind);
  return h("article", { class: `story ${tone(story)}` },
    h("h2", null, title(story) + " ", h("small", null, when(story))),
    h("p", null, story.sentences.join(" ")),
    h("p", { class: "more" }, story.kind === "quiet" ? null : h("a", { href: `#timeline/${story.from_ms}` }, "Show on the timeline"),
      topic ? h("a", { href: `#learn/${topic.id}` }, `Learn: ${topic.name}`) : null));
}

/** missing names the nodes that gave no events. */
export const missing = (told) => (told.missing || []).map((m) => h("p", { class: "note" }, `${m.node} gave no events: ${m.error}. Those that it saw last are in its data directory.`));

/** why says of an error what a person can do. */
export function why(error, right) {
  if (error instanceof Refusal && error.status === 401) return "This needs a token; enter one above.";
  if (error instanceof Refusal && error.status === 403) return `The token does not allow that: it needs the right ${right}.`;
  return error.message[0].toUpperCase() + error.message.slice(1) + ".";
}

/** view is Explain. */
export function view(root) {
  const out = h("div", { "aria-live": "off" });
  let last = "";
  async function show() {
    try {
      const told = await tell(chosen.seconds);
      const key = JSON.stringify([told.missing, told.stories]);
      if (key === last) return; // so that nothing moves under a person who reads
      last = key;
      out.replaceChildren(...missing(told), ...told.stories.map(article).reverse());
    } catch (error) {
      last = "";
      out.replaceChildren(h("p", { class: "note bad" }, why(error, "status")));
    }
  }
  const keep = (accept, name) => async () => {
    try {
      save(name, [await (await ask(`/v1/explain?seconds=${chosen.seconds}`, { headers: { Accept: accept } })).text()], accept);
    } catch (error) {
      out.prepend(h("p", { class: "note bad" }, why(error, "status")));
    }
  };
  const bar = () => h("form", { class: "bar", onsubmit: (e) => e.preventDefault() }, lookBack("explain-span", show),
    h("button", { type: "button", onclick: keep("text/plain", "raftkv-explain.txt") }, "Save as text"),
    h("button", { type: "button", onclick: keep("application/json", "raftkv-explain.json") }, "Save as JSON"));
  return {
    enter() {
      root.replaceChildren(h("p", { class: "lead" }, "What happened, newest first: who caused it, and what clients felt. The same is told by ", h("code", null, "raftkv explain"), "."), bar(), out);
      show();
    },
    refresh: show,
  };
}

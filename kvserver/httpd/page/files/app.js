// The page of raftkv: its node tells it what all nodes say and what happens, as a stream. It
// asks instead while there is no stream.

import { Gone, Refusal, askJSON, events, hasToken, useToken } from "./ask.js";
import { answering, cards, judge, leaderOf } from "./cluster.js";
import { byId, h, patch, seconds, setText } from "./dom.js";
import * as data from "./data.js";
import * as learn from "./learn.js";
import * as load from "./load.js";
import * as stories from "./stories.js";
import * as timeline from "./timeline.js";
import { title } from "./words.js";

const state = { view: "", spoken: "", since: 0, level: "", overview: null, refused: null, failures: 0, known: [], seen: new Map(), lately: "", latelyAt: 0 };
const stream = { id: "", documents: {}, open: false, stop: null, heard: 0, due: 0 };

const views = {
  cluster: { enter: () => render(), update: () => render() },
  timeline: timeline.view(byId("view-timeline")),
  explain: stories.view(byId("view-explain")),
  load: load.view(byId("view-load")),
  data: data.view(byId("view-data"), () => (state.overview?.page_writes ? { keep: answering(state.overview).some((n) => n.membership?.level?.level >= 3) } : null)),
  learn: learn.view(byId("view-learn"), () => state.overview),
};
const names = { events: "timeline" }; // of earlier versions, in bookmarks

/** route shows the view that stands in the fragment, with what stands behind the slash. */
function route() {
  const [name, ...rest] = location.hash.slice(1).split("/");
  const view = views[name] ? name : names[name] || "cluster", moved = view !== state.view;
  if (moved) views[state.view]?.leave?.();
  state.view = view;
  for (const v of Object.keys(views)) {
    byId(`view-${v}`).hidden = v !== view;
    if (v === view) byId(`to-${v}`).setAttribute("aria-current", "page");
    else byId(`to-${v}`).removeAttribute("aria-current");
  }
  views[view].enter(rest.length ? rest.join("/") : undefined);
}

function headline(level, text, more) {
  const key = level + text;
  if (state.level !== key) [state.level, state.since] = [key, Date.now()];
  const held = level === "bad" && Date.now() - state.since > 1000 ? ` For ${seconds((Date.now() - state.since) / 1000)}.` : "";
  const sign = { good: "✓", warn: "!", bad: "✕" }[level];
  patch(byId("headline"), h("p", { id: "headline", class: level }, h("span", { "aria-hidden": "true" }, sign + " "), text + ".", h("small", null, more + held)));
  if (state.spoken !== text) setText(byId("spoken"), (state.spoken = text));
  document.title = `${sign} raftkv ${state.overview ? state.overview.cluster : ""}`;
}

/**
 * safely returns a function that shows something, and says so where that fails: a mistake of one
 * part of the page neither ends the others nor looks like a node that is gone.
 */
function safely(show) {
  return (...args) => {
    try {
      show(...args);
    } catch (error) {
      setText(byId("mistake"), `A part of this page could not be shown (${error.message}). That is a mistake of raftkv; the rest goes on.`);
      byId("mistake").hidden = false;
    }
  };
}

/** shown takes an overview and shows it. */
function shown(overview) {
  state.overview = overview;
  [state.failures, state.refused] = [0, null];
  for (const n of overview.nodes) if (n.status) state.seen.set(n.node, { at: Date.now(), role: n.status.role, term: n.status.term });
  links();
  if (!stream.open) tellLately();
  draw();
}

/** failed takes why there is no overview, and shows that. */
function failed(error) {
  if (error instanceof Refusal) [state.refused, state.failures] = [error, 0];
  else if (error instanceof Gone) state.failures++;
  else throw error;
  draw();
}

function draw() {
  safely(() => load.sample(state.failures || state.refused ? null : state.overview))();
  safely(render)();
  if (state.view !== "cluster") safely(() => views[state.view].update?.())();
}

const rest = (ms) => new Promise((done) => setTimeout(done, ms));

/** follow shows what the stream tells, and asks while there is none. */
async function follow() {
  for (;;) {
    let pause = 500;
    if (document.hidden) await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
    [stream.stop, stream.heard] = [new AbortController(), Date.now()];
    try {
      await events("/v1/events", stream.id, stream.stop.signal, safely(told));
    } catch (error) {
      if (error instanceof Gone) state.failures++;
      else if (!(error instanceof Refusal)) throw error;
      else if (error.status === 429) pause = 3000; // others look, and there is no room for more
    }
    stream.open = false;
    if (document.hidden) continue;
    await askJSON("/v1/overview", { timeout: 3000 }).then(safely(shown), failed);
    await rest(pause);
  }
}

/** told takes an event of the stream. */
function told(name, id, data) {
  [stream.id, stream.heard] = [id || stream.id, Date.now()];
  if (name === "open") [stream.documents, stream.open] = [{}, true];
  else if (name === "status" || name === "story") {
    stream.open = true;
    stream.documents[name] = merge(stream.documents[name], data);
    if (name === "status") shown({ ...stream.documents.status, nodes: Object.values(stream.documents.status.nodes).sort((a, b) => (a.node < b.node ? -1 : 1)) });
    else lately(Object.values(stream.documents.story));
  }
  if ((name === "note" || name === "story") && !stream.due) stream.due = setTimeout(refresh, 200);
}

/** refresh lets the view ask again for what it shows. */
function refresh() {
  clearTimeout(stream.due);
  stream.due = 0;
  if (!document.hidden) views[state.view].refresh?.();
}

/** merge applies a merge patch (RFC 7396). */
function merge(to, patch) {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const merged = to !== null && typeof to === "object" && !Array.isArray(to) ? { ...to } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete merged[name];
    else merged[name] = merge(merged[name], value);
  }
  return merged;
}

function render() {
  const { overview, refused, failures } = state;
  if (failures > 1 || (failures && !overview)) {
    headline("bad", "The node that serves this page does not answer", state.known.length ? "Look through another one; the links are at the end of the page." : "Is it running?");
    return;
  }
  if (refused) {
    const unknown = refused.status === 401, denied = refused.status === 403;
    byId("token-form").hidden = !unknown && !denied;
    headline(unknown || denied ? "warn" : "bad", unknown ? (hasToken() ? "The token opens nothing here" : "This cluster asks who you are") : denied ? "Your token does not show the cluster" : "The node does not show the cluster",
      unknown ? "Enter a token with the right status to see the cluster." : denied ? "It needs the right status. What else it allows works." : refused.message + ".");
    return;
  }
  if (!overview) return;
  const verdict = judge(overview);
  headline(verdict.level, verdict.text, verdict.more);
  setText(byId("cluster"), overview.cluster === "raftkv" ? "" : overview.cluster); // which every cluster without a name has
  setText(byId("server"), overview.node);
  if (state.view === "cluster") patch(byId("cards"), cards(overview, verdict, state.seen));
}

/** links names the other nodes, so that they can be reached when this one is gone. */
function links() {
  const others = state.overview.nodes.filter((n) => n.address).map((n) => [n.node, n.address]);
  if (!others.length || JSON.stringify(others) === JSON.stringify(state.known)) return;
  state.known = others;
  byId("links").replaceChildren("The same through ", ...others.flatMap(([node, address], i) => [i ? ", " : "", h("a", { href: `${location.protocol}//${address}/ui/`, rel: "noreferrer" }, node)]), ".");
}

/** lately shows the newest of the stories. */
function lately(all) {
  const of = all.filter((story) => story.kind !== "quiet").sort((a, b) => a.from_ms - b.from_ms), grave = of.filter((story) => stories.tone(story)).slice(-2);
  const last = [...grave, ...of.filter((story) => !stories.tone(story)).slice(grave.length - 3)].sort((a, b) => b.from_ms - a.from_ms);
  patch(byId("lately"), h("div", { id: "lately" }, h("h2", null, "Lately"), last.length
    ? h("ul", null, last.map((story) => h("li", { class: `story ${stories.tone(story)}` }, h("h3", null, h("a", { href: `#timeline/${story.from_ms}` }, title(story)), " ", h("small", null, stories.when(story))), h("p", null, story.sentences.join(" ")))))
    : h("p", { class: "story calm" }, "Nothing happened in the last 10 minutes.")));
}

/** tellLately asks for stories, where no stream tells them, when something has changed, and now and then. */
function tellLately() {
  const { overview } = state, now = Date.now();
  const key = overview.nodes.map((n) => `${n.node} ${Boolean(n.status)}`).join() + (leaderOf(overview)?.term ?? "none");
  if (key !== state.lately) [state.lately, state.latelyAt] = [key, Math.min(state.latelyAt, now - 28_500)]; // events of the others come a little later
  if (now - state.latelyAt < 30_000) return;
  state.latelyAt = now;
  stories.tell(600).then((all) => lately(all.stories), () => { state.latelyAt = now - 25_000; });
}

function dark() {
  const set = document.documentElement.dataset.theme;
  return set ? set === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

byId("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  nameTheme();
});
const nameTheme = () => setText(byId("theme"), dark() ? "Light" : "Dark");
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
nameTheme();

byId("token-show").addEventListener("click", () => {
  byId("token-form").hidden = false;
  byId("token").focus();
});
byId("token-form").addEventListener("submit", (e) => {
  e.preventDefault();
  useToken(byId("token").value.trim());
  byId("token").value = "";
  byId("token-form").hidden = true;
  stream.stop?.abort();
  route();
});

addEventListener("hashchange", route);
let resizing = 0;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => views[state.view].resize?.(), 150);
});
document.addEventListener("visibilitychange", () => { if (document.hidden) stream.stop?.abort(); });
setInterval(() => { if (Date.now() - stream.heard > 3000) stream.stop?.abort(); }, 1000); // a node that hangs says nothing
let beats = 0;
setInterval(() => { if (!stream.open || ++beats % 5 === 0) refresh(); }, 3000); // time goes on, too
route();
follow();

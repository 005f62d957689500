// Timeline: a lane for each node with its events, in the order that the protocol gives
// them; the tenures of leaders as bars, and stories as spans.

import { byId, clock, count, h, instant, s } from "./dom.js";
import { topicOf } from "./learn.js";
import { chosen, lookBack, missing, tell, tone, when, why } from "./stories.js";
import { say, title } from "./words.js";

// shapes say how a kind of event is drawn: a path around (0,0), and a class.
const round = "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0";
const small = "M-2.5,0a2.5,2.5 0 1,0 5,0a2.5,2.5 0 1,0 -5,0";
const tiny = "M-1.5,0a1.5,1.5 0 1,0 3,0a1.5,1.5 0 1,0 -3,0";
const star = "M0,-7L2,-2L7,-2L3,2L4.5,7L0,4L-4.5,7L-3,2L-7,-2L-2,-2Z";
const up = "M0,-5L5,4L-5,4Z";
const diamond = "M0,-5L5,0L0,5L-5,0Z";
const square = "M-4,-4H4V4H-4Z";
const cross = "M-5,-3L-3,-5L0,-2L3,-5L5,-3L2,0L5,3L3,5L0,2L-3,5L-5,3L-2,0Z";
const shapes = {
  elected: [star, "lead"], followed: [small, "lead"], first_commit: [round, "lead"], campaign: [up, "strong"], pre_vote: [up, ""],
  timeout: [up, "trouble"], suspected: [diamond, "trouble"], stepped_down: [cross, "trouble"], transfer: [up, "lead"], transfer_taken: [up, "lead"],
  ended: [diamond, "trouble"], unreachable: [diamond, "trouble"], connected: [diamond, ""], accepted: [diamond, ""], silent: [diamond, "trouble"], heard: [diamond, ""],
  slow_save: [square, "trouble"], slow_commit: [square, "trouble"], disk_hangs: [square, "trouble"], disk_back: [square, ""],
  loop_late: [round, "trouble"], collector_pause: [round, "trouble"], started: [round, "strong"], continued: [round, "trouble"],
  end_asked: [cross, "strong"], ended_in_order: [cross, "strong"], failed: [cross, "trouble"], truncated: [cross, "trouble"], quarantined: [cross, "trouble"],
};
const idOf = (e) => `${e.node} ${e.boot} ${e.seq}`;
const shownRows = 300;

/** view is Timeline. */
export function view(root) {
  const lanes = h("div", { id: "lanes" }), told = h("div"), rows = h("div");
  const state = { told: null, zoom: null, story: null, event: "" };
  const range = () => state.zoom || whole(state.told);

  function render() {
    if (!state.told) return;
    const focused = document.activeElement?.id;
    const events = state.told.events.filter((e) => e.kind !== "minute" && e.kind !== "minute_followed");
    const scale = range(), evidence = new Set((state.story?.evidence || []).map(idOf));
    lanes.replaceChildren(draw(state, events, scale, evidence, lanes.clientWidth - 26, pick, point));
    told.replaceChildren(...missing(state.told), ...(state.story ? [chosenStory(state.story, all)] : []));
    rows.replaceChildren(table(events.filter((e) => e.at_ms >= scale.from && e.at_ms <= scale.to), evidence, state.event, Boolean(state.story)));
    if (focused) byId(focused)?.focus({ preventScroll: true });
  }

  async function load() {
    try {
      state.told = await tell(chosen.seconds);
      render();
    } catch (error) {
      lanes.replaceChildren(h("p", { class: "note bad" }, why(error, "status")));
    }
  }

  function pick(story) {
    state.story = story;
    const margin = Math.max(100, (story.to_ms - story.from_ms) * 0.3); // what it rests on may go on for long
    state.zoom = { from: story.from_ms - margin, to: story.to_ms + margin };
    render();
  }

  function point(e) {
    state.event = idOf(e);
    render();
    document.querySelector("tr.at")?.scrollIntoView({ block: "nearest" });
  }

  function all() {
    Object.assign(state, { zoom: null, story: null, event: "" });
    load();
  }

  // factor below 1 looks closer; by moves to the right, in widths.
  const zoom = (factor, by) => () => {
    if (!state.told) return;
    const { from, to } = range(), half = Math.max(25, ((to - from) / 2) * factor), middle = (from + to) / 2 + by * (to - from);
    state.zoom = { from: middle - half, to: middle + half };
    render();
  };
  const press = (text, name, act) => h("button", { type: "button", "aria-label": name, title: name, onclick: act }, text);
  const bar = () => h("form", { class: "bar", onsubmit: (e) => e.preventDefault() }, lookBack("timeline-span", all),
    h("span", { class: "group" }, press("+", "look closer", zoom(0.5, 0)), press("−", "look from further away", zoom(2, 0)),
      press("‹", "earlier", zoom(1, -0.5)), press("›", "later", zoom(1, 0.5)), h("button", { type: "button", title: "the whole time, live", onclick: all }, "All")));

  return {
    enter(argument) {
      root.replaceChildren(h("p", { class: "lead" }, "What each node noted, in the order that the protocol gives. Choose a story to look at it closely."), bar(), lanes, told, rows);
      if (argument === undefined) return state.zoom ? render() : load();
      return load().then(() => {
        const story = state.told?.stories.find((one) => String(one.from_ms) === argument && one.kind !== "quiet");
        if (story) pick(story);
      });
    },
    refresh() {
      if (!state.zoom && !state.event && !getSelection().toString()) load();
    },
    resize: render,
  };
}

/** whole is the time in which anything happened, 10 s at least. */
function whole(told) {
  const first = told.events.find((e) => !e.kind.startsWith("minute"))?.at_ms ?? told.to_ms;
  return { from: Math.max(told.from_ms, Math.min(first, told.to_ms - 10000) - 1000), to: told.to_ms };
}

function draw(state, events, scale, evidence, room, pick, point) {
  const { told } = state;
  const width = Math.max(280, Math.min(1160, room)), left = 40;
  const nodes = [...new Set([...told.events.map((e) => e.node), ...(told.missing || []).map((m) => m.node)])].sort();
  const x = (at) => left + Math.max(0, Math.min(1, (at - scale.from) / (scale.to - scale.from))) * (width - left - 12);
  const inside = (e) => e.at_ms >= scale.from && e.at_ms <= scale.to;
  const labels = place(told.stories.filter((one) => one.kind !== "quiet" && one.to_ms >= scale.from && one.from_ms <= scale.to), x, width);
  const top = 24 + 18 * labels.rows;
  const y = (node) => top + 22 + 44 * nodes.indexOf(node);
  const height = top + 44 * nodes.length + 8;
  const parts = [s("defs", null, s("marker", { id: "tip", viewBox: "0 0 6 6", refX: 5, refY: 3, markerWidth: 5, markerHeight: 5, orient: "auto" }, s("path", { class: "tip", d: "M0,0L6,3L0,6Z" })))];
  const steps = width < 600 ? 2 : 6, time = scale.to - scale.from < 8000 ? instant : clock;
  for (let i = 0; i <= steps; i++) {
    const at = scale.from + ((scale.to - scale.from) * i) / steps;
    parts.push(s("line", { class: "grid", x1: x(at), x2: x(at), y1: 16, y2: height - 4 }),
      s("text", { x: x(at), y: 11, "text-anchor": i === 0 ? "start" : i === steps ? "end" : "middle" }, time(at)));
  }
  for (const node of nodes) parts.push(s("line", { class: "lane", x1: left, x2: width - 12, y1: y(node), y2: y(node) }), s("text", { class: "name", x: 0, y: y(node) + 4 }, node));
  parts.push(tenures(told, scale, x, y), labels.placed.map((label) => spanOf(label, state.story, pick)));
  const seen = events.filter(inside);
  if (scale.to - scale.from < 30_000) parts.push(arrows(seen, x, y));
  const known = new Map(told.stories.flatMap((story) => (story.evidence || []).map((e) => [idOf(e), tone(story)])));
  for (const e of seen) {
    const id = idOf(e);
    let [path, kind] = shapes[e.kind] || [small, ""];
    if (kind === "trouble" && !known.has(id)) [path, kind] = [tiny, ""];
    else if (kind === "trouble" && known.get(id) !== "grave") kind = "care";
    const marked = evidence.has(id) || state.event === id ? "on" : evidence.size ? "off" : "";
    parts.push(s("path", { class: `event ${kind} ${marked}`, d: path, transform: `translate(${x(e.at_ms).toFixed(1)},${y(e.node)})`, onclick: () => point(e) },
      s("title", null, `${instant(e.at_ms)} ${e.node} ${say(e)}`)));
  }
  return h("figure", null, s("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `Lanes of ${count(nodes.length, "node")}; the table below holds the same events` }, parts),
    h("figcaption", { class: "legend" }, "▬ leads · ★ elected · ▲ election · ◆ connection · ■ disk · ● process · ✕ end · in colour: a story tells of it"));
}

/** place finds a row for each story, with room for its title. */
function place(stories, x, width) {
  const ends = [], placed = [];
  for (const story of stories.slice(-12)) {
    const from = x(story.from_ms), wide = Math.max(7, x(story.to_ms) - from), text = title(story), room = text.length * 6.4 + 8;
    const behind = from + wide + room < width, inside = wide > room;
    const begin = behind || inside ? from : from - room, end = inside ? from + wide : behind ? from + wide + room : from + wide;
    let row = ends.findIndex((e) => e < begin);
    if (row < 0) row = ends.length;
    ends[row] = end + 4;
    placed.push({ story, from, wide, row, text: begin < 0 ? "" : text, at: inside ? from + 5 : behind ? from + wide + 5 : from - 5, anchor: behind || inside ? "start" : "end" });
  }
  return { placed, rows: ends.length };
}

function spanOf({ story, from, wide, row, text, at, anchor }, picked, pick) {
  const on = picked && picked.from_ms === story.from_ms && picked.kind === story.kind;
  const choose = () => pick(story);
  return s("g", {
    class: `span ${tone(story)} ${on ? "on" : ""}`, id: `span-${story.kind}-${story.from_ms}`, tabindex: 0, role: "button", "aria-label": title(story), onclick: choose,
    onkeydown: (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); choose(); } },
  }, s("rect", { x: from, y: 19 + 18 * row, width: wide, height: 12, rx: 3 }), text ? s("text", { x: at, y: 29 + 18 * row, "text-anchor": anchor }, text) : null);
}

/** tenures draws who led when. */
function tenures(told, scale, x, y) {
  const found = [];
  for (const e of told.events) {
    const leader = { elected: e.node, minute: e.node, followed: e.peer, minute_followed: e.peer }[e.kind];
    if (leader && !found.some((r) => r.term === e.term)) found.push({ leader, term: e.term, at: e.kind.startsWith("minute") ? told.from_ms : e.at_ms });
  }
  found.sort((a, b) => a.term - b.term);
  return found.filter((r) => Number.isFinite(y(r.leader))).map((r, i) => {
    const lost = (one) => one.from_ms >= r.at && (one.kind === "majority_gone" || (one.kind.startsWith("leader_") && one.culprits?.includes(r.leader)));
    const ends = [...told.stories.filter(lost).map((one) => one.from_ms), ...told.events.filter((e) => e.kind === "stepped_down" && e.node === r.leader && e.term === r.term).map((e) => e.at_ms)];
    const to = Math.min(i + 1 < found.length ? found[i + 1].at : scale.to, ...ends), from = x(r.at);
    if (to < scale.from || r.at > scale.to) return null;
    return s("g", null, s("line", { class: "tenure", x1: from, x2: x(to), y1: y(r.leader), y2: y(r.leader) }, s("title", null, `${r.leader} leads term ${r.term}`)),
      x(to) - from > 70 ? s("text", { class: "term", x: from + 9, y: y(r.leader) - 9 }, `term ${r.term}`) : null);
  });
}

/** arrows draws which event led to which on another node. */
function arrows(events, x, y) {
  const found = [], key = (kind, node, term) => `${kind} ${node} ${term}`, last = new Map();
  const between = (a, b) => { if (a && a.node !== b.node) found.push([a, b]); };
  for (const e of events) {
    last.set(key(e.kind, e.node, e.term), e);
    if (e.kind === "vote_granted") between(last.get(key("campaign", e.peer, e.term)), e);
    if (e.kind === "followed") between(last.get(key("elected", e.peer, e.term)), e);
    if (e.kind === "transfer_taken") between(events.findLast((one) => one.kind === "transfer" && one.node === e.peer && one.at_ms <= e.at_ms + 50), e);
    if (e.kind === "elected") for (const one of events) if (one.kind === "vote_granted" && one.peer === e.node && one.term === e.term) between(one, e);
  }
  if (found.length > 150) return [];
  return found.map(([a, b]) => s("line", { class: "arrow", x1: x(a.at_ms), y1: y(a.node), x2: x(b.at_ms), y2: y(b.node) + Math.sign(y(a.node) - y(b.node)) * 6, "marker-end": "url(#tip)" }));
}

function chosenStory(story, all) {
  return h("article", { class: `story on ${tone(story)}` }, h("h2", null, title(story) + " ", h("small", null, when(story))), h("p", null, story.sentences.join(" ")),
    h("p", { class: "more" }, h("span", { class: "legend" }, `It rests on ${count((story.evidence || []).length, "event")}, which are marked.`), h("button", { type: "button", onclick: all }, "Back to the whole time")));
}

/** table holds the events as sentences: the newest first, and those of a story as they came. */
function table(events, evidence, pointed, asTheyCame) {
  const shown = events.slice(-shownRows);
  if (!asTheyCame) shown.reverse();
  if (!shown.length) return h("p", { class: "note" }, "No event in this time. A cluster to which nothing happens notes nothing but a minute now and then.");
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Events" }, h("table", null,
    h("caption", null, (shown.length < events.length ? `The last ${count(shown.length, "event")} of ${count(events.length, "event")}` : count(shown.length, "event")) + (asTheyCame ? ", as they came" : ", the newest first")),
    h("thead", null, h("tr", null, ["When", "Node", "What happened"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", null, shown.map((e) => {
      const topic = topicOf(e.kind), id = idOf(e);
      return h("tr", { class: id === pointed ? "at" : evidence.has(id) ? "on" : "" }, h("td", null, instant(e.at_ms)), h("td", null, e.node),
        h("td", null, say(e), topic ? [" ", h("a", { class: "quiet", href: `#learn/${topic.id}`, "aria-label": `${topic.paper}, learn: ${topic.name}` }, topic.paper)] : null));
    }))));
}

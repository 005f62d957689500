// What happened: a lane for each node, events as shapes, stories as spans.

import { byId, clock, h, s, seconds } from "./dom.js";

// shape says how a kind of event is drawn: a path around (0,0), and a class.
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

const words = (text) => text.replaceAll("_", " ");

function describe(e) {
  let text = `${clock(e.at_ms)} ${e.node}: ${words(e.kind)}`;
  if (e.peer) text += ` ${e.peer}`;
  if (e.why) text += `, ${words(e.why)}`;
  if (e.term) text += `, term ${e.term}`;
  if (e.index) text += `, index ${e.index}`;
  return text;
}

/** draw shows an answer of /v1/explain. Choosing a story marks its events. */
export function draw(told) {
  const events = told.events.filter((e) => e.kind !== "minute" && e.kind !== "minute_followed");
  const first = events.length ? events[0].at_ms : told.from_ms;
  const scale = { from: Math.max(told.from_ms, Math.min(first, told.to_ms - 10000) - 1000), to: told.to_ms };
  const marks = new Map();
  byId("lanes").replaceChildren(lanes(told, events, scale, marks), table(events));
  byId("stories").replaceChildren(...stories(told, marks));
}

function lanes(told, events, scale, marks) {
  const width = Math.max(320, Math.min(1160, byId("lanes").clientWidth - 26)), left = 44, top = 22 + 16 * Math.min(told.stories.length, 6);
  const nodes = [...new Set([...told.events.map((e) => e.node), ...(told.missing || []).map((m) => m.node)])].sort();
  const x = (at) => left + Math.max(0, Math.min(1, (at - scale.from) / (scale.to - scale.from))) * (width - left - 12);
  const y = (node) => top + 20 + 42 * nodes.indexOf(node);
  const height = top + 42 * nodes.length + 14;
  const parts = [];
  const steps = width < 600 ? 3 : 6;
  for (let i = 0; i <= steps; i++) {
    const at = scale.from + ((scale.to - scale.from) * i) / steps;
    parts.push(s("line", { class: "grid", x1: x(at), x2: x(at), y1: 16, y2: height - 8 }),
      s("text", { x: x(at), y: 11, "text-anchor": i === 0 ? "start" : i === steps ? "end" : "middle" }, clock(at)));
  }
  for (const node of nodes) parts.push(s("line", { class: "lane", x1: left, x2: width, y1: y(node), y2: y(node) }), s("text", { x: 0, y: y(node) + 4 }, node));
  parts.push(...reigns(told, scale, x, y), ...spans(told, scale, x, marks));
  const evidence = new Set(told.stories.flatMap((story) => (story.evidence || []).map((e) => `${e.node} ${e.boot} ${e.seq}`)));
  for (const e of events) {
    if (e.at_ms < scale.from) continue;
    let [path, kind] = shapes[e.kind] || [small, ""];
    if (kind === "trouble" && !evidence.has(`${e.node} ${e.boot} ${e.seq}`)) [path, kind] = [tiny, ""];
    const mark = s("path", { class: `event ${kind}`, d: path, transform: `translate(${x(e.at_ms).toFixed(1)},${y(e.node)})` }, s("title", null, describe(e)));
    marks.set(`${e.node} ${e.boot} ${e.seq}`, mark);
    parts.push(mark);
  }
  return h("figure", null, s("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `Events of ${nodes.length} nodes; the table below holds them, too` }, parts),
    h("figcaption", { class: "legend" }, "★ elected, with its reign as a bar · ▲ election · ◆ connection · ■ disk · ● process · ✕ end; red: a story tells of it"));
}

function reigns(told, scale, x, y) {
  const found = [];
  for (const e of told.events) {
    const leader = { elected: e.node, minute: e.node, followed: e.peer, minute_followed: e.peer }[e.kind];
    if (leader && !found.some((r) => r.term === e.term)) found.push({ leader, term: e.term, at: e.kind.startsWith("minute") ? scale.from : e.at_ms });
  }
  found.sort((a, b) => a.term - b.term);
  return found.filter((r) => Number.isFinite(y(r.leader))).map((r, i) => {
    const to = i + 1 < found.length ? found[i + 1].at : scale.to;
    return to < scale.from ? null : s("line", { class: "reign", x1: x(r.at), x2: x(to), y1: y(r.leader), y2: y(r.leader) }, s("title", null, `${r.leader} leads term ${r.term}`));
  }).filter(Boolean);
}

function spans(told, scale, x, marks) {
  return told.stories.slice(-6).map((story, i) => {
    const index = Math.max(0, told.stories.length - 6) + i, from = x(story.from_ms), to = Math.max(x(story.to_ms), from + 6);
    const choose = () => select(told, index, marks);
    return s("rect", {
      class: "span", id: `span-${index}`, x: from, y: 18 + 16 * i, width: to - from, height: 11, rx: 3, tabindex: 0, role: "button", "aria-label": words(story.kind),
      onclick: choose, onkeydown: (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); choose(); } },
    }, s("title", null, words(story.kind)));
  });
}

const certainties = { certain: "", likely: "likely", unknown: "cause not known" };

function stories(told, marks) {
  const missing = (told.missing || []).map((m) => h("p", null, `${m.node} gave no events: ${m.error}.`));
  return [...missing, ...told.stories.map((story, i) => h("article", { class: story.kind === "quiet" ? "story calm" : "story", id: `story-${i}` },
    h("h2", null, `${words(story.kind)}${story.culprits ? ": " + story.culprits.join(", ") : ""} `,
      h("small", null, [clock(story.from_ms), story.to_ms - story.from_ms > 1500 ? "for " + seconds((story.to_ms - story.from_ms) / 1000) : "", certainties[story.certainty]].filter(Boolean).join(" · "))),
    h("p", null, story.sentences.join(" ")),
    story.kind === "quiet" ? null : h("button", { type: "button", onclick: () => select(told, i, marks) }, "Show its events"))).reverse()];
}

function select(told, index, marks) {
  for (const on of document.querySelectorAll(".on")) on.classList.remove("on");
  for (const id of [`story-${index}`, `span-${index}`]) byId(id)?.classList.add("on");
  for (const e of told.stories[index].evidence || []) marks.get(`${e.node} ${e.boot} ${e.seq}`)?.classList.add("on");
  byId(`story-${index}`).scrollIntoView({ block: "nearest" });
}

function table(events) {
  return h("details", null, h("summary", null, `All ${events.length} events as a table`),
    h("table", null, h("thead", null, h("tr", null, ["when", "node", "what", "details"].map((t) => h("th", { scope: "col" }, t)))),
      h("tbody", null, events.map((e) => h("tr", null, h("td", null, clock(e.at_ms)), h("td", null, e.node), h("td", null, words(e.kind)),
        h("td", null, describe(e).split(": ").slice(1).join(": ")))))));
}

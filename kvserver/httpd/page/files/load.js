// Load: what the cluster serves, and how long it takes. The page keeps ten minutes of it.

import { answering, leaderOf } from "./cluster.js";
import { clock, figure, h, patch, s } from "./dom.js";

const kept = 600_000; // milliseconds
const samples = [];

const millis = (secondsOf) => 1000 * (secondsOf || 0);

/** sample notes the figures of an overview, once a second; null if none could be had. */
export function sample(overview) {
  const now = Date.now(), last = samples.at(-1);
  if (last && now - last.at < 950) return;
  const all = overview ? answering(overview) : [];
  const leader = overview && leaderOf(overview); // it serves every write, whichever node was asked
  const point = { at: now, term: leader?.term };
  if (all.length) {
    point.reads = all.reduce((total, n) => total + n.load.reads.per_second, 0);
    point.sync = millis(Math.max(...all.map((n) => n.disk?.fsync_p99_seconds || 0)));
    point.open = all.reduce((total, n) => total + n.load.connections.open, 0);
    point.busy = all.reduce((total, n) => total + n.load.writes.in_flight + n.load.reads.in_flight + n.load.deletes.in_flight, 0);
  }
  if (leader) {
    point.writes = leader.load.writes.per_second + leader.load.deletes.per_second;
    point.commit = millis(leader.log.commit_p99_seconds);
    point.lag = Math.max(0, ...(leader.peers || []).map((p) => p.lag));
    point.apply = Math.max(0, ...all.map((n) => n.load.apply_lag));
  }
  samples.push(point);
  while (samples[0].at < now - kept) samples.shift();
}

/** view is Load. */
export function view(root) {
  const out = h("div", { class: "charts" });
  const render = () => patch(out, h("div", { class: "charts" },
    chart("Requests a second", "/s", [["writes", "writes", ""], ["reads", "reads", "b"]]),
    chart("Slowest hundredth", "ms", [["commit", "commits", ""], ["sync", "syncs of the slowest disk", "b"]]),
    chart("Behind", "entries", [["lag", "slowest follower", ""], ["apply", "slowest store", "b"]]),
    chart("Clients", "", [["open", "connections", ""], ["busy", "requests in flight", "b"]])));
  return {
    enter() {
      root.replaceChildren(h("p", { class: "lead" }, "Of the whole cluster, once a second, for ten minutes at most while this page is open. ┆ marks a change of leader; a gap, that nobody answered."), out);
      render();
    },
    update: render,
    resize: render,
  };
}

function chart(name, unit, lines) {
  const width = Math.max(280, Math.min(560, document.documentElement.clientWidth - 60)), height = 150, left = 46, right = width - 8;
  const values = samples.flatMap((p) => lines.map(([key]) => p[key] ?? 0));
  const most = nice(Math.max(1, ...values)), latest = samples.at(-1) || {};
  const end = latest.at || Date.now(), begin = Math.min(samples[0]?.at || end, end - 60_000);
  const x = (at) => (left + ((at - begin) / (end - begin)) * (right - left)).toFixed(1), y = (v) => (height - 22 - (v / most) * (height - 36)).toFixed(1);
  const now = (key) => (latest[key] === undefined ? "–" : `${figure(latest[key])} ${unit}`.trim());
  let term;
  const changes = samples.filter((p) => {
    const before = term;
    term = p.term ?? term;
    return before !== undefined && term > before;
  });
  return h("figure", { class: "chart" }, h("h2", null, name),
    s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${name}: now ${lines.map(([key, of]) => `${of} ${now(key)}`).join(", ")}` },
      [0, 0.5, 1].map((part) => s("g", null, s("line", { class: "grid", x1: left, x2: right, y1: y(part * most), y2: y(part * most) }),
        s("text", { x: left - 6, y: Number(y(part * most)) + 4, "text-anchor": "end" }, figure(part * most)))),
      s("text", { x: left, y: height - 4 }, clock(begin)), s("text", { x: right, y: height - 4, "text-anchor": "end" }, clock(end)),
      s("g", null, changes.map((p) => s("line", { class: "change", x1: x(p.at), x2: x(p.at), y1: 10, y2: height - 22 }))),
      lines.map(([key, , style]) => s("path", { class: `line ${style}`, d: path(key, x, y) }))),
    h("table", null, h("thead", { class: "unseen" }, h("tr", null, ["what", "now", "highest"].map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", null, lines.map(([key, of, style]) => h("tr", null, h("th", { scope: "row" }, h("span", { class: `swatch ${style}` }), of), h("td", null, `now ${now(key)}`),
        h("td", null, `highest ${figure(Math.max(0, ...samples.map((p) => p[key] ?? 0)))}`))))));
}

/** path draws the samples that have a value; a gap where none has. */
function path(key, x, y) {
  let d = "", drawn = false;
  samples.forEach((p, i) => {
    if (p[key] === undefined || (i > 0 && p.at - samples[i - 1].at > 5000)) drawn = false;
    if (p[key] === undefined) return;
    d += `${drawn ? "L" : "M"}${x(p.at)},${y(p[key])}`;
    drawn = true;
  });
  return d || "M0,0";
}

/** nice is a round number above the highest value. */
function nice(highest) {
  const unit = 10 ** Math.floor(Math.log10(highest));
  return [1, 2, 5, 10].map((n) => n * unit).find((n) => n >= highest);
}

// The page of raftkv: asks its node twice a second what all nodes say, and shows it.

import { cards, judge } from "./cluster.js";
import { byId, clock, h, number, s, seconds, setText } from "./dom.js";
import { draw } from "./timeline.js";

const views = ["cluster", "events", "load"];
const state = { view: "cluster", spoken: "", since: 0, level: "", overview: null, samples: [], failures: 0, asking: false, known: [] };

async function fetchJSON(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store", signal: AbortSignal.timeout(8000) });
  if (!answer.ok) throw new Error(`${path} answers ${answer.status}`);
  return answer.json();
}

function show(view) {
  state.view = views.includes(view) ? view : "cluster";
  for (const v of views) {
    byId(`view-${v}`).hidden = v !== state.view;
    byId(`to-${v}`).setAttribute("aria-pressed", String(v === state.view));
  }
  if (state.view === "events") explain();
  render();
}

function headline(level, text, more) {
  const key = level + text;
  if (state.level !== key) { state.level = key; state.since = Date.now(); }
  const held = level === "bad" ? ` For ${seconds((Date.now() - state.since) / 1000)}.` : "";
  const line = byId("headline");
  line.className = level;
  line.replaceChildren({ good: "✓ ", warn: "! ", bad: "✕ " }[level] + text + ".", h("small", null, more + held));
  if (state.spoken !== text) { state.spoken = text; setText(byId("spoken"), text); }
  document.title = `${{ good: "✓", warn: "!", bad: "✕" }[level]} raftkv ${state.overview ? state.overview.cluster : ""}`;
}

async function poll() {
  setTimeout(poll, document.hidden ? 3000 : 500);
  if (state.asking) return;
  state.asking = true;
  try {
    state.overview = await fetchJSON("/v1/overview");
    state.failures = 0;
  } catch {
    state.failures++;
  }
  state.asking = false;
  if (!state.failures) {
    sample();
    links();
  }
  render();
}

function render() {
  const overview = state.overview;
  if (state.failures > 1 || !overview) {
    if (state.failures) headline("bad", "The node that serves this page does not answer", state.known.length ? "Look through another one; the links are at the end of the page." : "Is it running?");
    return;
  }
  const verdict = judge(overview);
  headline(verdict.level, verdict.text, verdict.more);
  setText(byId("cluster"), overview.cluster);
  setText(byId("server"), overview.node);
  if (state.view === "cluster") byId("view-cluster").replaceChildren(cards(overview, verdict));
  if (state.view === "load") byId("view-load").replaceChildren(...charts());
}

function links() {
  const others = state.overview.nodes.filter((n) => n.address).map((n) => [n.node, n.address]);
  if (!others.length || JSON.stringify(others) === JSON.stringify(state.known)) return;
  state.known = others;
  byId("links").replaceChildren("The same through ", ...others.flatMap(([node, address], i) => [i ? ", " : "", h("a", { href: `${location.protocol}//${address}/ui/` }, node)]), ".");
}

async function explain() {
  const span = byId("span").value;
  byId("as-json").setAttribute("href", `/v1/explain?seconds=${span}`);
  try {
    draw(await fetchJSON(`/v1/explain?seconds=${span}`));
  } catch (error) {
    byId("stories").replaceChildren(h("p", { class: "bad" }, `The stories cannot be had: ${error.message}.`));
  }
}

const kept = 600_000; // milliseconds of samples

function sample() {
  const now = Date.now(), last = state.samples.at(-1);
  if (last && now - last.at < 1000) return;
  const all = state.overview.nodes.filter((n) => n.status).map((n) => n.status);
  const leader = all.find((n) => n.role === "leader"); // it serves every write, whichever node was asked
  state.samples.push({
    at: now, writes: leader ? leader.load.writes.per_second + leader.load.deletes.per_second : 0,
    reads: all.reduce((total, n) => total + n.load.reads.per_second, 0),
    sync: 1000 * Math.max(0, ...all.map((n) => n.disk?.fsync_p99_seconds || 0)), commit: 1000 * (leader?.log.commit_p99_seconds || 0),
  });
  while (state.samples[0].at < now - kept) state.samples.shift();
}

function charts() {
  return [
    chart("Requests a second", "/s", [["writes", "writes", ""], ["reads", "reads", "b"]]),
    chart("Slowest hundredth, in milliseconds", "ms", [["commit", "commits", ""], ["sync", "syncs of the slowest disk", "b"]]),
    h("p", { class: "legend" }, "Kept by this page, for ten minutes at most, while it is open."),
  ];
}

function chart(title, unit, lines) {
  const width = Math.max(280, byId("view-load").clientWidth - 28), height = 150, left = 46, samples = state.samples;
  const most = Math.max(1, ...samples.flatMap((p) => lines.map(([key]) => p[key])));
  const end = samples.at(-1)?.at || Date.now(), begin = Math.min(samples[0]?.at || end, end - 60_000);
  const x = (at) => left + ((at - begin) / (end - begin)) * (width - left - 6), y = (v) => height - 22 - (v / most) * (height - 36);
  const latest = samples.at(-1) || {};
  return h("figure", { class: "chart" }, h("h2", null, title),
    s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}: now ${lines.map(([key, name]) => `${name} ${number(latest[key] || 0)} ${unit}`).join(", ")}` },
      [0, 0.5, 1].map((part) => [s("line", { class: "grid", x1: left, x2: width, y1: y(part * most), y2: y(part * most) }),
        s("text", { x: left - 6, y: y(part * most) + 4, "text-anchor": "end" }, most < 10 ? (part * most).toFixed(1) : number(part * most))]),
      s("text", { x: left, y: height - 4 }, clock(begin)), s("text", { x: width, y: height - 4, "text-anchor": "end" }, clock(end)),
      lines.map(([key, , style]) => s("polyline", { class: `line ${style}`, points: samples.map((p) => `${x(p.at).toFixed(1)},${y(p[key]).toFixed(1)}`).join(" ") }))),
    h("table", null, h("tbody", null, lines.map(([key, name, style]) => h("tr", null, h("td", null, (style ? "╌ " : "─ ") + name), h("td", null, `now ${most < 10 ? (latest[key] || 0).toFixed(1) : number(latest[key] || 0)} ${unit}`),
      h("td", null, `most ${number(Math.max(0, ...samples.map((p) => p[key])))} ${unit}`))))));
}

function dark() {
  const set = document.documentElement.dataset.theme;
  return set ? set === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

byId("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  setText(byId("theme"), dark() ? "Light" : "Dark");
});
setText(byId("theme"), dark() ? "Light" : "Dark");
for (const v of views) byId(`to-${v}`).addEventListener("click", () => { location.hash = v; });
addEventListener("hashchange", () => show(location.hash.slice(1)));
byId("span").addEventListener("change", explain);
byId("again").addEventListener("click", explain);
byId("span-form").addEventListener("submit", (e) => { e.preventDefault(); explain(); });
setInterval(() => { if (state.view === "events" && !document.hidden && !document.querySelector(".story.on, #lanes details[open]")) explain(); }, 3000);
show(location.hash.slice(1));
poll();

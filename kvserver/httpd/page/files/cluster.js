// Who leads, who lags, and whether writes work.

import { bytes, h, list, number, s, seconds } from "./dom.js";

const fresh = 1500; // milliseconds after which a follower counts as not heard
const many = 1000; // entries that a follower may lack without a word

/** judge says of an overview what a person must know first. */
export function judge(overview) {
  const nodes = overview.nodes;
  const there = nodes.filter((n) => n.status);
  const away = nodes.filter((n) => !n.status).map((n) => n.node);
  const needed = Math.floor(nodes.length / 2) + 1;
  const leaders = there.filter((n) => n.status.role === "leader").sort((a, b) => b.status.term - a.status.term);
  const leader = leaders[0];
  const short = `${there.length} of ${nodes.length} nodes answer` + (away.length ? `; ${list(away)} ${away.length > 1 ? "do" : "does"} not` : "");
  if (!leader) {
    return { level: "bad", leader: "", text: "No leader: nobody can write", more: `${short}; ${needed} are needed.` };
  }
  const name = leader.node, of = leader.status;
  const heard = 1 + (of.peers || []).filter((p) => p.last_contact_ms >= 0 && p.last_contact_ms < fresh && p.state !== "silent").length;
  const head = `${name} leads term ${of.term}`;
  if (of.log.stalled) return { level: "bad", leader: name, text: `${head}, and its disk hangs`, more: "Writes wait until another node leads." };
  if (heard < needed) return { level: "bad", leader: name, text: `${head} and is heard by too few: writes do not work`, more: `${short}; ${needed} are needed.` };
  const wrong = there.filter((n) => n.status.integrity.fault).map((n) => n.node);
  const behind = (of.peers || []).filter((p) => p.lag > many && !away.includes(p.node)).map((p) => `${p.node} lags by ${number(p.lag)} entries`);
  const trouble = [...(away.length ? [short] : []), ...behind, ...wrong.map((n) => `${n} found its state to be wrong and serves nothing`)];
  if (trouble.length) return { level: "warn", leader: name, text: `${head}. Writes work`, more: trouble.join(". ") + "." };
  return { level: "good", leader: name, text: `${head}. Writes work`, more: `All ${nodes.length} nodes answer, and none lags.` };
}

/** cards draws a card for each node. */
export function cards(overview, verdict) {
  const there = overview.nodes.filter((n) => n.status);
  const end = Math.max(1, ...there.map((n) => n.status.log.last));
  const lag = Math.max(0, ...there.map((n) => end - n.status.applied));
  const scale = { to: end, from: Math.max(0, end - Math.max(200, Math.round(lag * 1.3))) };
  const leader = there.find((n) => n.node === verdict.leader);
  return h("div", { class: "cards" }, overview.nodes.map((n) => card(n, overview, leader, scale)));
}

const shapes = { leader: "★ leads", follower: "● follows", candidate: "▲ campaigns", "pre-candidate": "△ asks for votes" };

function card(n, overview, leader, scale) {
  if (!n.status) {
    return h("article", { class: "card away" }, h("h2", null, n.node, h("span", { class: "role" }, "✕ does not answer")),
      h("p", { class: "state bad" }, n.error), n.address ? h("p", { class: "legend" }, n.address) : null);
  }
  const of = n.status, leads = leader && leader.node === n.node;
  const seen = leader && !leads ? (leader.status.peers || []).find((p) => p.node === n.node) : null;
  return h("article", { class: leads ? "card leads" : "card" },
    h("h2", null, n.node, h("span", { class: "role" }, shapes[of.role] || of.role)),
    state(of, seen, leads, leader), strip(of, scale), facts(of, seen, leads));
}

function state(of, seen, leads, leader) {
  if (of.integrity.fault) return h("p", { class: "state bad" }, "its state is wrong: it serves nothing");
  if (of.log.stalled) return h("p", { class: "state bad" }, "its disk hangs");
  if (of.rejoin) return h("p", { class: "state warn" }, "comes back after it lost its disk");
  if (leads) return h("p", { class: "state good" }, "takes writes");
  if (!leader) return h("p", { class: "state bad" }, "knows no leader that answers");
  if (!seen) return h("p", { class: "state warn" }, "is not known to the leader");
  if (seen.state === "silent" || seen.last_contact_ms < 0) return h("p", { class: "state bad" }, `does not answer ${leader.node}`);
  if (seen.state === "snapshot") return h("p", { class: "state warn" }, "gets a snapshot");
  if (seen.lag > many) return h("p", { class: "state warn" }, `lags by ${number(seen.lag)} entries`);
  return h("p", { class: "state good" }, "keeps up");
}

/** strip draws what a node has of the log, to one scale over all nodes. */
function strip(of, scale) {
  const width = 300, y = 6, height = 14;
  const x = (index) => Math.max(0, Math.min(1, (index - scale.from) / (scale.to - scale.from))) * width;
  const title = `applied up to ${number(of.applied)}, committed up to ${number(of.commit)}, log from ${number(of.log.first)} to ${number(of.log.last)}, snapshot at ${number(of.log.snapshot)}`;
  return h("figure", { class: "strip" },
    s("svg", { viewBox: `0 0 ${width} 26`, role: "img", "aria-label": title }, s("title", null, title),
      s("rect", { class: "behind", x: 0, y, width: x(of.log.last), height, rx: 2 }),
      s("rect", { class: "applied", x: 0, y, width: x(of.applied), height, rx: 2 }),
      s("line", { class: "committed", x1: x(of.commit), x2: x(of.commit), y1: y - 4, y2: y + height + 4 }),
      of.log.snapshot > scale.from ? s("text", { x: x(of.log.snapshot), y: y + 11, "text-anchor": "middle" }, "▼") : null),
    h("figcaption", { class: "legend" }, `applied ${number(of.applied)} · committed ${number(of.commit)} · log ends at ${number(of.log.last)}`));
}

function facts(of, seen, leads) {
  const rows = [["term", number(of.term)]];
  if (seen) {
    rows.push(["behind the leader", `${number(seen.lag)} entries`], ["answered", seen.last_contact_ms < 0 ? "never" : seconds(seen.last_contact_ms / 1000) + " ago"],
      ["replication", seen.state + (seen.inflight_messages ? `, ${seen.inflight_messages} in flight` : "")]);
  }
  if (leads) rows.push(["slowest commits (p99)", of.log.commit_p99_seconds ? seconds(of.log.commit_p99_seconds) : "–"]);
  if (of.disk) rows.push(["disk, sync p99", of.disk.fsync_p99_seconds ? seconds(of.disk.fsync_p99_seconds) : "–"]);
  rows.push(["writes, reads served", `${number(of.load.writes.per_second + of.load.deletes.per_second)}, ${number(of.load.reads.per_second)} /s`]);
  rows.push(["keys", `${number(of.store.keys)}, ${bytes(of.store.bytes)}`]);
  if (of.process) rows.push(["up for", seconds(of.process.uptime_seconds)]);
  rows.push(["build", of.build || "–"]);
  return h("dl", null, rows.map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

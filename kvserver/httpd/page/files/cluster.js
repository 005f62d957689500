// Who leads, who lags, and whether writes work.

import { bytes, clock, count, figure, h, list, number, s, seconds } from "./dom.js";

const fresh = 1500; // milliseconds after which a follower counts as not heard
const many = 1000; // entries that a follower may lack without a word

/** answering are the statuses that an overview holds. */
export const answering = (overview) => overview.nodes.filter((n) => n.status).map((n) => n.status);

/** leaderOf is the status of the node that leads the latest term; undefined if none does. */
export const leaderOf = (overview) => answering(overview).filter((n) => n.role === "leader").sort((a, b) => b.term - a.term)[0];

/** judge says of an overview what a person must know first. */
export function judge(overview) {
  const there = answering(overview), names = overview.nodes.map((n) => n.node);
  const away = overview.nodes.filter((n) => !n.status).map((n) => n.node);
  const of = leaderOf(overview);
  const members = (of || there[0])?.membership?.members || [];
  const voting = members.length ? members.filter((m) => m.role === "voter").map((m) => m.id) : names;
  const needed = Math.floor(voting.length / 2) + 1;
  const short = away.length ? `${there.length} of ${count(names.length, "node")} answer${there.length === 1 ? "s" : ""}; ${list(away)} ${away.length > 1 ? "do" : "does"} not` : `All ${names.length} nodes answer`;
  const lacking = needed - there.filter((n) => voting.includes(n.node)).length;
  const enough = lacking > 0 ? ` A majority is ${needed}: ${lacking === 1 ? "one more must" : `${lacking} more must`} come back.` : needed > 1 ? ` A majority is ${needed}.` : "";
  if (!of) {
    const standing = there.filter((n) => n.role !== "follower").map((n) => n.node);
    const next = there.length >= needed ? " An election takes about a second." : enough;
    return { level: "bad", leader: "", text: "No leader: nobody can write", more: `${short}.${next}${standing.length ? ` ${list(standing)} ${standing.length > 1 ? "ask" : "asks"} for votes.` : ""}` };
  }
  const peers = of.peers || [], head = `${of.node} leads term ${of.term}`;
  const heard = voting.filter((id) => id === of.node || peers.some((p) => p.node === id && p.last_contact_ms >= 0 && p.last_contact_ms < fresh && p.state !== "silent")).length;
  if (of.log.stalled) return { level: "bad", leader: of.node, text: `${head}, and its disk hangs`, more: "Writes wait until another node leads." };
  if (of.integrity.fault) return { level: "bad", leader: of.node, text: `${head}, and its state is wrong`, more: "Writes wait until another node leads." };
  if (heard < needed) return { level: "bad", leader: of.node, text: `${head}, but too few hear it: nobody can write`, more: `${short}.${enough}` };
  const wrong = there.filter((n) => n.integrity.fault).map((n) => `${n.node} found its state to be wrong and serves nothing`);
  const behind = peers.filter((p) => p.lag > many && !away.includes(p.node)).map((p) => `${p.node} lags by ${number(p.lag)} entries`);
  const trouble = [...(away.length ? [short] : []), ...behind, ...wrong];
  if (away.length && heard === needed) trouble.push("If one more fails, nobody can write");
  const text = `${head}. Writes work`;
  if (trouble.length) return { level: "warn", leader: of.node, text, more: trouble.join(". ") + "." };
  return { level: "good", leader: of.node, text, more: names.length > 1 ? `${short}, and none lags.` : "It is alone: nothing stands in for it." };
}

/**
 * cards draws a card for each node. seen is when each node answered last, and as what.
 */
export function cards(overview, verdict, seen) {
  const there = answering(overview);
  const end = Math.max(1, ...there.map((n) => n.log.last));
  const lag = Math.max(0, ...there.map((n) => end - n.applied));
  const scale = { to: end, from: Math.max(0, end - Math.max(200, Math.round(lag * 1.3))) };
  const leader = there.find((n) => n.node === verdict.leader);
  return h("div", { id: "cards" }, h("div", { class: "cards" }, overview.nodes.map((n) => card(n, leader, scale, seen.get(n.node)))),
    h("p", { class: "legend" }, `Each bar is a node's log, all on one scale: entries ${number(scale.from)} to ${number(scale.to)}. `,
      h("span", { class: "key applied" }), " applied ", h("span", { class: "key behind" }), " not applied yet ", h("span", { class: "key mark" }), " committed ▼ snapshot"));
}

const shapes = { leader: "★ leads", follower: "● follows", candidate: "▲ campaigns", "pre-candidate": "△ asks for votes" };

function card(n, leader, scale, before) {
  if (!n.status) {
    return h("article", { class: "card away" }, h("h2", null, n.node, h("span", { class: "role" }, "✕ does not answer")),
      h("p", { class: "state bad" }, n.error),
      before ? h("p", { class: "legend" }, `It answered last at ${clock(before.at)}, ${before.role === "leader" ? "as the leader of" : "in"} term ${before.term}.`) : null,
      n.address ? h("p", { class: "legend" }, `Clients are served at ${n.address}.`) : null);
  }
  const of = n.status, leads = leader?.node === n.node;
  const known = leader && !leads ? (leader.peers || []).find((p) => p.node === n.node) : null;
  return h("article", { class: leads ? "card leads" : "card" }, h("h2", null, n.node, h("span", { class: "role" }, shapes[of.role] || of.role)),
    state(of, known, leads, leader), strip(of, scale), facts(of, known, leads));
}

function state(of, known, leads, leader) {
  const say = (level, text) => h("p", { class: `state ${level}` }, text);
  if (of.integrity.fault) return say("bad", "its state is wrong: it serves nothing");
  if (of.log.stalled) return say("bad", "its disk hangs");
  if (of.rejoin) return say("warn", "comes back after it lost its disk");
  const role = of.membership?.members?.find((m) => m.id === of.node)?.role;
  if (leads) return say("good", "takes writes");
  if (!leader) return say("bad", "has no leader that answers");
  if (!known) return say("warn", "is not known to the leader yet");
  if (known.state === "silent" || known.last_contact_ms < 0) return say("bad", `does not answer ${leader.node}`);
  if (known.state === "snapshot") return say("warn", "gets a snapshot");
  if (known.lag > many) return say("warn", `lags by ${number(known.lag)} entries`);
  return say("good", role && role !== "voter" ? `keeps up; a ${role}, without a vote` : "keeps up");
}

/** strip draws what a node has of the log, to one scale over all nodes. */
function strip(of, scale) {
  const width = 300, y = 6, height = 14;
  const x = (index) => Math.max(0, Math.min(1, (index - scale.from) / Math.max(1, scale.to - scale.from))) * width;
  const title = `applied up to ${number(of.applied)}, committed up to ${number(of.commit)}, log from ${number(of.log.first)} to ${number(of.log.last)}, snapshot at ${number(of.log.snapshot)}`;
  return h("figure", { class: "strip" },
    s("svg", { viewBox: `0 0 ${width} 26`, role: "img", "aria-label": title }, s("title", null, title),
      s("rect", { class: "ground", x: 0, y, width, height, rx: 2 }),
      s("rect", { class: "behind", x: 0, y, width: x(of.log.last), height, rx: 2 }),
      s("rect", { class: "applied", x: 0, y, width: x(of.applied), height, rx: 2 }),
      s("line", { class: "committed", x1: x(of.commit), x2: x(of.commit), y1: y - 4, y2: y + height + 4 }),
      of.log.snapshot > scale.from ? s("text", { x: x(of.log.snapshot), y: y + 11, "text-anchor": "middle" }, "▼") : null),
    h("figcaption", { class: "legend" }, `applied ${number(of.applied)} · committed ${number(of.commit)} · end ${number(of.log.last)}`));
}

function facts(of, known, leads) {
  const rows = [["term", number(of.term)]];
  if (known) {
    const pending = known.inflight_messages ? `, ${known.inflight_messages} in flight` : "";
    rows.push(["behind the leader", count(known.lag, "entry", "entries")], ["answered the leader", known.last_contact_ms < 0 ? "never" : seconds(known.last_contact_ms / 1000) + " ago"],
      ["replication", known.state + pending]);
  }
  if (leads) rows.push(["slowest commits (p99)", of.log.commit_p99_seconds ? seconds(of.log.commit_p99_seconds) : "–"]);
  if (of.disk) rows.push(["disk, sync p99", of.disk.fsync_p99_seconds ? seconds(of.disk.fsync_p99_seconds) : "–"]);
  rows.push(["writes, reads served", `${figure(of.load.writes.per_second + of.load.deletes.per_second)}, ${figure(of.load.reads.per_second)} /s`]);
  rows.push(["keys", `${number(of.store.keys)}, ${bytes(of.store.bytes)}`]);
  if (of.integrity.result) rows.push(["state compared", of.integrity.result === "ok" ? `equal, ${seconds(of.integrity.ok_seconds_ago)} ago` : of.integrity.result]);
  if (of.membership?.level) rows.push(["level", of.membership.level.level + (of.membership.level.hold ? ", held" : "")]);
  if (of.process) rows.push(["up for", seconds(of.process.uptime_seconds)]);
  rows.push(["build", of.build || "–"]);
  return h("dl", null, rows.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

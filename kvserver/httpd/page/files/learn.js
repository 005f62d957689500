// Learn: what one sees, in the words of the paper, and where our code does it.

import { answering, leaderOf } from "./cluster.js";
import { count, h, list, number, patch, seconds } from "./dom.js";

// topics: where the paper says it ("paper"), which functions do it ("code", as docs/paper.md
// has them), and which events and stories belong to it ("events").
export const topics = [
  { id: "term", name: "Terms", paper: "§5.1", code: ["roles.go: observeTerm", "raft.go: currentTerm"], events: [],
    says: "Time is cut into terms, numbered 1, 2, 3 and so on. Each begins with an election, and has one leader or none. A server that hears of a later term at once follows in it, so an old leader cannot do harm.",
    now: (of) => `The cluster is in term ${number(Math.max(...of.all.map((n) => n.term)))}.` },
  { id: "election", name: "Election", paper: "§5.2", code: ["election.go: startCampaign", "election.go: resetElectionTimer", "roles.go: becomeCandidate"], events: ["timeout", "campaign", "leader_unheard"],
    says: "A follower that hears no leader for an election timeout raises the term, votes for itself and asks the others. The timeouts are random, so that mostly one server stands alone.",
    now: (of) => (of.leader ? `${of.leader.node} leads.` : "Nobody leads.") },
  { id: "vote", name: "Votes", paper: "Figure 2, RequestVote", code: ["election.go: handleRequestVote", "election.go: isUpToDate", "election.go: handleVote"], events: ["vote_granted", "vote_refused", "log_behind", "split_vote"],
    says: "A server votes once in a term, and only for a candidate whose log is at least as complete as its own (§5.4.1). So whoever gets a majority has every committed entry.",
    now: (of) => `A majority is ${Math.floor(of.voters / 2) + 1} of ${count(of.voters, "vote")}.` },
  { id: "pre-vote", name: "Pre-vote", paper: "thesis 9.6", code: ["roles.go: becomePreCandidate", "election.go: withholdsVote"], events: ["pre_vote", "pre_vote_granted", "pre_vote_refused"],
    says: "Before it raises the term, a server asks whether it would win. Those that hear a leader say no, so a server that was cut off cannot unseat a good leader when it comes back." },
  { id: "leader", name: "Leader", paper: "Figure 2, rules for leaders", code: ["roles.go: becomeLeader", "commit_apply.go: committedInTerm"], events: ["elected", "followed", "first_commit"],
    says: "A new leader sends heartbeats at once, and commits an empty entry of its own term (§8). With that it knows which of the earlier entries are committed, and writes are possible again." },
  { id: "suspicion", name: "A leader that ended", paper: "beyond the paper", code: ["election.go: Suspect"], events: ["suspected", "leader_ended", "node_ended"],
    says: "The paper waits for an election timeout. Here the end of the leader's connection is a sign, too: the followers ask for pre-votes at once, so a killed leader is replaced in about a tenth of a second." },
  { id: "step-down", name: "A leader that hears no majority", paper: "thesis 6.2", code: ["raft.go: tickLeader", "replication.go: heardFromQuorum", "roles.go: becomeFollower"], events: ["stepped_down", "leader_cut_off", "majority_gone", "leader_stopped"],
    says: "A leader that no majority answers for an election timeout gives up. Clients then hear that there is no leader, and wait for none that cannot commit." },
  { id: "replication", name: "Replication", paper: "§5.3", code: ["appendentries.go: handleAppendEntries", "replication.go: handleAppendEntriesReply", "replication.go: backUp"], events: ["mismatch", "silent", "heard", "lags", "lagging"],
    says: "The leader sends each follower what its log lacks. If the entry before does not match, the leader goes back, a term at a time, until it finds where the logs agree.",
    now: (of) => of.leader?.peers?.length && `${of.leader.peers.map((p) => `${p.node}: ${p.state}, ${count(p.lag, "entry", "entries")} behind`).join("; ")}.` },
  { id: "commit", name: "Committed, applied", paper: "§5.3, §5.4.2", code: ["commit_apply.go: advanceCommitIndex", "commit_apply.go: commitTo", "commit_apply.go: Applied"], events: ["slow_commit", "minute", "minute_followed", "quiet"],
    says: "An entry of the leader's own term is committed when a majority has it on disk. Then it is applied to the store, in order, on every node, and the client is answered.",
    now: (of) => of.leader && `${of.leader.node} has committed up to ${number(of.leader.commit)} and applied up to ${number(of.leader.applied)}.` },
  { id: "tail", name: "Entries that are dropped", paper: "Figure 2, AppendEntries 3", code: ["durable.go: truncateLog", "appendentries.go: acceptAppendEntries"], events: ["truncated", "tail_dropped"],
    says: "Entries that an old leader could not commit may be replaced by those of a new one. Nobody was told that they had happened." },
  { id: "disk", name: "Disk before answer", paper: "Figure 2, persistent state", code: ["durable.go: nextWrite", "durable.go: Saved", "durable.go: answer"], events: ["slow_save", "slow_disks", "torn_tail", "failed", "started", "end_asked", "ended_in_order"],
    says: "Votes, terms and entries are on the disk before a server answers for them. So a crash at any moment forgets nothing that somebody relies on.",
    now: (of) => `The slowest sync of a hundred took ${of.all.map((n) => `${seconds(n.disk?.fsync_p99_seconds || 0)} on ${n.node}`).join(", ")}.` },
  { id: "stall", name: "A disk that hangs", paper: "beyond the paper", code: ["slow.go: stalled", "slow.go: stepDownStalled"], events: ["disk_hangs", "disk_back", "disk_hung"],
    says: "A server whose disk gives a write back neither done nor failed counts as stalled. A leader then hands over to the most complete follower." },
  { id: "transfer", name: "Handing over", paper: "thesis 3.10", code: ["transfer.go: Transfer", "transfer.go: sendTimeoutNow", "transfer.go: handleTimeoutNow"], events: ["transfer", "transfer_given_up", "transfer_taken", "transfer_asked", "handed_over"],
    says: "A leader that is asked to end, or to hand over, waits until a follower has all of its log and tells it to campaign at once." },
  { id: "snapshot", name: "Snapshots", paper: "§7", code: ["snapshot.go: sendSnapshot", "snapshot.go: handleInstallSnapshot", "snapshot.go: replaceLog"], events: ["snapshot_sent", "snapshot_taken", "installed", "snapshot_made", "passed_over"],
    says: "A snapshot of the store stands for the log up to an index, so that the log need not grow for ever. A follower that lacks what the leader no longer has gets the snapshot.",
    now: (of) => `The newest snapshots stand at ${of.all.map((n) => `${number(n.log.snapshot)} on ${n.node}`).join(", ")}.` },
  { id: "reads", name: "Reads", paper: "§8, thesis 6.4", code: ["reads.go: Read", "reads.go: beginRound", "reads.go: releaseReads"], events: [],
    says: "A read is no log entry. The leader makes sure by one round of messages that it still leads, and the node that was asked waits until its store has come as far." },
  { id: "members", name: "Members", paper: "§6", code: ["membership.go: Reconfigure", "configuration.go: adopt", "raft/members/quorum.go: HasQuorum"], events: ["placed", "members_changed"],
    says: "A change of the voters goes through a joint configuration, in which the majorities of both the old and the new voters are needed.",
    now: (of) => `The nodes are ${list(of.names)}.` },
  { id: "rejoin", name: "A node that lost its disk", paper: "beyond the paper", code: ["rejoin.go: askToRejoin", "rejoin.go: setGoal"], events: ["rejoin_goal", "rejoined", "forgot", "directory_refused"],
    says: "A server that has forgotten what it promised may not vote until it has the log again up to what it may have confirmed." },
  { id: "network", name: "Connections", paper: "§5.5", code: ["replication.go: lost", "progress.go: fallBack", "election.go: tickCampaign"], events: ["connected", "accepted", "ended", "unreachable", "rejected", "node_cut_off", "pair_cut", "flapping", "staged"],
    says: "Messages may be lost, late or doubled, and servers may stop and come back. The paper asks only that calls are sent again; here a lost call makes the leader probe." },
  { id: "timing", name: "Time", paper: "§5.6", code: ["raft.go: Tick"], events: ["loop_late", "continued", "collector_pause", "clock_jumped", "starved", "collector_pauses", "node_stopped"],
    says: "What is right never rests on time. But a leader lasts only while heartbeats come well within an election timeout, so a process that is stopped or starved may lose its leadership." },
  { id: "safety", name: "What must always hold", paper: "Figure 3", code: ["invariants.go: CheckStep", "log.go: check"], events: ["quarantined", "state_differs", "disorder"],
    says: "One leader in a term, logs that match, committed entries that stay. The program checks this with every step, the nodes compare digests of their stores, and a node that is wrong serves nothing." },
  { id: "overload", name: "Too much work", paper: "beyond the paper", code: ["raft.go: Propose"], events: ["refused", "overload"],
    says: "A leader bounds the work that is not committed yet. What is more is refused before anything of it has happened, with status 429." },
];

/** topicOf is the topic of a kind of event or story; undefined if it has none. */
export const topicOf = (kind) => topics.find((topic) => topic.events.includes(kind));

function known(overview) {
  const all = answering(overview), leader = leaderOf(overview);
  const members = (leader || all[0])?.membership?.members || [];
  return { all, leader, names: overview.nodes.map((n) => n.node), voters: members.filter((m) => m.role === "voter").length || overview.nodes.length };
}

function nowOf(topic, overview) {
  if (!topic.now || !overview || !answering(overview).length) return "";
  return topic.now(known(overview)) || "";
}

const folder = (name) => (name.includes("/") ? name : `raft/core/${name}`);

/** view is Learn. */
export function view(root, overviewOf) {
  let made = false;
  function make() {
    made = true;
    root.replaceChildren(
      h("p", { class: "lead" }, "Raft is told in Ongaro and Ousterhout, ", h("cite", null, "In Search of an Understandable Consensus Algorithm"), " (extended version; § marks its sections), and in Ongaro's thesis, ",
        h("cite", null, "Consensus: Bridging Theory and Practice"), ". This is where to find there, and in our code, what this page shows. What is beyond the paper is explained in ", h("code", null, "docs/paper.md"), "."),
      h("div", { class: "topics" }, topics.map((topic) => h("article", { class: "topic", id: `topic-${topic.id}`, tabindex: -1 },
        h("h2", null, topic.name, " ", h("small", null, topic.paper)), h("p", null, topic.says), h("p", { class: "now", id: `now-${topic.id}` }),
        h("p", { class: "legend" }, topic.code.map((name) => h("code", null, folder(name))))))));
  }
  const update = () => {
    for (const topic of topics) patch(document.getElementById(`now-${topic.id}`), h("p", { class: "now", id: `now-${topic.id}` }, nowOf(topic, overviewOf())));
  };
  return {
    enter(argument) {
      if (!made) make();
      update();
      for (const on of root.querySelectorAll(".topic.on")) on.classList.remove("on");
      const topic = document.getElementById(`topic-${argument}`);
      if (!topic) return;
      topic.classList.add("on");
      topic.scrollIntoView({ block: "center" });
      topic.focus({ preventScroll: true });
    },
    update,
  };
}

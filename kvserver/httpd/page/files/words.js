// The words for what nodes record, and for the stories that are made of it.

import { bytes, count, number, span } from "./dom.js";

/** incidents are the titles of stories, by the kinds of raftkv explain. */
export const incidents = {
  leader_ended: "Leader ended", leader_stopped: "Leader stopped", leader_cut_off: "Leader cut off", disk_hung: "Disk hung", handed_over: "Handed over",
  majority_gone: "Majority gone", leader_unheard: "Leader unheard", node_ended: "Node ended", node_stopped: "Node stopped", node_cut_off: "Node cut off", pair_cut: "Pair cut",
  flapping: "Flapping", slow_disks: "Slow disks", lagging: "Lagging", overload: "Overload", starved: "Starved", collector_pauses: "Collector pauses",
  split_vote: "Split vote", log_behind: "Log behind", tail_dropped: "Tail dropped", snapshot_sent: "Snapshot sent", directory_refused: "Directory refused",
  state_differs: "State differs", clock_jumped: "Clock jumped", members_changed: "Members changed", staged: "Staged", quiet: "Quiet", disorder: "Disorder",
};

/** grave are the incidents during which nobody could write. */
export const grave = ["leader_ended", "leader_stopped", "leader_cut_off", "majority_gone", "leader_unheard", "state_differs", "disorder"];

export const certainties = { certain: "", likely: "likely", unknown: "cause not known" };

// events say in words what a kind of event means.
export const events = {
  timeout: (e) => `heard no leader for ${span(e.a)}` + (e.peer ? `; it had followed ${e.peer}` : ""),
  suspected: (e) => `lost the connection to ${e.peer}, its leader, ${span(e.a)} after it was heard`,
  pre_vote: (e) => `asks who would vote for it in term ${e.term}`,
  campaign: (e) => `campaigns in term ${e.term}; its log ends at ${number(e.index)}`,
  pre_vote_granted: (e) => `would vote for ${e.peer}`,
  pre_vote_refused: (e) => `would not vote for ${e.peer}`,
  vote_granted: (e) => `votes for ${e.peer} in term ${e.term}`,
  vote_refused: (e) => `does not vote for ${e.peer} in term ${e.term}`,
  elected: (e) => `is elected: it leads term ${e.term}, with ${e.a} of ${e.b} votes`,
  stepped_down: (e) => `leads term ${e.term} no more`,
  transfer: (e) => `hands leadership to ${e.peer}`,
  transfer_given_up: (e) => `keeps leadership: ${e.peer} did not take over`,
  transfer_taken: (e) => `is asked by ${e.peer}, the leader, to campaign at once`,
  followed: (e) => `follows ${e.peer} in term ${e.term}`,
  first_commit: (e) => `commits for the first time in term ${e.term}` + (e.a ? `; nothing was committed for ${span(e.a)}` : ""),
  truncated: (e) => `drops its entries ${number(e.index)} to ${number(e.a)}, which were not committed`,
  mismatch: (e) => `has another log than the leader at ${number(e.index)}`,
  silent: (e) => `gets no answer from ${e.peer}`,
  heard: (e) => `hears ${e.peer} again`,
  snapshot_sent: (e) => `sends ${e.peer} the snapshot at ${number(e.index)}`,
  snapshot_taken: (e) => `knows that ${e.peer} has the snapshot at ${number(e.index)}`,
  installed: (e) => `took the snapshot at ${number(e.index)} in the place of its log`,
  forgot: (e) => `heard that ${e.peer} has forgotten what it had confirmed`,
  disk_hangs: (e) => `waits for its disk: write ${number(e.index)} has been there for ${span(e.a)}`,
  disk_back: (e) => `has write ${number(e.index)} on its disk after ${span(e.a)}`,
  rejoin_goal: (e) => `votes again when it has the log up to ${number(e.index)}`,
  rejoined: () => "votes again",
  loop_late: (e) => `woke ${span(e.a)} late`,
  slow_save: (e) => `wrote to its disk for ${span(e.a)}; half of its writes take less than ${span(e.b)}`,
  slow_commit: (e) => `committed an entry after ${span(e.a)}; half of them take less than ${span(e.b)}`,
  connected: (e) => `is connected to ${e.peer}`,
  accepted: (e) => `took a connection from ${e.peer}`,
  ended: (e) => `lost a connection with ${e.peer}`,
  unreachable: (e) => `cannot connect to ${e.peer}`,
  rejected: (e) => `turned a connection of ${e.peer || "somebody"} down`,
  torn_tail: (e) => `cut ${bytes(e.a)} of an unfinished write off its log`,
  passed_over: () => "passed over a damaged snapshot",
  refused: (e) => `refused ${count(e.a, "request")} in a second and served ${number(e.b)}`,
  quarantined: (e) => `found its state to be wrong at ${number(e.index)} and serves nothing`,
  snapshot_made: (e) => `took a snapshot at ${number(e.index)}, of ${bytes(e.a)}`,
  started: (e) => `started; its log ends at ${number(e.index)}` + (e.a || !e.index ? "" : ", and its last end was not an orderly one"),
  end_asked: () => "was asked to end",
  ended_in_order: () => "ended in order",
  failed: () => "ended itself",
  clock_jumped: (e) => `saw its wall clock jump by ${e.a < 0 ? "−" : "+"}${span(Math.abs(e.a))}`,
  continued: () => "was stopped by a signal, and goes on",
  lags: (e) => `leads, and ${e.peer} lacks ${count(e.a, "entry", "entries")}`,
  collector_pause: (e) => `was stopped for ${span(e.a)} by Go's collector`,
  minute: (e) => `led for another minute; committed up to ${number(e.index)}`,
  transfer_asked: () => "was asked to hand leadership over",
  minute_followed: (e) => `followed ${e.peer || "its leader"} for another minute`,
  staged: (e) => `notes what somebody did to ${e.peer || "all nodes"}`,
  placed: (e) => `goes by configuration ${number(e.index)}, in which ${e.peer} ${places[e.a] || "is a member"}`,
};

// places say what a member is, by the number of its place.
const places = ["is no member", "votes", "does not vote", "votes in the new half", "votes in the old half"];

// reasons say in words why.
const reasons = {
  older_term: "the candidate's term is over", hears_leader: "it hears its leader", voted: "it has voted for another candidate",
  log_behind: "the candidate's log is behind its own", disk_hangs: "its disk hangs", rejoining: "it may not vote yet", newer_term: "it saw a newer term",
  lost_majority: "no majority answered", handed_over: "it handed leadership over", closed_by_peer: "the other side closed it",
  reset: "the other side knows it no more", host_silent: "the machine there does not answer", call_timeout: "a call had no answer in time",
  stalled: "a message stood still half-way", malformed: "what came is not the protocol", replaced: "there is a newer one", by_us: "this node gave it up",
  nobody_listens: "nobody listens there", no_answer: "no answer in time", no_route: "no way leads there", turned_down: "the other side refuses us",
  we_turn_down: "this node refuses it", other: "another error", wrong_data: "its data directory lost something or is a copy",
  other_cluster: "it is of another cluster", other_version: "it is of another version", too_many: "too many at once",
  no_hello: "the machine answers, and the process does not", no_identity: "its certificate does not prove who it is", no_space: "the disk is full",
  disk_error: "the disk reported an error", diverged: "its state contradicts the others'", fenced: "the others refuse its data directory",
  killed: "its process was killed", told_to_stop: "it was told to stop", started: "it was started", paused: "its process was stopped",
  gone_on: "its process goes on", cut: "ways to and from it were cut", healed: "the ways are whole again", disk_slow: "its disk was made slow",
  disk_hung: "its disk was made to hang", disk_freed: "its disk is as before", disk_lost: "its disk was emptied", rejoins: "it comes back with an empty disk",
};

/** say tells an event as a sentence without its node. */
export function say(e) {
  const known = events[e.kind];
  const full = { a: 0, b: 0, index: 0, term: 0, peer: "", ...e };
  let text = known ? known(full) : e.kind.replaceAll("_", " ");
  if (e.why) text += `: ${reasons[e.why] || e.why.replaceAll("_", " ")}`;
  if (e.count > 1) text += ` (${number(e.count)} times)`;
  return text;
}

/** title is that of a story, with its culprits. */
export function title(story) {
  return (incidents[story.kind] || story.kind.replaceAll("_", " ")) + (story.culprits ? ": " + story.culprits.join(", ") : "");
}

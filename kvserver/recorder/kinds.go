package recorder

import "strconv"

// Kind says what happened. Numbers are kept for ever, because they are in files; the
// table in docs/formats.md lists them.
type Kind uint16

// Kinds that consensus notes. Those up to Rejoined have the meaning, and Peer, Term,
// Index, A and B, of the core.NoteKind of the same name; ages are nanoseconds.
const (
	Timeout         Kind = 1 + iota // no leader was heard for A
	Suspected                       // the connection to Peer, the leader, was ended by its side
	PreVote                         // the node asks for votes that would be given to it in Term
	Campaign                        // the node campaigns in Term; its log ends at Index, of term A
	PreVoteGranted                  // it would vote for Peer
	PreVoteRefused                  // it would not
	VoteGranted                     // it votes for Peer in Term
	VoteRefused                     // it does not: Peer's log ends at Index, its own at A, of term B
	Elected                         // it leads Term, with A votes of B voters
	SteppedDown                     // it leads no more
	Transfer                        // it hands leadership to Peer
	TransferGivenUp                 // Peer did not take over
	TransferTaken                   // Peer, the leader, asks it to campaign at once
	Followed                        // it follows Peer in Term
	FirstCommit                     // it commits for the first time in Term; nothing was committed for A before
	Truncated                       // it drops its entries from Index to A, of term B
	Mismatch                        // its log differs from the leader's at Index
	Silent                          // Peer, a follower, does not answer
	Heard                           // Peer, which was silent, answers
	SnapshotSent                    // Peer, whose log ends at A, gets the snapshot at Index
	SnapshotTaken                   // Peer has it on its disk
	Installed                       // the node took a snapshot in the place of its log
	Forgot                          // Peer has forgotten what it had confirmed
	DiskHangs                       // write Index has been with the disk for A
	DiskBack                        // write Index is on the disk after A
	RejoinGoal                      // the node votes again when it has the log up to Index
	Rejoined                        // it has come so far
	consensusKinds  = iota
)

// Kinds that the driver of consensus, the transport, the service and the process note.
const (
	LoopLate       Kind = 64 + iota // the loop woke late by A
	SlowSave                        // a write took A; half of them take less than B
	SlowCommit                      // an entry took A to its commitment; half of them take less than B
	Connected                       // a connection to Peer, boot A, stands
	Accepted                        // a connection from Peer, boot A, stands
	Ended                           // a connection with Peer ended; B is 1 if Peer had dialled it
	Unreachable                     // an attempt to connect to Peer failed
	Rejected                        // a connection was turned down
	TornTail                        // A bytes of an unfinished write were cut off the log
	PassedOver                      // a damaged snapshot was passed over
	Refused                         // A requests of a second were refused, B were served
	Quarantined                     // the node's state is wrong, and it serves nothing; found at Index
	SnapshotMade                    // the service took a snapshot at Index, of A bytes
	Started                         // the process began; Index is the end of its log, A is 1 after an orderly end, B is 1 if its disk was lost before
	EndAsked                        // the process was asked to end in order
	EndedInOrder                    // it has ended in order
	Failed                          // it ended itself
	ClockJumped                     // the wall clock jumped by A against the monotonic one
	Continued                       // the process was stopped by a signal, and goes on
	Lags                            // Peer, a follower with the log up to Index, lacks A entries that the leader has
	CollectorPause                  // collections stopped the process for A at once, or a little more
	Minute                          // a minute in which the node led: it has committed up to Index, A is its slowest commit, B its slowest write
	TransferAsked                   // somebody asked the node to hand leadership over
	MinuteFollowed                  // a minute in which the node followed; fields as with Minute
	Staged                          // somebody did what Why says to Peer, or to all, on the stage of raftkv dev
	Placed                          // in the configuration at Index, which the node goes by, Peer has the place A
)

// Places of a Placed event. In a joint configuration (§6) some vote in one half only.
const (
	NoPlace      int64 = iota // it is no member, or none any more
	VoterPlace                // it votes
	LearnerPlace              // it is sent the log and does not vote
	NewPlace                  // it votes in the new half
	OldPlace                  // it votes in the old half, and will not when the change is done
)

// kindNames are the words for kinds in JSON.
var kindNames = map[Kind]string{
	Timeout: "timeout", Suspected: "suspected", PreVote: "pre_vote", Campaign: "campaign", PreVoteGranted: "pre_vote_granted",
	PreVoteRefused: "pre_vote_refused", VoteGranted: "vote_granted", VoteRefused: "vote_refused", Elected: "elected",
	SteppedDown: "stepped_down", Transfer: "transfer", TransferGivenUp: "transfer_given_up", TransferTaken: "transfer_taken",
	Followed: "followed", FirstCommit: "first_commit", Truncated: "truncated", Mismatch: "mismatch", Silent: "silent", Heard: "heard",
	SnapshotSent: "snapshot_sent", SnapshotTaken: "snapshot_taken", Installed: "installed", Forgot: "forgot", DiskHangs: "disk_hangs",
	DiskBack: "disk_back", RejoinGoal: "rejoin_goal", Rejoined: "rejoined",
	LoopLate: "loop_late", SlowSave: "slow_save", SlowCommit: "slow_commit", Connected: "connected", Accepted: "accepted", Ended: "ended",
	Unreachable: "unreachable", Rejected: "rejected", TornTail: "torn_tail", PassedOver: "passed_over", Refused: "refused",
	Quarantined: "quarantined", SnapshotMade: "snapshot_made", Started: "started", EndAsked: "end_asked", EndedInOrder: "ended_in_order",
	Failed: "failed", ClockJumped: "clock_jumped", Continued: "continued", Lags: "lags", CollectorPause: "collector_pause",
	Minute: "minute", TransferAsked: "transfer_asked", MinuteFollowed: "minute_followed", Staged: "staged",
	Placed: "placed",
}

// String returns the word for a kind. A kind of a later build has none and is its
// number.
func (k Kind) String() string { return word(kindNames, k) }

// repeats are the kinds of which equal ones within a second become one event with a
// count. No kind that orders events of several nodes is among them.
var repeats = map[Kind]bool{
	PreVoteRefused: true, Mismatch: true, LoopLate: true, SlowSave: true, SlowCommit: true, Unreachable: true, Rejected: true,
	CollectorPause: true,
}

// Why is the reason of an event. Numbers are kept for ever, as those of kinds.
type Why uint16

// Reasons that consensus notes; see core.Why.
const (
	None          Why = iota
	OlderTerm         // the candidate's term is over
	HearsLeader       // the voter hears its leader, or leads
	Voted             // it has voted for another candidate
	LogBehind         // the candidate's log is less complete than its own
	HangingDisk       // its disk hangs
	Rejoining         // it has lost its disk and may not vote yet
	NewerTerm         // it saw a newer term
	LostMajority      // no majority answered
	HandedOver        // it handed leadership over
	consensusWhys = iota
)

// Reasons that the transport and the process note; see wire.Why.
const (
	ClosedByPeer  Why = 64 + iota // the peer's side closed the connection
	Reset                         // the peer's side has no such connection any more
	HostSilent                    // the peer's host did not answer
	CallTimeout                   // a call had no answer in time
	Stalled                       // a frame that had begun stood still
	Malformed                     // bytes came that are not the protocol
	Replaced                      // there is a newer connection or process
	ByUs                          // this node gave it up
	NobodyListens                 // nobody listens at the peer's address
	NoAnswer                      // the attempt to connect had no answer in time
	NoRoute                       // the peer's address cannot be reached
	TurnedDown                    // the peer refuses our hello
	WeTurnDown                    // we refuse the peer's hello
	Other                         // another error
	WrongData                     // a hello whose data directory lost something, or is a copy
	OtherCluster                  // a hello of another cluster
	OtherVersion                  // a hello of another version or level
	TooMany                       // too many connections had not said hello
	NoHello                       // there was none, or not in time: the machine there answers, and its process does not
	NoIdentity                    // the certificate does not prove that it is the node it claims to be
	wireWhys      = 64
)

// Reasons for which a process ended itself.
const (
	NoSpace   Why = 128 + iota // the disk is full
	DiskError                  // the disk reported an error
	Diverged                   // its history or state contradicts the others'
	Fenced                     // the others refuse its data directory
)

// Reasons of Staged: what was done.
const (
	StagedKill     Why = 160 + iota // its process was killed
	StagedStop                      // it was told to stop
	StagedStart                     // it was started
	StagedPause                     // its process was stopped
	StagedGoOn                      // its process goes on
	StagedCut                       // ways between it and others were cut
	StagedHeal                      // the ways are whole again
	StagedSlowDisk                  // its disk was made slow
	StagedHungDisk                  // its disk was made to hang
	StagedFreeDisk                  // its disk is as before
	StagedLoss                      // its disk was emptied
	StagedRejoin                    // it was started so that it comes back on an empty disk
)

var whyNames = map[Why]string{
	None: "", OlderTerm: "older_term", HearsLeader: "hears_leader", Voted: "voted", LogBehind: "log_behind", HangingDisk: "disk_hangs",
	Rejoining: "rejoining", NewerTerm: "newer_term", LostMajority: "lost_majority", HandedOver: "handed_over",
	ClosedByPeer: "closed_by_peer", Reset: "reset", HostSilent: "host_silent", CallTimeout: "call_timeout", Stalled: "stalled",
	Malformed: "malformed", Replaced: "replaced", ByUs: "by_us", NobodyListens: "nobody_listens", NoAnswer: "no_answer", NoRoute: "no_route",
	TurnedDown: "turned_down", WeTurnDown: "we_turn_down", Other: "other", WrongData: "wrong_data", OtherCluster: "other_cluster",
	OtherVersion: "other_version", TooMany: "too_many", NoHello: "no_hello", NoIdentity: "no_identity",
	NoSpace: "no_space", DiskError: "disk_error", Diverged: "diverged", Fenced: "fenced",
	StagedKill: "killed", StagedStop: "told_to_stop", StagedStart: "started", StagedPause: "paused", StagedGoOn: "gone_on", StagedCut: "cut", StagedHeal: "healed",
	StagedSlowDisk: "disk_slow", StagedHungDisk: "disk_hung", StagedFreeDisk: "disk_freed", StagedLoss: "disk_lost", StagedRejoin: "rejoins",
}

// String returns the word for a reason.
func (w Why) String() string { return word(whyNames, w) }

// word returns the word for a number, or the number itself behind a '#'.
func word[N ~uint16](words map[N]string, n N) string {
	if w, known := words[n]; known {
		return w
	}
	return "#" + strconv.FormatUint(uint64(n), 10)
}

// number is the opposite of word. A word of a later build that has none is 0.
func number[N ~uint16](words map[N]string, w string) N {
	if digits, plain := cutHash(w); plain {
		n, _ := strconv.ParseUint(digits, 10, 16)
		return N(n)
	}
	for n, known := range words {
		if known == w {
			return n
		}
	}
	return 0
}

func cutHash(w string) (digits string, plain bool) {
	if len(w) > 1 && w[0] == '#' {
		return w[1:], true
	}
	return "", false
}

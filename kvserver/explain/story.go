package explain

import (
	"cmp"
	"slices"

	"raftkv/kvserver/recorder"
)

// Kind says what sort of incident a story tells.
type Kind string

// The kinds of stories.
const (
	LeaderEnded     Kind = "leader_ended"      // the leader's process ended, without order or by an error
	LeaderStopped   Kind = "leader_stopped"    // the leader's process did not run for a while
	LeaderCutOff    Kind = "leader_cut_off"    // the leader and the others could not reach each other
	DiskHung        Kind = "disk_hung"         // a leader's disk hung, and it handed over
	HandedOver      Kind = "handed_over"       // a leader handed over because somebody wanted it
	MajorityGone    Kind = "majority_gone"     // there was no leader, because too few nodes were there
	LeaderUnheard   Kind = "leader_unheard"    // the leader was not heard, and why is not known
	NodeEnded       Kind = "node_ended"        // a follower's process ended
	NodeStopped     Kind = "node_stopped"      // a follower's process did not run for a while
	NodeCutOff      Kind = "node_cut_off"      // a follower and all others could not reach each other
	PairCut         Kind = "pair_cut"          // two nodes do not see each other, and a third sees both
	Flapping        Kind = "flapping"          // a connection broke again and again
	SlowDisks       Kind = "slow_disks"        // disks were slow
	Lagging         Kind = "lagging"           // a follower lags
	Overload        Kind = "overload"          // requests were refused
	Starved         Kind = "starved"           // a node's processor was busy
	CollectorPauses Kind = "collector_pauses"  // Go's collector stopped a node
	SplitVote       Kind = "split_vote"        // nobody won an election
	LogBehind       Kind = "log_behind"        // a node could not win, because its log was behind
	TailDropped     Kind = "tail_dropped"      // entries that were not committed were dropped
	SnapshotSent    Kind = "snapshot_sent"     // a follower got a snapshot instead of the log
	Refused         Kind = "directory_refused" // a node was turned down because of its data directory
	StateDiffers    Kind = "state_differs"     // a node found its state to be wrong
	ClockJumped     Kind = "clock_jumped"      // a wall clock jumped, or is far off
	MembersChanged  Kind = "members_changed"   // a member came, went, or votes from now on or no more
	Staged          Kind = "staged"            // somebody did something to a node of raftkv dev
	Quiet           Kind = "quiet"             // nothing happened
	Disorder        Kind = "disorder"          // the events contradict each other
)

// Certainty says how sure a story is of its culprit.
type Certainty string

// The certainties.
const (
	Certain Certainty = "certain" // shown by its own events, or by what only this causes
	Likely  Certainty = "likely"  // what fits the events best
	Unknown Certainty = "unknown" // the events do not say
)

// Story is what is told of one incident.
type Story struct {
	Kind      Kind        `json:"kind"`
	From      int64       `json:"from_ms"` // Unix milliseconds of the common clock
	To        int64       `json:"to_ms"`
	Group     uint32      `json:"group"`
	Culprits  []string    `json:"culprits,omitempty"` // nodes, sorted
	Certainty Certainty   `json:"certainty"`
	Effect    Effect      `json:"effect"`
	Sentences []string    `json:"sentences"`
	Evidence  []Reference `json:"evidence"`
}

// Effect is what clients felt. Times are nanoseconds.
type Effect struct {
	NoWritesFor   int64 `json:"no_writes_for_ns,omitempty"`
	SlowestCommit int64 `json:"slowest_commit_ns,omitempty"`
	Refused       int64 `json:"refused,omitempty"`
}

// Reference names an event.
type Reference struct {
	Node string `json:"node"`
	Boot uint64 `json:"boot"`
	Seq  uint64 `json:"seq"`
}

// Span is the time that is asked about, in Unix milliseconds of the common clock.
type Span struct{ From, To int64 }

// Stories tells what the rings hold of the time in span. Events before it are used to
// know which node led. The stories are in the order in which they began.
func Stories(rings []recorder.Ring, span Span) []Story { return newOrder(rings).stories(span) }

func (o *order) stories(span Span) []Story {
	t := &teller{order: o, from: saturated(span.From, 1_000_000), to: saturated(span.To, 1_000_000)}
	t.prepare()
	for _, tell := range []func(){
		t.changes, t.noLeader, t.absences, t.cutOffs, t.pairs, t.flapping, t.slowDisks, t.lagging, t.overload, t.starved, t.collector,
		t.splitVotes, t.logsBehind, t.tails, t.snapshots, t.refusals, t.quarantines, t.clocks, t.placed, t.staged, t.contradictions,
	} {
		tell()
	}
	if len(t.stories) == 0 {
		t.quiet()
	}
	slices.SortStableFunc(t.stories, func(a, b Story) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Kind, b.Kind)) })
	return t.stories
}

// teller makes stories out of events.
type teller struct {
	*order
	from, to   int64 // the span, in nanoseconds of the common clock
	nodes      []string
	reigns     []reign
	away       []absence // nodes whose absence a story has told
	leaderless []int64   // when leaders were lost of whom a story has told that too few nodes were there
	index      index
	stories    []Story
}

// reign is the time in which one node leads a term.
type reign struct {
	leader string
	term   uint64
	begin  int // position of the event that shows it first
	own    bool
	first  int // position of the leader's FirstCommit; -1 if there is none
}

// prepare finds the nodes and the reigns.
func (t *teller) prepare() {
	t.index = newIndex(t.events)
	seen := map[string]bool{}
	for i := range t.events {
		for _, name := range []string{t.events[i].node, t.events[i].peer} {
			if name != "" && !seen[name] {
				seen[name] = true
				t.nodes = append(t.nodes, name)
			}
		}
	}
	slices.Sort(t.nodes)
	at := map[uint64]int{}
	for i := range t.events {
		e := &t.events[i]
		leader, own := "", false
		switch e.Kind {
		case recorder.Elected, recorder.Minute, recorder.FirstCommit:
			leader, own = e.node, true
		case recorder.Followed, recorder.MinuteFollowed:
			leader = e.peer
		}
		if leader == "" {
			continue
		}
		n, known := at[e.Term]
		if !known {
			n = len(t.reigns)
			at[e.Term] = n
			t.reigns = append(t.reigns, reign{leader: leader, term: e.Term, begin: i, own: own, first: -1})
		}
		if e.Kind == recorder.FirstCommit {
			t.reigns[n].first = i
		}
	}
	slices.SortStableFunc(t.reigns, func(a, b reign) int { return cmp.Compare(a.term, b.term) })
}

// tell adds a story if it touches the span. The evidence is positions of events.
func (t *teller) tell(s Story, from, to int64, evidence ...int) {
	if to < t.from || from > t.to {
		return
	}
	s.From, s.To = from/1_000_000, to/1_000_000
	s.Group = 1
	slices.Sort(s.Culprits)
	s.Culprits = slices.Compact(s.Culprits)
	if s.Certainty == "" {
		s.Certainty = Unknown
	}
	slices.Sort(evidence)
	for _, i := range t.few(slices.Compact(evidence), s.Culprits) {
		e := &t.events[i]
		s.Evidence = append(s.Evidence, Reference{e.node, t.processes[e.process].boot, e.Seq})
	}
	t.stories = append(t.stories, s)
}

// maxEvidence bounds the events that a story names, so that ten minutes of slow disks are
// no longer to tell than one.
const maxEvidence = 50

// few returns of evidence the first and the last events, and for each culprit one that names
// it. What is below 0 is none.
func (t *teller) few(evidence []int, culprits []string) []int {
	evidence = slices.DeleteFunc(evidence, func(i int) bool { return i < 0 })
	if len(evidence) <= maxEvidence {
		return evidence
	}
	some := slices.Concat(evidence[:maxEvidence/2], evidence[len(evidence)-maxEvidence/2:])
	for _, c := range culprits {
		names := func(i int) bool { return t.events[i].node == c || t.events[i].peer == c }
		if n := slices.IndexFunc(evidence, names); n >= 0 && !slices.ContainsFunc(some, names) {
			some = append(some, evidence[n])
		}
	}
	slices.Sort(some)
	return some
}

// others returns all nodes but one.
func (t *teller) others(node string) (names []string) {
	for _, name := range t.nodes {
		if name != node {
			names = append(names, name)
		}
	}
	return names
}

// hasRing reports whether a node's own events are known of a time or later.
func (t *teller) hasRing(node string, from int64) bool {
	return t.lastOf(node, from) >= 0
}

// End returns the time of the last event, in Unix milliseconds of the common clock, rounded
// up so that a span that ends then holds the event; 0 if there is none.
func End(rings []recorder.Ring) int64 {
	return newOrder(rings).endMs()
}

func (o *order) endMs() int64 {
	if len(o.events) == 0 {
		return 0
	}
	return (o.end() + 999_999) / 1_000_000
}

// Told is what Tell returns.
type Told struct {
	Span    Span
	Stories []Story
	Lines   []Line
}

// Tell tells what the rings hold of the last milliseconds, by stories and by events: those
// that ended when the nodes were asked for them, by the clocks of the nodes. Where no node
// says when that was, it was now, by the caller's clock.
func Tell(rings []recorder.Ring, last, now int64) Told {
	o := newOrder(rings)
	to := now
	if asked := o.now(); asked != 0 {
		to = max((asked+999_999)/1_000_000, 0)
	}
	span := Span{From: to - last, To: to}
	return Told{Span: span, Lines: o.lines(span), Stories: o.stories(span)}
}

// Now returns when the nodes were asked for the rings, in Unix milliseconds of the common
// clock; 0 if none says so.
func Now(rings []recorder.Ring) int64 {
	if asked := newOrder(rings).now(); asked != 0 {
		return (asked + 999_999) / 1_000_000
	}
	return 0
}

// Line is one event, in a list of all.
type Line struct {
	At    int64  `json:"at_ms"` // Unix milliseconds of the common clock
	Node  string `json:"node"`
	Boot  uint64 `json:"boot"`
	Seq   uint64 `json:"seq"`
	Kind  string `json:"kind"`
	Why   string `json:"why,omitempty"`
	Peer  string `json:"peer,omitempty"`
	Term  uint64 `json:"term,omitempty"`
	Index uint64 `json:"index,omitempty"`
	A     int64  `json:"a,omitempty"`
	B     int64  `json:"b,omitempty"`
	Count uint32 `json:"count,omitempty"`
}

// Lines returns the events of a span in an order that the protocol allows.
func Lines(rings []recorder.Ring, span Span) []Line { return newOrder(rings).lines(span) }

func (o *order) lines(span Span) (lines []Line) {
	for i := range o.events {
		e := &o.events[i]
		if at := e.at / 1_000_000; at >= span.From && at <= span.To {
			lines = append(lines, Line{
				at, e.node, o.processes[e.process].boot, e.Seq, e.Kind.String(), e.Why.String(), e.peer, e.Term, e.Index, e.A, e.B, e.Count,
			})
		}
	}
	return lines
}

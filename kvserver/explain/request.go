package explain

import (
	"fmt"

	"raftkv/kvserver/recorder"
)

// Request is what a node kept of one request. Times are nanoseconds since it came.
type Request struct {
	Node   string
	Method string
	At     int64  // when it came, in Unix milliseconds by the node's clock
	Placed int64  // when the node put it into its log as leader
	Ended  int64  // when it was answered
	Index  uint64 // in the log; 0: the node did not put it there
	Term   uint64
	Leader string // the node that it was passed on to; "" if it was not
	Status int
	Code   string // of the refusal; "" if it went well
	// Unknown: the answer said that the outcome is not known.
	Unknown bool
}

// OfRequest tells the way of a request: how it was answered, where it was put into the
// log, what disk and commitment did about that time, and what became of its entry, as far
// as the rings say. meanwhile are the stories that touch its time.
func OfRequest(rings []recorder.Ring, r *Request) (sentences []string, meanwhile []Story) {
	t := &teller{order: newOrder(rings)}
	came := *r
	came.At = t.common(r.Node, r.At)
	r = &came
	from, to := r.At-1, r.At+(r.Ended+millisecond-1)/millisecond
	for _, s := range t.order.stories(Span{From: from, To: to}) {
		if s.Kind != Quiet {
			meanwhile = append(meanwhile, s)
		}
	}
	t.prepare()
	var told Story
	switch {
	case r.Leader != "":
		told.say("%s came to %s, which passed it on to %s.", method(r.Method), r.Node, r.Leader)
	case r.Index != 0:
		told.say("%s came to %s, which led term %d and put it into its log as entry %d, %s after it came.", method(r.Method), r.Node, r.Term, r.Index, duration(r.Placed))
	default:
		told.say("%s came to %s, which put nothing into the log for it.", method(r.Method), r.Node)
	}
	if r.Index != 0 {
		t.saved(&told, r)
	}
	answer := fmt.Sprintf("It was answered after %s, with status %d", duration(r.Ended), r.Status)
	if r.Code != "" {
		answer += " (" + r.Code + ")"
	}
	if r.Unknown {
		answer += "; its outcome was not known then"
	}
	told.say("%s.", answer)
	if r.Index != 0 {
		t.fate(&told, r)
	}
	return told.Sentences, meanwhile
}

// common returns what the common clock said at a time by a node's own, in milliseconds. That
// it was that time its events show: the latest of them before it counts.
func (o *order) common(node string, wall int64) int64 {
	at := wall
	for i := range o.processes {
		p := &o.processes[i]
		if p.node != node {
			continue
		}
		for _, j := range p.events {
			if e := &o.events[j]; e.Wall <= wall {
				at = e.at/millisecond + wall - e.Wall
			}
		}
	}
	return at
}

// method names a request for the beginning of a sentence.
func method(m string) string {
	if m == "" {
		return "The request"
	}
	return "The " + m
}

// saved tells of slow writes to disks while the request waited, for each node the slowest.
func (t *teller) saved(s *Story, r *Request) {
	from := r.At * millisecond
	slowest := map[string]*event{}
	for _, i := range t.all(from-second, from+r.Ended+second, func(e *event) bool {
		return e.at-e.A <= from+r.Ended && e.at >= from+r.Placed-millisecond
	}, recorder.SlowSave) {
		if e := &t.events[i]; slowest[e.node] == nil || slowest[e.node].A < e.A {
			slowest[e.node] = e
		}
	}
	for _, node := range t.nodes {
		if e := slowest[node]; e != nil {
			s.say("Writes to %s's disk took up to %s meanwhile%s.", node, duration(e.A), t.usually(&spell{usual: e.B}))
		}
	}
}

// fate tells what became of an entry. A leader that says, in the term of the entry, that
// it has committed up to it or further has committed the entry itself.
func (t *teller) fate(s *Story, r *Request) {
	committed := t.find(-unbound, unbound, func(e *event) bool {
		return e.node == r.Node && e.Term == r.Term && e.Index >= r.Index
	}, recorder.FirstCommit, recorder.Minute)
	dropped := t.find(-unbound, unbound, func(e *event) bool {
		return e.node == r.Node && e.Index <= r.Index && uint64(e.A) >= r.Index && e.at >= r.At*millisecond-second
	}, recorder.Truncated)
	switch {
	case committed >= 0:
		s.say("It happened: %s committed up to entry %d in term %d.", r.Node, t.events[committed].Index, r.Term)
	case dropped >= 0:
		s.say("%s dropped the entry afterwards: another leader had another one in its place.", r.Node)
	case r.Unknown:
		s.say("What became of the entry is not recorded; read the key to learn whether it happened.")
	}
}

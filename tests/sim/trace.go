package main

import (
	"fmt"
	"io"
	"slices"

	"raftkv/raft/core"
)

// trace hashes everything that happens. Printed, it has one row an event, in
// columns that line up: the time, the server, its role and term, the event, and its details.
// Rows are only made when somebody wants them: making them costs more than the
// run itself.
type trace struct {
	sum    uint64
	events uint64
	out    io.Writer // where rows go; nil: nowhere
	keep   int       // how many of the last rows to keep
	rows   []string
}

// mix takes numbers into the hash.
func (t *trace) mix(numbers ...uint64) {
	sum := t.sum
	for _, n := range numbers {
		sum = (sum ^ n) * 0x9e3779b97f4a7c15
		sum ^= sum >> 29
	}
	t.sum = sum
}

// seen reports whether rows are wanted.
func (t *trace) seen() bool { return t.out != nil || t.keep > 0 }

// kind is a kind of event.
type kind uint64

// subject is whom an event happens to: a server from 0, or one of these.
const (
	theNetwork = -1
	theClient  = -2 // minus the client's number, from 0
)

// event records that something happened. The numbers are the arguments of the
// kind's format.
func (w *world) event(subject int, k kind, numbers ...uint64) {
	t := w.trace
	t.events++
	t.mix(uint64(w.now), uint64(int64(subject)), uint64(k))
	t.mix(numbers...)
	if t.seen() {
		args := make([]any, len(numbers))
		for i, n := range numbers {
			args[i] = n
		}
		w.row(subject, k, fmt.Sprintf(kinds[k].format, args...))
	}
}

// row makes a row for people.
func (w *world) row(subject int, k kind, text string) {
	who, state := "", ""
	switch {
	case subject >= 0:
		s := w.servers[subject]
		who = string(s.id)
		if state = "down"; s.up {
			o := s.replica.Observe()
			state = fmt.Sprintf("%s%d", roleLetters[o.Role], o.Term)
		}
	case subject == theNetwork:
		who = "net"
	default:
		who = fmt.Sprintf("c%d", theClient-subject+1)
	}
	row := fmt.Sprintf("%4d.%06d  %-3s  %-4s  %-10s  %s", w.now/second, w.now%second, who, state, kinds[k].name, text)
	t := w.trace
	if t.out != nil {
		fmt.Fprintln(t.out, row)
	}
	if t.keep > 0 {
		if len(t.rows) >= 2*t.keep {
			t.rows = slices.Delete(t.rows, 0, len(t.rows)-t.keep+1)
		}
		t.rows = append(t.rows, row)
	}
}

// last returns the last rows.
func (t *trace) last() []string { return t.rows[max(0, len(t.rows)-t.keep):] }

// roleLetters stand for the roles in a row.
var roleLetters = [...]string{core.Follower: "F", core.PreCandidate: "P", core.Candidate: "C", core.Leader: "L"}

// The kinds of events.
const (
	evFault kind = iota
	evFaultEnds
	evHealed
	evStart
	evCrash
	evRecoveryCrash
	evPaused
	evResumed
	evLeads
	evCommitted
	evSaving
	evSaved
	evDiskError
	evApplied
	evSnapshot
	evInstalled
	evOffered
	evChunk
	evReceived
	evBroken
	evSuspects
	evGotVote
	evGotAppend
	evGotSnapshot
	evGotTimeoutNow
	evGotReadIndex
	evVoteEnd
	evAppendEnd
	evSnapshotEnd
	evTimeoutNowEnd
	evReadIndexEnd
	evGotRejoin
	evRejoinEnd
	evRefuses
	evLost
	evAsks
	evServes
	evDone
	evRefused
	evGivesUp
	evChange
	evCoordinates
	evCoordinated
	evUpgraded
)

// kinds name the events and say what their numbers are.
var kinds = [...]struct{ name, format string }{
	evFault:         {"fault", "number %d"},
	evFaultEnds:     {"fault ends", "number %d"},
	evHealed:        {"healed", "%d servers stay outside"},
	evStart:         {"start", "life %d: log %d..%d, vote n%d"},
	evCrash:         {"crash", "life %d"},
	evRecoveryCrash: {"crash", "life %d, during recovery"},
	evPaused:        {"paused", ""},
	evResumed:       {"resumed", "%d inputs were waiting"},
	evLeads:         {"leads", "term %d, log ends at %d"},
	evCommitted:     {"committed", "up to %d"},
	evSaving:        {"saving", "write %d: term %d, vote n%d, entries from %d, %d of them, snapshot %d"},
	evSaved:         {"saved", "write %d"},
	evDiskError:     {"disk error", "write %d"},
	evApplied:       {"applied", "up to %d, revision %d"},
	evSnapshot:      {"snapshot", "of %d of term %d is written"},
	evInstalled:     {"installed", "snapshot of %d"},
	evOffered:       {"offered", "by n%d: snapshot of %d of term %d, %d bytes, %d are here"},
	evChunk:         {"chunk", "from n%d: %d bytes at %d"},
	evReceived:      {"received", "from n%d: snapshot of %d of term %d"},
	evBroken:        {"broken", "transfer of snapshot %d from n%d"},
	evSuspects:      {"suspects", "n%d"},
	evGotVote:       {"<- vote", "n%d: term %d, log ends at %d of term %d, pre %d, transfer %d"},
	evGotAppend:     {"<- append", "n%d: term %d, after %d of term %d, +%d, commit %d"},
	evGotSnapshot:   {"<- install", "n%d: term %d, snapshot of %d of term %d"},
	evGotTimeoutNow: {"<- stand", "n%d: term %d"},
	evGotReadIndex:  {"<- read", "n%d: term %d"},
	evVoteEnd:       {"-> vote", "n%d: asked for term %d, it has %d, granted %d"},
	evAppendEnd:     {"-> append", "n%d: up to %d, it has term %d, success %d, conflict at %d of term %d"},
	evSnapshotEnd:   {"-> install", "n%d: snapshot of %d, it has term %d"},
	evTimeoutNowEnd: {"-> stand", "n%d: it has term %d"},
	evReadIndexEnd:  {"-> read", "n%d: it has term %d, success %d, index %d"},
	evGotRejoin:     {"<- rejoin", "n%d"},
	evRejoinEnd:     {"-> rejoin", "n%d: it has term %d, rejoining %d, leads %d, last %d"},
	evRefuses:       {"refuses", "n%d, which is in boot %d of its directory"},
	evLost:          {"lost", "call to n%d, kind %d"},
	evAsks:          {"asks", "n%d: operation %d, kind %d, key %d"},
	evServes:        {"serves", "c%d's operation %d"},
	evDone:          {"done", "operation %d at index %d, revision %d"},
	evRefused:       {"refused", "operation %d"},
	evCoordinates:   {"coordinates", "asks n%d, number %d"},
	evCoordinated:   {"coordinates", "number %d is answered, from index %d"},
	evGivesUp:       {"gives up", "operation %d: its outcome is unknown"},
	evUpgraded:      {"upgraded", "in life %d"},
	evChange:        {"members", "configuration %d behind %d"},
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// clock writes a virtual time in seconds.
func clock(t int64) string { return fmt.Sprintf("%d.%06d s", t/second, t%second) }

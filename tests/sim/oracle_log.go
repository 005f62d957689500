package main

import (
	"slices"

	"raftkv/raft/core"
)

// logs is what is known of all logs together.
type logs struct {
	// places[i] holds what stood at index i+1 in any log: one entry for each term
	// in which a leader put one there.
	places    [][]place
	committed []chosen // committed[i] has index i+1
}

// place is an entry with the term of the one before it.
type place struct {
	entry    core.Entry
	previous uint64
}

// chosen is a committed entry and the term of the server that first called it so.
type chosen struct {
	core.Entry
	by uint64
}

// placed is Log Matching (Figure 3): where two logs hold an entry of the same
// index and term, it is the same entry, and so is the one before it.
func (o *oracles) placed(s *server, write *core.Write) {
	previous := uint64(0)
	for i, e := range write.Entries {
		if i > 0 {
			previous = write.Entries[i-1].Term
		} else if e.Index > 1 {
			var known bool
			if previous, known = o.termBefore(s, e.Index-1); !known {
				o.w.fail("log matching", "%s writes entry %d behind a log that ends before %d", s.id, e.Index, e.Index-1)
			}
		}
		for uint64(len(o.logs.places)) < e.Index {
			o.logs.places = append(o.logs.places, nil)
		}
		o.place(s, e, previous)
	}
}

func (o *oracles) place(s *server, e core.Entry, previous uint64) {
	at := &o.logs.places[e.Index-1]
	for _, p := range *at {
		if p.entry.Term != e.Term {
			continue
		}
		if p.previous != previous || !sameEntry(p.entry, e) {
			o.w.fail("log matching", "%s has another entry %d of term %d than others had, or another before it (terms %d and %d)",
				s.id, e.Index, e.Term, previous, p.previous)
		}
		return
	}
	*at = append(*at, place{e, previous})
}

// termBefore is the term of an entry in a server's log, which may be in its
// snapshot.
func (o *oracles) termBefore(s *server, index uint64) (uint64, bool) {
	entries := s.replica.Entries(index)
	if len(entries) > 0 && entries[0].Index == index {
		return entries[0].Term, true
	}
	if s.replica.Observe().LastIndex < index || index > uint64(len(o.logs.committed)) {
		return 0, false
	}
	return o.logs.committed[index-1].Term, true
}

// committed: what anybody calls committed is the same everywhere for ever
// (State Machine Safety), and was on the disks of a majority when it was first
// called so.
func (o *oracles) committed(s *server, now core.Observed) {
	from := s.watch.commit + 1
	s.watch.commit = now.CommitIndex
	o.w.event(s.index, evCommitted, now.CommitIndex)
	entries := s.replica.Entries(from)
	base := now.LastIndex - uint64(len(entries)) // from-1, or where the server's snapshot ends
	if base > uint64(len(o.logs.committed)) {
		o.w.fail("state machine safety", "%s has a snapshot at %d, but only %d is committed", s.id, base, len(o.logs.committed))
	}
	for i := base + 1; i <= now.CommitIndex; i++ {
		e := entries[i-base-1]
		if o.w.flipped && !e.Intact() {
			e = o.written(e) // its core finds out when it hands the entry on
		}
		if i <= uint64(len(o.logs.committed)) {
			if c := &o.logs.committed[i-1]; !sameEntry(c.Entry, e) {
				o.w.fail("state machine safety", "%s committed %d of term %d, others committed term %d there", s.id, i, e.Term, c.Term)
			}
			continue
		}
		if !o.mayDecide(s, max(i, s.watch.last), &e, func(other *server) bool { return other.held(e) }) {
			o.w.fail("durable majority", "%s committed %d of term %d, which only %d of %d disks hold:%s", s.id, i, e.Term, o.holders(e), len(o.w.servers), s.describeMembers())
		}
		o.logs.committed = append(o.logs.committed, chosen{e, now.Term})
		o.w.counts.Commits++
	}
}

// written is an entry as it was written first, in whose place a damaged one is in
// memory.
func (o *oracles) written(e core.Entry) core.Entry {
	for _, p := range o.logs.places[e.Index-1] {
		if p.entry.Term == e.Term {
			return p.entry
		}
	}
	return e
}

// holders counts the disks that hold an entry.
func (o *oracles) holders(e core.Entry) int {
	n := 0
	for _, s := range o.w.servers {
		if s.held(e) {
			n++
		}
	}
	return n
}

// held reports whether a disk of the server holds an entry, or did: one that was lost
// may have been counted before it was.
func (s *server) held(e core.Entry) bool {
	return s.model.holds(e.Index, e.Term) || s.aside != nil && s.aside.model.holds(e.Index, e.Term) ||
		slices.ContainsFunc(s.lost, func(d diskModel) bool { return d.holds(e.Index, e.Term) })
}

// countOldTermMajority counts the situation of Figure 8: an uncommitted entry
// of an earlier term is on a majority of disks.
func (o *oracles) countOldTermMajority(s *server, now core.Observed) {
	if now.CommitIndex >= s.watch.tail || now.CommitIndex == now.LastIndex {
		return
	}
	if e := s.replica.Entries(now.CommitIndex + 1)[0]; e.Term < now.Term && o.holders(e) > len(o.w.servers)/2 {
		o.w.counts.OldTermMajority++
	}
}

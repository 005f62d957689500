package main

import (
	"bytes"

	"raftkv/raft/core"
)

// diskModel is what a server's disk must hold: what it was told is saved.
type diskModel struct {
	state core.State

	life   int    // of the server that committed was noted in
	commit uint64 // the highest commit index seen in that life
}

func (d *diskModel) seenCommit(life int) uint64 {
	if life != d.life {
		return 0
	}
	return d.commit
}

func (d *diskModel) noteCommit(life int, index uint64) { d.life, d.commit = life, index }

func (d *diskModel) holds(index, term uint64) bool {
	return index <= uint64(len(d.state.Entries)) && d.state.Entries[index-1].Term == term
}

// with returns the model after a write.
func (d diskModel) with(w *core.Write) diskModel {
	d.state.Term, d.state.VotedFor = w.Term, w.VotedFor
	if w.From != 0 {
		d.state.Entries = append(d.state.Entries[:w.From-1:w.From-1], w.Entries...)
	}
	return d
}

// saved: the server was told that a write is on the disk.
func (o *oracles) saved(s *server, write *core.Write) {
	if n := len(s.model.state.Entries); write.From != 0 && write.From <= uint64(n) {
		o.w.counts.Truncations++
		o.w.counts.DurableTruncated += n - int(write.From) + 1
	}
	s.model = s.model.with(write)
}

// recovered: a disk gives back what was saved, and the write that was under way
// whole or not at all.
func (o *oracles) recovered(s *server, state core.State) {
	want := s.model
	switch {
	case sameState(state, want.state):
		if s.writing != nil {
			o.w.counts.CutTails++
		}
	case s.writing != nil && sameState(state, want.with(s.writing).state):
		o.w.counts.KeptTails++
	default:
		o.w.fail("%s recovered term %d, vote %q, %d entries; saved were term %d, vote %q, %d entries (a write under way: %v)",
			s.id, state.Term, state.VotedFor, len(state.Entries),
			want.state.Term, want.state.VotedFor, len(want.state.Entries), s.writing != nil)
	}
	s.model.state = state
	s.model.state.Entries = state.Entries[:len(state.Entries):len(state.Entries)]
}

func sameState(a, b core.State) bool {
	if a.Term != b.Term || a.VotedFor != b.VotedFor || len(a.Entries) != len(b.Entries) {
		return false
	}
	for i := range a.Entries {
		if !sameEntry(a.Entries[i], b.Entries[i]) {
			return false
		}
	}
	return true
}

func sameEntry(a, b core.Entry) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Kind == b.Kind && bytes.Equal(a.Data, b.Data)
}

// commitment: what anybody calls committed is the same everywhere for ever
// (state-machine safety), and was on the disks of a majority when it was first
// called so.
func (o *oracles) commitment(s *server, now core.Observed) {
	if now.CommitIndex <= s.model.seenCommit(s.life) {
		return
	}
	from := s.model.seenCommit(s.life) + 1
	s.model.noteCommit(s.life, now.CommitIndex)
	log := s.replica.Entries(from)
	for i := from; i <= now.CommitIndex; i++ {
		e := log[i-from]
		if i <= uint64(len(o.committed)) {
			if !sameEntry(o.committed[i-1], e) {
				o.w.fail("%s committed %d of term %d, others committed term %d there", s.id, i, e.Term, o.committed[i-1].Term)
			}
			continue
		}
		holders := 0
		for _, other := range o.w.servers {
			if other.model.holds(e.Index, e.Term) {
				holders++
			}
		}
		if holders <= len(o.w.servers)/2 {
			o.w.fail("%s committed %d of term %d, which only %d of %d disks hold", s.id, i, e.Term, holders, len(o.w.servers))
		}
		o.committed = append(o.committed, e)
		o.chosenIn = append(o.chosenIn, now.Term)
		o.w.counts.Commits++
	}
}

// logMatching: two logs that agree in the term at an index agree in everything
// up to it (Figure 3).
func (o *oracles) logMatching(s *server) {
	mine := s.replica.Entries(1)
	for _, other := range o.w.servers {
		if other == s || !other.up {
			continue
		}
		theirs := other.replica.Entries(1)
		i := min(len(mine), len(theirs)) - 1
		for i >= 0 && mine[i].Term != theirs[i].Term {
			i--
		}
		for ; i >= 0; i-- {
			if !sameEntry(mine[i], theirs[i]) {
				o.w.fail("logs of %s and %s agree later but not at %d", s.id, other.id, i+1)
			}
		}
	}
}

// countOldTermMajority counts the situation of Figure 8: an uncommitted entry
// of an earlier term is on a majority of disks.
func (o *oracles) countOldTermMajority(s *server, now core.Observed) {
	if now.Role != core.Leader || now.CommitIndex == now.LastIndex {
		return
	}
	e := s.replica.Entries(now.CommitIndex + 1)[0]
	holders := 0
	for _, other := range o.w.servers {
		if other.model.holds(e.Index, e.Term) {
			holders++
		}
	}
	if e.Term < now.Term && holders > len(o.w.servers)/2 {
		o.w.counts.OldTermMajority++
	}
}

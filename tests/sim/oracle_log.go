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
	return heldLog{d.state.Snapshot.Index, d.state.Entries}.holds(index, term)
}

// heldLog is a log that a snapshot stands for up to base.
type heldLog struct {
	base    uint64
	entries []core.Entry
}

func logOf(s *server) heldLog {
	return heldLog{s.replica.Status().FirstIndex - 1, s.replica.Entries(1)}
}

// holds reports whether the log has the entry. What a snapshot covers is
// committed, so it is the same everywhere.
func (l heldLog) holds(index, term uint64) bool {
	if index <= l.base {
		return true
	}
	i := index - l.base - 1
	return i < uint64(len(l.entries)) && l.entries[i].Term == term
}

// with returns the model after a write.
func (d diskModel) with(w *core.Write) diskModel {
	d.state.Term, d.state.VotedFor = w.Term, w.VotedFor
	base := d.state.Snapshot.Index
	if w.Snapshot != nil {
		d.state.Entries = d.state.Entries[min(w.Snapshot.Index-base, uint64(len(d.state.Entries))):]
		d.state.Snapshot = *w.Snapshot
		base = w.Snapshot.Index
	}
	if w.From != 0 {
		keep := w.From - base - 1
		d.state.Entries = append(d.state.Entries[:keep:keep], w.Entries...)
	}
	return d
}

// saved: the server was told that a write is on the disk.
func (o *oracles) saved(s *server, write *core.Write) {
	last := s.model.state.Snapshot.Index + uint64(len(s.model.state.Entries))
	if write.From != 0 && write.From <= last {
		o.w.counts.Truncations++
		o.w.counts.DurableTruncated += int(last - write.From + 1)
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
	log := logOf(s)
	if from <= log.base {
		if log.base > uint64(len(o.committed)) {
			o.w.fail("%s has a snapshot at %d, but only %d is committed", s.id, log.base, len(o.committed))
		}
		from = log.base + 1
	}
	for i := from; i <= now.CommitIndex; i++ {
		e := log.entries[i-log.base-1]
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
	mine := logOf(s)
	for _, other := range o.w.servers {
		if other == s || !other.up {
			continue
		}
		theirs := logOf(other)
		base := max(mine.base, theirs.base)
		last := min(mine.base+uint64(len(mine.entries)), theirs.base+uint64(len(theirs.entries)))
		agree := false
		for i := last; i > base; i-- {
			a, b := mine.entries[i-mine.base-1], theirs.entries[i-theirs.base-1]
			agree = agree || a.Term == b.Term
			if agree && !sameEntry(a, b) {
				o.w.fail("logs of %s and %s agree later but not at %d", s.id, other.id, i)
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

package main

import (
	"bytes"
	"slices"

	"raftkv/raft/core"
)

// diskModel is what a server's disk must hold: what it was told is saved.
type diskModel struct {
	state core.State
	// recorded is the newest snapshot that the log ever recorded. If its file was
	// damaged, the state may begin before it, until that snapshot is taken again.
	recorded uint64
}

func (d *diskModel) log() heldLog {
	return heldLog{d.state.Snapshot.Index, d.state.Entries}
}

func (d *diskModel) holds(index, term uint64) bool { return d.log().holds(index, term) }

// heldLog is a log that a snapshot stands for up to base.
type heldLog struct {
	base    uint64
	entries []core.Entry
}

func logOf(s *server) heldLog {
	entries := s.replica.Entries(1)
	last := s.replica.Observe().LastIndex
	return heldLog{base: last - uint64(len(entries)), entries: entries}
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

// with returns the model after a write. It may share the present one's memory
// and must then be used in its place or not be kept.
func (d diskModel) with(w *core.Write) diskModel {
	d.state.Term, d.state.VotedFor, d.state.Commit = w.Term, w.VotedFor, w.Commit
	base := d.state.Snapshot.Index
	if w.Snapshot != nil {
		d.state.Entries = d.state.Entries[min(w.Snapshot.Index-base, uint64(len(d.state.Entries))):]
		d.state.Snapshot = *w.Snapshot
		d.recorded = max(d.recorded, w.Snapshot.Index)
		base = w.Snapshot.Index
	}
	if w.From != 0 {
		keep := w.From - base - 1
		if keep < uint64(len(d.state.Entries)) {
			d.state.Entries = d.state.Entries[:keep:keep]
		}
		d.state.Entries = append(d.state.Entries, w.Entries...)
	}
	return d
}

// writing: a write is handed to the disk. Every change of a log leaves in one.
func (o *oracles) writing(s *server, write *core.Write) {
	if len(write.Entries) > 0 {
		o.placed(s, write)
		o.configured(s, write)
		o.levelled(s, write)
	}
}

// saved: the server is told that a write is on the disk.
func (o *oracles) saved(s *server, write *core.Write) {
	last := s.model.state.Snapshot.Index + uint64(len(s.model.state.Entries))
	if write.From != 0 && write.From <= last {
		o.w.counts.Truncations++
		o.w.counts.DurableTruncated += int(last - write.From + 1)
		o.committedStays(s, write)
		o.countConfigured(s, write)
	}
	if write.Snapshot != nil {
		o.w.counts.Compactions++
		if write.From != 0 && write.Snapshot.Index < last && !s.model.holds(write.Snapshot.Index, write.Snapshot.Term) {
			o.w.counts.InstallsOverTail++
		}
	}
	s.model = s.model.with(write)
}

// committedStays: a disk that holds a committed entry never lets go of it, once
// it has come to the term in which the entry was committed. (Before that, a leader
// of an earlier term may take it away again from a server that was not asked.)
func (o *oracles) committedStays(s *server, write *core.Write) {
	before := s.model.log()
	for i := max(write.From, before.base+1); i <= uint64(len(o.logs.committed)) && i-before.base <= uint64(len(before.entries)); i++ {
		e := before.entries[i-before.base-1]
		if e.Term != o.logs.committed[i-1].Term {
			return // nothing behind it is committed
		}
		if s.model.state.Term < o.logs.committed[i-1].by {
			continue
		}
		at := i - write.From
		covered := write.Snapshot != nil && i <= write.Snapshot.Index
		if !covered && (at >= uint64(len(write.Entries)) || write.Entries[at].Term != e.Term) {
			o.w.fail("committed entries stay", "%s drops committed entry %d of term %d from its disk", s.id, i, e.Term)
		}
	}
}

// recovered: a disk gives back what was saved, and the write that was under way
// whole or not at all.
func (o *oracles) recovered(s *server, state core.State) {
	writing := s.disk.writing
	switch {
	case o.sameDisk(s, state, s.model):
		if writing == nil {
			break
		}
		o.w.counts.CutTails++
		// A record that was kept, of a snapshot whose file rotted meanwhile, looks
		// the same; it counts again when that snapshot is written anew.
		if kept := s.model.with(writing); s.disk.rotten && o.sameDisk(s, state, kept) {
			s.model.recorded = kept.recorded
		}
	case writing != nil && o.sameDisk(s, state, s.model.with(writing)):
		o.w.counts.KeptTails++
		s.model = s.model.with(writing)
	default:
		want := s.model.state
		o.w.fail("durability", "%s recovered term %d, vote %q, snapshot %d, %d entries; saved were term %d, vote %q, snapshot %d, %d entries (a write under way: %v)",
			s.id, state.Term, state.VotedFor, state.Snapshot.Index, len(state.Entries), want.Term, want.VotedFor, want.Snapshot.Index, len(want.Entries), writing != nil)
	}
	s.model.state = state
	s.model.state.Entries = slices.Clone(state.Entries) // the core's may be damaged
}

// sameDisk compares what was found with what must be there. A disk whose newest
// snapshot was damaged may give an older one with the log behind it, and the
// newest again once it was written anew.
func (o *oracles) sameDisk(s *server, found core.State, model diskModel) bool {
	want := model.state
	base := want.Snapshot.Index
	if found.Term != want.Term || found.VotedFor != want.VotedFor || found.Commit != want.Commit || found.Snapshot.Index > model.recorded ||
		found.Snapshot.Index < base && !s.disk.rotten ||
		found.Snapshot.Index == base && (found.Snapshot.UID != want.Snapshot.UID || found.Snapshot.Members.Index != want.Snapshot.Members.Index) ||
		found.Snapshot.Index+uint64(len(found.Entries)) != base+uint64(len(want.Entries)) {
		return false
	}
	for i, e := range found.Entries {
		index := found.Snapshot.Index + 1 + uint64(i)
		if index <= base && !sameEntry(e, o.logs.committed[index-1].Entry) || index > base && !sameEntry(e, want.Entries[index-base-1]) {
			return false
		}
	}
	return true
}

func sameEntry(a, b core.Entry) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Kind == b.Kind && a.Sum == b.Sum && bytes.Equal(a.Data, b.Data)
}

package wal

import (
	"fmt"

	"raftkv/raft/core"
)

// shape is the outline of a log without its commands: enough to check that a
// batch may follow. It is checked on the way in, where a violation is a bug of
// the caller, and on the way back from disk.
type shape struct {
	term     uint64
	votedFor core.ID
	last     uint64    // index of the last entry, 0 for none
	runs     []termRun // terms rise along the log, so a few runs describe it
	snapshot position  // the recorded snapshot with the highest index, zero for none
	commit   uint64    // the highest recorded commit index
}

// termRun says that the entries from first up to the next run have this term.
type termRun struct {
	first uint64
	term  uint64
}

// step is one batch as the shape sees it.
type step struct {
	term     uint64
	votedFor core.ID
	record   snapshotRecord
	from     uint64
	entries  []core.Entry
	commit   uint64
}

// check returns the reason why a batch may not follow, or nil.
func (s *shape) check(b step) error {
	if b.term < s.term {
		return fmt.Errorf("the term falls from %d to %d", s.term, b.term)
	}
	if b.term == s.term && s.votedFor != core.None && b.votedFor != s.votedFor {
		return fmt.Errorf("the vote of term %d changes from %q to %q", b.term, s.votedFor, b.votedFor)
	}
	if len(b.votedFor) > core.MaxIDBytes {
		return fmt.Errorf("a vote of %d bytes", len(b.votedFor))
	}
	if b.record.index != 0 {
		if err := s.checkRecord(b); err != nil {
			return err
		}
	}
	if err := s.checkCommit(b); err != nil {
		return err
	}
	if b.from == 0 {
		if len(b.entries) != 0 {
			return fmt.Errorf("%d entries without an index", len(b.entries))
		}
		return nil
	}
	if b.from <= s.snapshot.index {
		return fmt.Errorf("entries from index %d on replace what the snapshot at index %d stands for", b.from, s.snapshot.index)
	}
	before, last := b.record.term, b.record.index
	if !b.record.replaces {
		before, _ = s.termAt(b.from - 1)
		last = s.last
	}
	if b.from > last+1 {
		return fmt.Errorf("entries from index %d on leave a gap behind index %d", b.from, last)
	}
	for i, e := range b.entries {
		if e.Index != b.from+uint64(i) {
			return fmt.Errorf("entry %d of the batch has index %d, not %d", i+1, e.Index, b.from+uint64(i))
		}
		if e.Term < before || e.Term > b.term {
			return fmt.Errorf("entry %d has term %d, which is not between %d and %d", e.Index, e.Term, before, b.term)
		}
		before = e.Term
	}
	return nil
}

// checkCommit returns the reason why a batch may not have its commit index, or
// nil. Committed entries stay, and they are in the log.
func (s *shape) checkCommit(b step) error {
	last := s.last
	if b.record.replaces {
		last = b.record.index
	}
	if b.from != 0 {
		last = b.from - 1 + uint64(len(b.entries))
	}
	switch {
	case b.commit < s.commit:
		return fmt.Errorf("the commit index falls from %d to %d", s.commit, b.commit)
	case b.from != 0 && b.from <= s.commit:
		return fmt.Errorf("entries from index %d on are replaced, while those up to index %d are recorded as committed: acknowledged entries would be lost", b.from, s.commit)
	case b.commit > last:
		return fmt.Errorf("entries up to index %d are recorded as committed, and the log ends with index %d: %d acknowledged entries are lost", b.commit, last, b.commit-last)
	}
	return nil
}

// checkRecord returns the reason why a batch may not record its snapshot, or nil.
func (s *shape) checkRecord(b step) error {
	r := b.record
	if r.term > b.term {
		return fmt.Errorf("the snapshot at index %d has term %d, beyond term %d", r.index, r.term, b.term)
	}
	holds, known := s.holds(r.index, r.term, b.from, b.entries)
	switch {
	case known && holds && r.replaces:
		return fmt.Errorf("the snapshot at index %d replaces a log that holds its last entry", r.index)
	case known && !holds && !r.replaces:
		return fmt.Errorf("the log does not hold entry %d of term %d, the last of the snapshot", r.index, r.term)
	case r.replaces && r.index <= s.snapshot.index:
		return fmt.Errorf("the snapshot at index %d replaces the log behind the snapshot at index %d", r.index, s.snapshot.index)
	case r.replaces && b.from != r.index+1:
		return fmt.Errorf("the snapshot at index %d replaces the log, which goes on at index %d", r.index, b.from)
	}
	return nil
}

// holds reports whether the log holds the entry of that index and term after the
// entries from index from on were replaced. known is false for terms before the
// first segment that is left.
func (s *shape) holds(index, term, from uint64, entries []core.Entry) (holds, known bool) {
	if from != 0 && index >= from {
		at := index - from
		return at < uint64(len(entries)) && entries[at].Term == term, true
	}
	if index > s.last {
		return false, true
	}
	is, known := s.termAt(index)
	return is == term, known
}

// apply takes over a batch that was checked.
func (s *shape) apply(b step) {
	s.term, s.votedFor, s.commit = b.term, b.votedFor, b.commit
	if b.record.replaces {
		s.last, s.runs = b.record.index, nil
	}
	if b.record.index > s.snapshot.index {
		s.snapshot = b.record.position
	}
	if b.from == 0 {
		return
	}
	for len(s.runs) > 0 && s.runs[len(s.runs)-1].first >= b.from {
		s.runs = s.runs[:len(s.runs)-1]
	}
	for _, e := range b.entries {
		if len(s.runs) == 0 || s.runs[len(s.runs)-1].term != e.Term {
			s.runs = append(s.runs, termRun{first: e.Index, term: e.Term})
		}
	}
	s.last = b.from - 1 + uint64(len(b.entries))
}

// termAt returns the term of the entry at index, if it is known; 0 for the
// position before the first entry. Before the first segment that is left, only
// the term of the snapshot's last entry is known.
func (s *shape) termAt(index uint64) (term uint64, known bool) {
	for i := len(s.runs) - 1; i >= 0; i-- {
		if s.runs[i].first <= index {
			return s.runs[i].term, true
		}
	}
	if index == s.snapshot.index {
		return s.snapshot.term, true // 0 for none
	}
	return 0, index == 0
}

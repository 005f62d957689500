package wal

import (
	"fmt"

	"raftkv/raft/core"
)

// shape is what the log looks like without the commands: enough to check that a
// batch may follow. It is checked on the way in, where a violation is a bug of
// the caller, and on the way back from disk.
type shape struct {
	term     uint64
	votedFor core.ID
	last     uint64    // index of the last entry, 0 for none
	runs     []termRun // terms rise along the log, so a few runs describe it
}

// termRun says that the entries from first up to the next run have this term.
type termRun struct {
	first uint64
	term  uint64
}

// check says why a batch may not follow, or nil.
func (s *shape) check(term uint64, votedFor core.ID, from uint64, entries []core.Entry) error {
	if term < s.term {
		return fmt.Errorf("the term falls from %d to %d", s.term, term)
	}
	if term == s.term && s.votedFor != core.None && votedFor != s.votedFor {
		return fmt.Errorf("the vote of term %d changes from %q to %q", term, s.votedFor, votedFor)
	}
	if len(votedFor) > core.MaxIDBytes {
		return fmt.Errorf("a vote of %d bytes", len(votedFor))
	}
	if from == 0 {
		if len(entries) != 0 {
			return fmt.Errorf("%d entries without an index", len(entries))
		}
		return nil
	}
	if from > s.last+1 {
		return fmt.Errorf("entries from index %d on leave a gap behind index %d", from, s.last)
	}
	before := s.termAt(from - 1)
	for i, e := range entries {
		if e.Index != from+uint64(i) {
			return fmt.Errorf("entry %d of the batch has index %d, not %d", i+1, e.Index, from+uint64(i))
		}
		if e.Term < before || e.Term > term {
			return fmt.Errorf("entry %d has term %d, which is not between %d and %d", e.Index, e.Term, before, term)
		}
		before = e.Term
	}
	return nil
}

// apply takes over a batch that was checked.
func (s *shape) apply(term uint64, votedFor core.ID, from uint64, entries []core.Entry) {
	s.term, s.votedFor = term, votedFor
	if from == 0 {
		return
	}
	for len(s.runs) > 0 && s.runs[len(s.runs)-1].first >= from {
		s.runs = s.runs[:len(s.runs)-1]
	}
	for _, e := range entries {
		if len(s.runs) == 0 || s.runs[len(s.runs)-1].term != e.Term {
			s.runs = append(s.runs, termRun{first: e.Index, term: e.Term})
		}
	}
	s.last = from - 1 + uint64(len(entries))
}

// termAt is the term of the entry at index, 0 for the place before the first.
func (s *shape) termAt(index uint64) uint64 {
	for i := len(s.runs) - 1; i >= 0; i-- {
		if s.runs[i].first <= index {
			return s.runs[i].term
		}
	}
	return 0
}

package wal

import "raftkv/raft/core"

// candidate is a snapshot that recovery may start from.
type candidate struct {
	position              // the zero position is the beginning of the log
	generation uint64     // of the segment that records it; 0 for the beginning
	previous   *candidate // the one to fall back on; nil for none
}

// replay is the result of reading the batches of a log in order.
type replay struct {
	shape shape
	begun bool
	// start is the first index whose entry would be in the segments that are left.
	start uint64
	// floor is the index up to which entries are not kept: a whole snapshot stands
	// for them, if the log knows of it.
	floor   uint64
	entries []core.Entry // behind the floor, or from start on
	// candidates are in the order in which the log records them, behind the last
	// that replaced it.
	candidates []*candidate
}

// visit takes one record of the scan.
func (r *replay) visit(rec Record) error {
	if rec.Type == TypeSegment && !r.begun {
		r.begun = true
		r.start, r.shape.last = rec.FirstIndex, rec.FirstIndex-1
		if r.start == 1 {
			r.candidates = []*candidate{{}}
		}
	}
	if !rec.Type.isBatch() {
		return nil
	}
	run, err := rec.Entries()
	b := step{term: rec.Term, votedFor: rec.VotedFor, record: rec.batch.record, from: rec.From, entries: run, commit: rec.Commit}
	if err == nil {
		err = r.shape.check(b)
	}
	if err != nil {
		return judged(err, rec.File, rec.Offset, "batch %d is whole but cannot be: %v", rec.Number, err)
	}
	r.shape.apply(b)
	if b.record.replaces {
		r.start, r.entries, r.candidates = b.record.index+1, nil, nil
	}
	if b.record.index != 0 {
		r.note(b.record, rec.Generation)
	}
	if b.from != 0 {
		r.start = min(r.start, b.from)
		r.keepEntries(b.from, run)
	}
	return nil
}

// note takes a record of a snapshot into account.
func (r *replay) note(record snapshotRecord, generation uint64) {
	c := &candidate{position: record.position, generation: generation}
	for _, before := range r.candidates {
		if !record.replaces && before.position == record.previous {
			c.previous = before
		}
	}
	r.candidates = append(r.candidates, c)
}

// keepEntries takes over the entries behind the floor.
func (r *replay) keepEntries(from uint64, run []core.Entry) {
	first := max(r.start, r.floor+1)
	switch {
	case from >= first:
		r.entries = append(r.entries[:from-first], run...)
	case from+uint64(len(run)) <= first:
		r.entries = r.entries[:0]
	default:
		r.entries = append(r.entries[:0], run[first-from:]...)
	}
}

// usable reports whether the segments that are left hold all entries behind c.
func (r *replay) usable(c *candidate) bool { return c != nil && c.index+1 >= r.start }

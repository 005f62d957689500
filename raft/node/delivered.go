package node

import (
	"sort"

	"raftkv/raft/core"
)

// delivered remembers the terms of the entries that the service was given since the
// last snapshot. The core may forget those entries before the service has applied
// them, and a snapshot of the service needs the term of its last entry. Terms change
// seldom, so there are few runs.
type delivered struct {
	runs []termRun
	last uint64 // the index up to which the service was given everything
}

// termRun says that the entries from index first up to the next run have this term.
type termRun struct{ first, term uint64 }

// begin starts anew at a snapshot.
func (d *delivered) begin(s core.Snapshot) {
	d.runs, d.last = nil, s.Index
	if s.Index > 0 {
		d.runs = []termRun{{s.Index, s.Term}}
	}
}

// note records a batch that goes to the service.
func (d *delivered) note(b *core.Batch) {
	if b.Snapshot != nil {
		d.begin(*b.Snapshot)
		return
	}
	for i := range b.Entries {
		e := &b.Entries[i]
		if n := len(d.runs); n == 0 || d.runs[n-1].term != e.Term {
			d.runs = append(d.runs, termRun{e.Index, e.Term})
		}
	}
	d.last = b.Last()
}

// forget drops the runs that end before index.
func (d *delivered) forget(index uint64) {
	if drop := d.at(index); drop > 0 {
		d.runs = append(d.runs[:0], d.runs[drop:]...)
	}
}

// term returns the term of the entry at index, false if it is not remembered.
func (d *delivered) term(index uint64) (term uint64, known bool) {
	i := d.at(index)
	if i < 0 || index > d.last {
		return 0, false
	}
	return d.runs[i].term, true
}

// at returns the position in runs of the run that index lies in, -1 if it lies
// before all.
func (d *delivered) at(index uint64) int {
	return sort.Search(len(d.runs), func(i int) bool { return d.runs[i].first > index }) - 1
}

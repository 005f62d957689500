package host

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"raftkv/kvserver/metrics"
	"raftkv/raft"
	"raftkv/raft/core"
	"raftkv/raft/wire"
)

// timedSnapshots measures how long snapshots that peers send take to arrive.
type timedSnapshots struct {
	wire.Snapshots
	installs prometheus.Histogram
	begun    time.Time // one arrives at a time
}

// newTimedSnapshots returns snapshots with a histogram of how long they take to
// arrive, which it puts into the registry.
func newTimedSnapshots(s wire.Snapshots, registry *prometheus.Registry) *timedSnapshots {
	return &timedSnapshots{Snapshots: s, installs: instruments.snapshotInstallSeconds.Histogram(registry)}
}

// BeginReceive implements wire.Snapshots.
func (s *timedSnapshots) BeginReceive(of core.Snapshot, size int64, id [32]byte) (have int64, err error) {
	s.begun = time.Now()
	return s.Snapshots.BeginReceive(of, size, id)
}

// FinishReceive implements wire.Snapshots.
func (s *timedSnapshots) FinishReceive() error {
	err := s.Snapshots.FinishReceive()
	if err == nil {
		s.installs.Observe(time.Since(s.begun).Seconds())
	}
	return err
}

// logAges tells about when the entries of the log came, for as long as they are in
// memory.
type logAges struct {
	mu    sync.Mutex // guards the fields below
	from  uint64     // first index that this process has put into the log
	marks []logMark  // by index and by time
}

// logMark says that the log came to an index at some time.
type logMark struct {
	index uint64
	at    time.Time
}

// maxLogMarks bounds the marks. They are spread about evenly over the time that they
// span, and an age is wrong by less than a hundredth of that.
const maxLogMarks = 1024

// saved notes that entries are on the disk.
func (a *logAges) saved(w *core.Write, now time.Time) {
	if len(w.Entries) == 0 {
		return
	}
	first, last := w.Entries[0].Index, w.Entries[len(w.Entries)-1].Index
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.from == 0 {
		a.from = first
	}
	for len(a.marks) > 0 && a.marks[len(a.marks)-1].index >= first {
		a.marks = a.marks[:len(a.marks)-1] // those entries gave way to these
	}
	if n := len(a.marks); n > 2 && now.Sub(a.marks[n-2].at) < now.Sub(a.marks[0].at)*2/maxLogMarks {
		a.marks[n-1] = logMark{last, now}
		return
	}
	if len(a.marks) == maxLogMarks {
		for i := range maxLogMarks / 2 {
			a.marks[i] = a.marks[2*i+1]
		}
		a.marks = a.marks[:maxLogMarks/2]
	}
	a.marks = append(a.marks, logMark{last, now})
}

// oldest returns how long the entry at an index, the first in memory, has been in the
// log, and never more than that. It is not known for entries that were there before
// this process, nor if there is no entry.
func (a *logAges) oldest(first uint64, now time.Time) (age time.Duration, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	gone := 0
	for gone < len(a.marks) && a.marks[gone].index < first {
		gone++
	}
	a.marks = append(a.marks[:0], a.marks[gone:]...)
	if len(a.marks) == 0 || first < a.from {
		return 0, false
	}
	return now.Sub(a.marks[0].at), true
}

// logAgeMetrics shows how far back the log in memory reaches.
func logAgeMetrics(ages *logAges, status func() *raft.Status) metrics.Shown {
	return func(s *metrics.Scrape) {
		if age, known := ages.oldest(status().FirstIndex, time.Now()); known {
			s.Show(instruments.oldestLogAgeSeconds, age.Seconds())
		}
	}
}

package flight

import (
	"math"
	"runtime/metrics"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/recorder"
	"raftkv/raft"
	"raftkv/raft/core"
)

// Figures are what a node's recording looks at once a second.
type Figures struct {
	Status      *raft.Status
	Served      float64 // requests that ended in the last second
	Quarantined bool    // the node's state is wrong
	Snapshot    int64   // bytes of the newest snapshot
}

// watch is what the looks remember. It belongs to the recorder's goroutine.
type watch struct {
	begun    time.Time
	skew     time.Duration // of the wall clock against the monotonic one
	minute   time.Time
	refused  uint64
	wrong    bool
	snapshot uint64
	lagged   map[core.ID]time.Time // when it was last recorded that a follower lags
	pauses   []uint64              // of the collector, by length
	sample   []metrics.Sample
}

// What is looked for.
const (
	jumped      = 500 * time.Millisecond // of the wall clock
	longPause   = 20 * time.Millisecond  // of the collector
	manyEntries = 4096                   // that a follower lacks
	lagInterval = 10 * time.Second
)

func (w *watch) begin(now time.Time) {
	w.begun, w.minute = now, now.Add(time.Minute)
	w.lagged = map[core.ID]time.Time{}
	w.sample = []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	w.skew = skewOf(now, now)
	w.longestPause()
}

// skewOf returns by how much the wall clock is ahead of the monotonic clock, which both
// began at begun.
func skewOf(now, begun time.Time) time.Duration {
	return now.Round(0).Sub(begun.Round(0)) - now.Sub(begun)
}

// look records what nobody notes. It is called once a second.
func (r *Recording) look(now time.Time, figures func() (Figures, bool)) {
	w := &r.watch
	if skew := skewOf(now, w.begun); (skew - w.skew).Abs() >= jumped {
		r.recorder.Record(recorder.Event{Kind: recorder.ClockJumped, A: int64(skew - w.skew)})
		w.skew = skew
	}
	if pause := w.longestPause(); pause >= longPause {
		r.recorder.Record(recorder.Event{Kind: recorder.CollectorPause, A: int64(pause)})
	}
	r.placeAgain()
	f, known := figures()
	if !known {
		return
	}
	r.lookAt(now, f)
}

// lookAt records what the figures show.
func (r *Recording) lookAt(now time.Time, f Figures) {
	w, s := &r.watch, f.Status
	if refused := r.refused.Load(); refused > w.refused {
		r.recorder.Record(recorder.Event{Kind: recorder.Refused, Term: s.Term, A: int64(refused - w.refused), B: int64(math.Round(f.Served))})
		w.refused = refused
	}
	if f.Quarantined && !w.wrong {
		r.recorder.Record(recorder.Event{Kind: recorder.Quarantined, Term: s.Term, Index: s.CommitIndex})
	}
	w.wrong = f.Quarantined
	if s.SnapshotIndex > w.snapshot && w.snapshot != 0 {
		r.recorder.Record(recorder.Event{Kind: recorder.SnapshotMade, Index: s.SnapshotIndex, A: f.Snapshot})
	}
	w.snapshot = max(s.SnapshotIndex, 1)
	for _, p := range s.Peers {
		lag := s.LastIndex - min(p.MatchIndex, s.LastIndex)
		if p.MatchIndex == 0 {
			continue // it has not answered this leader yet, so what it lacks is not known
		}
		if lag >= manyEntries && now.Sub(w.lagged[p.ID]) >= lagInterval {
			w.lagged[p.ID] = now
			r.recorder.Record(recorder.Event{Kind: recorder.Lags, Peer: r.recorder.Peer(string(p.ID)), Term: s.Term, Index: p.MatchIndex, A: int64(lag)})
		}
	}
	if now.Before(w.minute) {
		return
	}
	w.minute = now.Add(time.Minute)
	e := recorder.Event{Kind: recorder.MinuteFollowed, Term: s.Term, Index: s.CommitIndex, A: r.slowestCommit.read(), B: r.slowestSave.read()}
	if s.Role == core.Leader {
		e.Kind = recorder.Minute
	} else {
		e.Peer = r.recorder.Peer(string(s.Leader))
	}
	r.recorder.Record(e)
}

// longestPause returns the longest pause of Go's collector since it was last called, as
// far as Go counts it.
func (w *watch) longestPause() time.Duration {
	metrics.Read(w.sample)
	if w.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0
	}
	h := w.sample[0].Value.Float64Histogram()
	if len(w.pauses) != len(h.Counts) {
		w.pauses = make([]uint64, len(h.Counts))
	}
	longest := 0.0
	for i, n := range h.Counts {
		if n > w.pauses[i] {
			longest = max(longest, h.Buckets[i]) // the bucket's lower end
		}
		w.pauses[i] = n
	}
	return time.Duration(longest * float64(time.Second))
}

// Refusals returns an observer of the service that also counts the reads and writes that are
// refused because there are too many.
func (r *Recording) Refusals(o kvserver.Observer) kvserver.Observer {
	if r == nil {
		return o
	}
	return refusals{o, r}
}

type refusals struct {
	kvserver.Observer
	r *Recording
}

// Refused implements kvserver.Observer.
func (o refusals) Refused(err error) {
	if failure.IsCrowded(err) {
		o.r.refused.Add(1)
	}
	o.Observer.Refused(err)
}

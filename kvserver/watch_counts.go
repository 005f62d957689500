package kvserver

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/watch"
)

// watchCounts count what watches do.
type watchCounts struct {
	streams        atomic.Int64
	events, resets atomic.Uint64

	mu    sync.Mutex // guards ended
	ended map[api.Code]uint64
}

// WatchCounts are what watches have done since the start, and how many there are.
type WatchCounts struct {
	Streams, Cursors int // the latter with reads that wait
	Lag              uint64
	Events, Resets   uint64
	Ended            map[api.Code]uint64 // by the reason
}

// WatchEnds are the reasons for which this node ends a watch.
var WatchEnds = []api.Code{api.CodeRevisionGone, api.CodeNoLeader, api.CodeStopping, api.CodeDiverged, api.CodeSlowWatcher}

func (c *watchCounts) note(outs []watch.Out) {
	for i := range outs {
		switch outs[i].Kind {
		case watch.Change:
			c.events.Add(uint64(len(outs[i].Events)))
		case watch.Reset:
			c.resets.Add(1)
		}
	}
}

func (c *watchCounts) end(reason api.Code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = map[api.Code]uint64{}
	}
	c.ended[reason]++
}

// WatchCounts returns what watches have done. The caller may keep it.
func (s *Server) WatchCounts() WatchCounts {
	c := &s.watches
	n := WatchCounts{Streams: int(c.streams.Load()), Events: c.events.Load(), Resets: c.resets.Load()}
	n.Cursors, n.Lag = s.machine.Watches()
	c.mu.Lock()
	defer c.mu.Unlock()
	n.Ended = maps.Clone(c.ended)
	return n
}

// Bounds of Config.HistoryBytes, so that the newest change always fits.
const (
	DefaultHistoryBytes = kv.DefaultHistoryBytes
	MinHistoryBytes     = kv.MinHistoryBytes
	MaxHistoryBytes     = kv.MaxHistoryBytes
)

// CheckHistoryBytes says what keeps a number from being the limit of the history; nil:
// nothing.
func CheckHistoryBytes(n int64) error {
	if !kv.HistoryBytesFit(uint64(max(n, 0))) {
		return fmt.Errorf("may have %d bytes; choose 0 for none, or %d to %d", n, MinHistoryBytes, int64(MaxHistoryBytes))
	}
	return nil
}

// historyEvery is how often the limit of the history is compared with the setting.
const historyEvery = 2 * time.Second

// historyAge tells how old the eldest change in the history is, as this node has seen the
// history go on: changes have no time of their own.
type historyAge struct {
	mu    sync.Mutex
	marks []historyMark // revisions and times rise
	step  time.Duration // between two marks, at least
}

// historyMark says that a revision was the newest one at a time.
type historyMark struct {
	revision uint64
	at       time.Time
}

// maxHistoryMarks bounds what is remembered: where there are as many, every second one is
// forgotten, and the next ones are farther apart.
const maxHistoryMarks = 512

// note notes the newest revision, and forgets what lies before the first that is kept.
func (a *historyAge) note(oldest, newest uint64, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if last := len(a.marks) - 1; last >= 0 && a.marks[last].revision > newest {
		a.marks = nil // a state of earlier took its place
	}
	a.marks = slices.DeleteFunc(a.marks, func(m historyMark) bool { return m.revision < oldest })
	if last := len(a.marks) - 1; last < 0 || a.marks[last].revision < newest && now.Sub(a.marks[last].at) >= a.step {
		a.marks = append(a.marks, historyMark{newest, now})
	}
	switch n := len(a.marks); {
	case n >= maxHistoryMarks:
		for i := range n / 2 {
			a.marks[i] = a.marks[2*i]
		}
		a.marks, a.step = a.marks[:n/2], max(2*a.step, 2*historyEvery)
	case n < maxHistoryMarks/4:
		a.step /= 2
	}
}

// of returns for how long, at least, the first change that is kept has been there; 0 if none
// is.
func (a *historyAge) of(oldest, newest uint64, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.marks {
		if m.revision >= oldest && oldest <= newest {
			return now.Sub(m.at)
		}
	}
	return 0
}

// HistoryAge returns for how long this node has known the eldest change in the history: a
// watch that was away for less time goes on where it was. 0 if there is none. It may be
// somewhat too short, and is not longer than this process has lived.
func (s *Server) HistoryAge() time.Duration {
	h := s.machine.History()
	if !h.Active() {
		return 0
	}
	return s.age.of(h.Oldest(), h.Revision(), time.Now())
}

// watchHistory notes how the history goes on, and sets the limit of the cluster's history to
// this node's setting, whenever it leads, until the server ends.
func (s *Server) watchHistory() {
	ticker := time.NewTicker(historyEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if h := s.machine.History(); h.Active() {
				s.age.note(h.Oldest(), h.Revision(), time.Now())
			}
			s.setHistory()
		case <-s.machine.Lifetime().Done():
			return
		}
	}
}

// setHistory proposes the setting if the cluster has another one. It is refused here, as every
// proposal is, unless this node leads.
func (s *Server) setHistory() {
	wanted := uint64(max(s.config.HistoryBytes, 0))
	if s.machine.Level() < kv.LevelHistory || s.machine.HistoryLimit() == wanted || s.Serving() != nil {
		return
	}
	ctx, cancel := s.OwnContext()
	defer cancel()
	result, _, err := s.propose(ctx, kv.Settings(wanted), nil, nil)
	switch {
	case err == nil && result.Status == kv.StatusOK:
		s.config.Logger.Info("the cluster keeps another number of bytes of changes for watches", "history_bytes", wanted)
	case err != nil && !errors.Is(err, failure.NoLeader):
		s.config.Logger.Warn("the limit of the history could not be set, and will be tried again", "history_bytes", wanted, "error", err)
	}
}

package kvserver

import (
	"errors"
	"fmt"
	"maps"
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

// watchHistory sets the limit of the cluster's history to this node's setting, whenever
// it leads, until the server ends.
func (s *Server) watchHistory() {
	ticker := time.NewTicker(historyEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.setHistory()
		case <-s.machine.Lifetime().Done():
			return
		}
	}
}

// setHistory proposes the setting, if this node leads and the cluster has another one.
func (s *Server) setHistory() {
	wanted := uint64(max(s.config.HistoryBytes, 0))
	leader, _ := s.leader()
	if leader != s.config.NodeID || s.machine.Level() < kv.LevelHistory || s.machine.HistoryLimit() == wanted || s.Serving() != nil {
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

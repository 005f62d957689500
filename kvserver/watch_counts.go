package kvserver

import (
	"maps"
	"sync"
	"sync/atomic"

	"raftkv/kvserver/api"
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

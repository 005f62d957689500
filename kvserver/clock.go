package kvserver

import (
	"sync"
	"time"
)

// logClock stamps commands with log time: the time that the cluster has run, as
// far as its log knows. It goes on from the log time that was applied here by
// this process's monotonic clock. No wall clock is ever read, so none that is
// set, stepped or wrong can make the store forget early what it promised to
// keep; and while no server runs, log time stands still.
//
// Servers' clocks differ by about the time that a command takes from one's
// stamp to the other's store. A stamp from a server that is behind moves
// nothing: the store keeps the greatest.
type logClock struct {
	mu    sync.Mutex // guards the fields below
	time  uint64     // log time, in milliseconds, at the moment below
	since time.Time
}

// observe tells the log time that the store has come to. The clock is never set
// back: a stamp is applied some time after it was made, and going by that
// again and again would make the clock slower the more commands there are.
func (c *logClock) observe(logTime uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() || logTime > c.nowLocked() {
		c.time, c.since = logTime, time.Now()
	}
}

// now returns the stamp for a command that is proposed now.
func (c *logClock) now() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nowLocked()
}

func (c *logClock) nowLocked() uint64 {
	return c.time + uint64(time.Since(c.since).Milliseconds())
}

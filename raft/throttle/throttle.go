// Package throttle decides whether an event that recurs is logged once more.
//
// # Mental model
//
// Events are named by keys that the program chooses, so there are never many. Of
// the events with one key, the first few in each interval pass and the rest are
// counted. The next event that passes learns how many were dropped since the last
// one, so that nothing is left out unseen.
//
// # What it does not know
//
// It has no clock and no logger: callers say when an event happens, and log it. It
// imports nothing of this module.
package throttle

import (
	"sync"
	"time"
)

// Throttle lets at most limit events with one key pass in each interval. Its methods
// are safe for concurrent use.
type Throttle struct {
	limit    int
	interval time.Duration

	mu     sync.Mutex // guards events and what it holds
	events map[string]*event
}

// event is what is remembered about one key.
type event struct {
	begun   time.Time // when the present interval began
	passed  int       // in the present interval
	dropped int       // since the last one that passed
}

// New returns a Throttle by which limit events with one key, 1 or more, pass in each
// interval.
func New(limit int, interval time.Duration) *Throttle {
	return &Throttle{limit: limit, interval: interval, events: map[string]*event{}}
}

// Allow reports whether an event with this key, which happens now, passes. If it
// does, dropped is the number of events that did not since the last one that did.
// An interval begins with the first event after the end of the one before.
func (t *Throttle) Allow(key string, now time.Time) (ok bool, dropped int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.events[key]
	if e == nil {
		e = &event{begun: now}
		t.events[key] = e
	}
	if now.Sub(e.begun) >= t.interval {
		e.begun, e.passed = now, 0
	}
	if e.passed >= t.limit {
		e.dropped++
		return false, 0
	}
	e.passed++
	dropped, e.dropped = e.dropped, 0
	return true, dropped
}

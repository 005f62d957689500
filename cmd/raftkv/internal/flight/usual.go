package flight

import (
	"sync/atomic"
	"time"
)

// usual estimates the median of the durations of the last minutes: it goes up by a step
// with a duration above it, and down with one below. It looks at ten durations a second
// at most, so that a thousand slow writes in a second do not become usual at once. It
// belongs to one goroutine.
type usual struct {
	median time.Duration
	seen   int
	due    time.Time
}

// While it has seen little it takes larger steps. Later 0.4 % a step, ten times a
// second, takes three minutes to double and ten to become ten times as long.
const (
	learning     = 200 // durations
	learningStep = 1.1
	step         = 1.004
	usualPause   = 100 * time.Millisecond
)

// note looks at a duration and returns what was usual before it: 0 at first.
func (u *usual) note(took time.Duration, now time.Time) (before time.Duration) {
	before = u.median
	if u.seen >= learning && now.Before(u.due) {
		return before
	}
	u.due = now.Add(usualPause)
	by := step
	if u.seen < learning {
		u.seen++
		by = learningStep
	}
	switch {
	case u.median == 0:
		u.median = max(took, 1)
	case took > u.median:
		u.median = time.Duration(float64(u.median)*by) + 1
	case took < u.median:
		u.median = max(time.Duration(float64(u.median)/by), 1)
	}
	return before
}

// slowest is the longest duration since it was last read.
type slowest struct{ atomic.Int64 }

func (s *slowest) note(took time.Duration) {
	for {
		before := s.Load()
		if int64(took) <= before || s.CompareAndSwap(before, int64(took)) {
			return
		}
	}
}

// read returns the longest duration and begins anew.
func (s *slowest) read() int64 { return s.Swap(0) }

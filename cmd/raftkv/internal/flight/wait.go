package flight

import (
	"time"

	"raftkv/kvserver/recorder"
)

// wait thins out what a node notes again and again while it hears no leader: otherwise an
// outage of three hours fills the ring, and nothing is left of its cause. The first events
// of a wait are recorded, then one in a minute with their number. It belongs to the goroutine
// that calls Noted.
type wait struct {
	seen   int    // of this wait
	left   uint32 // that were not recorded since the last one that was
	term   uint64
	latest time.Time // when one was recorded
}

const (
	firstWaits = 10
	waitPause  = time.Minute
)

// passes reports whether an event is to be recorded, and says in it for how many it stands. An
// event of another term always is: events of other nodes follow from it.
func (w *wait) passes(e *recorder.Event, now time.Time) bool {
	w.seen++
	if w.seen > firstWaits && e.Term == w.term && now.Sub(w.latest) < waitPause {
		w.left++
		return false
	}
	if w.left > 0 {
		e.Count = w.left + 1
	}
	w.left, w.term, w.latest = 0, e.Term, now
	return true
}

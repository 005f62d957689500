package lab

import (
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"raftkv/tests/virtual"
)

var (
	realtime = flag.Bool("realtime", false, "run the scenarios on the wall clock, not in virtual time")
	seed     = flag.Uint64("lab.seed", 0, "seed of the scenarios' and the network's chances; 0 draws one")
)

// drain is how long a bubble goes on after a scenario, so that the longest of
// labrpc's delays ends in it.
const drain = 8 * time.Second

// InTime calls body with virtual time, or on the wall clock with -realtime.
// What the test registers with t.Cleanup runs inside the bubble, before it
// drains.
func InTime(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	if *realtime {
		body(t)
		return
	}
	virtual.Time(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(drain) }) // cleanups run last first: after the body's own
		body(t)
	})
}

// Realtime reports whether -realtime was given.
func Realtime() bool { return *realtime }

// NewRand returns a source of chance that several goroutines may use, and its
// seed: that of -lab.seed, or a new one.
func NewRand() (*rand.Rand, uint64) {
	s := *seed
	if s == 0 {
		s = rand.Uint64N(1<<32) + 1 // short enough to be typed
	}
	return rand.New(&lockedSource{source: rand.NewPCG(s, 0)}), s
}

// lockedSource is a rand.Source that is safe for concurrent use.
type lockedSource struct {
	mu     sync.Mutex // guards source
	source rand.Source
}

// Uint64 returns the next number.
func (l *lockedSource) Uint64() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.source.Uint64()
}

package kvserver

import (
	"testing"
	"testing/synctest"
	"time"
)

// Goal: log time goes on from the log, whatever any wall clock says. Method: in
// a bubble the wall clock stands in the year 2000; a clock that asked it would
// show that.
func TestLogTimeGoesOnFromTheLogAndNotFromAWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, start := range []uint64{0, 7_000, 5_000_000_000_000} {
			var c logClock
			c.observe(start)
			if now := c.now(); now != start {
				t.Errorf("a clock that begins at %d shows %d", start, now)
			}
			time.Sleep(1500 * time.Millisecond)
			if now := c.now(); now != start+1500 {
				t.Errorf("1.5 s after %d it shows %d", start, now)
			}
		}
	})
}

// Goal: a clock keeps its pace however often it hears of its own stamps, and
// follows one that is ahead. Method: an hour of commands that take 30 ms each
// from stamp to store; then a stamp of a server that is ahead, and one of a
// server that is behind.
func TestLogTimeKeepsItsPaceUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c logClock
		c.observe(0)
		begun := time.Now()
		for range 100_000 {
			stamp := c.now()
			time.Sleep(30 * time.Millisecond)
			c.observe(stamp)
		}
		passed := uint64(time.Since(begun).Milliseconds())
		if now := c.now(); now != passed {
			t.Errorf("%d ms passed and the clock shows %d", passed, now)
		}
		c.observe(passed + 5000)
		c.observe(passed - 5000)
		time.Sleep(time.Second)
		if now := c.now(); now != passed+6000 {
			t.Errorf("a second after %d it shows %d", passed+5000, now)
		}
	})
}

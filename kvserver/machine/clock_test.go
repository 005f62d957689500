package machine

import (
	"testing"
	"time"

	"raftkv/tests/virtual"
)

// Goal: a stamp says how long the process has run, whatever any wall clock says,
// and is never 0, which would say nothing. Method: in a bubble the wall clock
// stands in the year 2000; a clock that asked it would show that.
func TestStampsMeasureTheLifeOfTheProcess(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := uptimeClock{time.Now()}
		if now := c.now(); now != 1 {
			t.Errorf("a clock that begins shows %d", now)
		}
		time.Sleep(1500 * time.Millisecond)
		if now := c.now(); now != 1501 {
			t.Errorf("1.5 s later it shows %d", now)
		}
	})
}

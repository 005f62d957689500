package node

import (
	"testing"
	"time"

	"raftkv/tests/virtual"
)

// Goal: ticks are counted as a ticker would: each that passes, none twice, in one
// phase; and a loop that was held up counts no more than it meant to sleep, and says how
// many ticks it left out.
// Method: a table of sleeps and of the times at which the loop wakes.
func TestTheClockCountsWhatPassed(t *testing.T) {
	const tick = 10 * time.Millisecond
	for name, c := range map[string]struct {
		due   int
		wakes []time.Duration // from the start
		want  []int
	}{
		"every tick":                          {1, []time.Duration{10, 20, 30}, []int{1, 1, 1}},
		"at the tick that is due":             {5, []time.Duration{50, 100}, []int{5, 5}},
		"messages between":                    {5, []time.Duration{4, 9, 12, 35, 35, 61}, []int{0, 0, 1, 2, 0, 3}},
		"a little late keeps the phase":       {1, []time.Duration{19, 21, 30}, []int{1, 1, 1}},
		"late by ticks drops them":            {1, []time.Duration{45, 50}, []int{1, 1}},
		"late by ticks, after a sleep":        {5, []time.Duration{95, 100}, []int{5, 1}},
		"no longer than the bound":            {59, []time.Duration{100, 200}, []int{10, 10}},
		"stopped for long":                    {5, []time.Duration{60_005, 60_010, 60_020}, []int{1, 1, 1}},
		"stopped a little more than it slept": {5, []time.Duration{160, 170}, []int{1, 1}},
	} {
		start := time.Now()
		clock := clock{interval: tick, most: 10, counted: start, timer: time.NewTimer(time.Hour)}
		for i, at := range c.wakes {
			clock.sleep(c.due)
			before := clock.counted
			got, uncounted := clock.passed(start.Add(at * time.Millisecond))
			if got != c.want[i] {
				t.Errorf("%s: at %d ms %d ticks had passed, want %d", name, at, got, c.want[i])
			}
			if all := int(clock.counted.Sub(before) / tick); got+uncounted != all {
				t.Errorf("%s: at %d ms %d ticks are counted and %d are not, of %d", name, at, got, uncounted, all)
			}
		}
		clock.timer.Stop()
	}
}

// Goal: an idle node wakes with its heartbeats and not with every tick, and keeps its
// leader for as long as it is idle.
// Method: an hour of an idle cluster; the turns of each loop are counted by what only
// turns do, the publication of a status.
func TestAnIdleNodeSleepsBetweenHeartbeats(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stop()
		leader := c.leader()
		term := c.node(leader).Status().Term
		time.Sleep(time.Second)
		published := map[*Status]bool{}
		const ticks = 100_000
		for range ticks {
			time.Sleep(c.node(leader).config.TickInterval)
			for _, id := range c.ids {
				published[c.node(id).Status()] = true
			}
		}
		if n, most := len(published), 3*ticks/c.node(leader).config.Core.HeartbeatTicks+100; n > most {
			t.Errorf("three idle nodes published %d times in %d ticks, want %d at most", n, ticks, most)
		}
		if s := c.node(leader).Status(); s.Term != term {
			t.Errorf("term %d became %d", term, s.Term)
		}
	})
}

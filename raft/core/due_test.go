package core

import "testing"

// Goal: a driver that sleeps until TicksUntilDue misses nothing, and an idle server
// sleeps most of the time. That nothing is missed is checked at every tick of every run
// in virtual time (timedServer.tick), also of those with slow and hanging disks.
// Method: a minute of an idle cluster, and one in which disks are slow, servers go down
// and come back; the ticks that did nothing are counted.
func TestDue_TicksBeforeItDoNothing(t *testing.T) {
	w := newTimed(t, 3, 1, func(c *Config) { c.CommitTicks = 200 })
	w.run(60_000)
	for _, s := range w.servers {
		if s.quiet < 4500 { // of 6000; a leader's heartbeats need every fifth
			t.Errorf("%s: only %d of 6000 ticks of an idle minute were not due", s.config.ID, s.quiet)
		}
	}
	for seed := range uint64(5) {
		w := newTimed(t, 3, seed, func(c *Config) { c.CommitTicks = 200 })
		w.load(100, 20)
		for i := range 30 {
			s := w.servers[i%3]
			s.disk([]int64{1, 40, 300, 2000}[i%4])
			s.down = i%5 == 0
			w.run(2_000)
			s.down = false
		}
	}
}

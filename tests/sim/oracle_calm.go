package main

import (
	"math"
	"slices"
)

// calm is what is known of the phase in which a majority is healed: it must have a
// leader before long, and keep it, however slow its disks are.
type calm struct {
	began     int64
	elections int  // before it began
	led       bool // a leader has committed an entry of its term since
}

// calmElections is how many leaders there may be in a minute of calm.
const calmElections = 6

// ledBy: a server leads and has committed an entry of its term. One that stays
// outside is nobody's leader any more, unless all that it lacks is a disk.
func (c *calm) ledBy(s *server) {
	if s.w.options.Outside == "hung" || slices.Contains(s.w.core, s) {
		c.led = true
	}
}

func (c *calm) begin(w *world) {
	*c = calm{began: w.now, elections: w.counts.Elections}
	for _, s := range w.servers {
		if s.up {
			w.oracles.observe(s)
		}
	}
	if w.options.Labs {
		return // without a no-op a leader may have nothing to commit
	}
	patience := w.options.ledWithin() + w.network.behind() + w.catchesUpWithin()
	w.after(patience, then(func() {
		if !c.led {
			w.fail("leader", "no leader within %s after the last fault:%s", clock(patience), w.describe())
		}
	}))
}

// entrySize is about how large an entry is.
const entrySize = 100

// catchesUpWithin is how long the servers that are healed may take to get the entries that the
// longest of their logs has and the shortest lacks. A leader commits no entry of its term before
// a majority has those in front of it, and in a world whose messages hold one entry each, new
// voters that lack thousands take seconds.
func (w *world) catchesUpWithin() int64 {
	o, shortest, longest := &w.options, uint64(math.MaxUint64), uint64(0)
	for _, s := range w.core {
		if s.up {
			last := s.replica.Observe().LastIndex
			shortest, longest = min(shortest, last), max(longest, last)
		}
	}
	if longest <= shortest {
		return 0
	}
	missing := int64(longest - shortest)
	messages := min(missing, missing*entrySize/int64(o.AppendBytes))
	return messages * (2*o.DelayHigh + o.SaveHigh + o.SlowSync + 2*o.LoopDelay)
}

func (c *calm) end(w *world) {
	elections, lasted := w.counts.Elections-c.elections, w.now-c.began
	if most := calmElections * (2 + lasted/(60*second)); !w.options.Labs && int64(elections) > most {
		w.fail("leader", "%d leaders in %s of calm; at most %d are in order", elections, clock(lasted), most)
	}
}

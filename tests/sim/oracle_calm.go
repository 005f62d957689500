package main

import "slices"

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
	patience := w.options.ledWithin() + w.network.behind()
	w.after(patience, then(func() {
		if !c.led {
			w.fail("leader", "no leader within %s after the last fault:%s", clock(patience), w.describe())
		}
	}))
}

func (c *calm) end(w *world) {
	elections, lasted := w.counts.Elections-c.elections, w.now-c.began
	if most := calmElections * (2 + lasted/(60*second)); !w.options.Labs && int64(elections) > most {
		w.fail("leader", "%d leaders in %s of calm; at most %d are in order", elections, clock(lasted), most)
	}
}

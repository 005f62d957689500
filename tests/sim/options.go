package main

import "math/rand/v2"

// options is what a seed draws before anything happens. Every run gets its own
// mixture: some faults never, some all the time (swarm testing), because a
// world in which everything fails a little reaches few corners.
type options struct {
	servers int
	clients int
	keys    int

	tick           int64
	electionTicks  int
	heartbeatTicks int
	promptTicks    int
	window         int
	appendBytes    int
	applyBytes     int
	uncommitted    int
	server         bool // pre-vote, check-quorum and no-op as on the real server; else the labs' plain Raft
	suspects       bool // a dead server's peers are told at once

	delayLow, delayHigh int64
	tail                float64 // probability of a delay far beyond the usual
	loss                float64
	duplicate           float64
	ordered             bool // messages of one pair stay in order, as on one TCP connection
	silentLoss          bool // a lost call is never reported

	saveLow, saveHigh int64
	// persister: the disk is the labs', which stores a whole state at once; only
	// on it are snapshots taken, after so many applied entries.
	persister     bool
	snapshotEvery uint64
	segmentBytes  int64
	applyDelay    int64

	crashEvery  int64 // mean time between crashes of some server; 0 never
	powerCuts   bool  // a crash is a power cut, not only the end of a process
	diskErrors  bool
	diskStalls  bool
	cutEvery    int64 // mean time between changes of the network's cuts; 0 never
	pauseEvery  int64
	transfers   bool
	driftPermil int64 // clocks run up to this much too fast or too slow

	faultyTime int64
	calmTime   int64
	deadCore   bool // after the faults only a bare majority comes back
}

func drawOptions(rng *rand.Rand) options {
	pick := func(values ...int64) int64 { return values[rng.IntN(len(values))] }
	sometimes := func(p float64) bool { return rng.Float64() < p }
	o := options{
		servers:        int(pick(1, 2, 3, 3, 3, 3, 4, 5, 5, 7)),
		clients:        int(pick(1, 2, 4, 8)),
		keys:           int(pick(1, 2, 4)),
		tick:           pick(1, 5, 10, 20) * millisecond,
		heartbeatTicks: int(pick(1, 2, 5)),
		window:         int(pick(1, 2, 8, 64)),
		appendBytes:    int(pick(1, 100, 1000, 1<<20)),
		applyBytes:     int(pick(1, 200, 1<<20)),
		uncommitted:    int(pick(400, 1<<20, 1<<20)),
		server:         sometimes(0.6),
		suspects:       sometimes(0.5),
		delayLow:       pick(20, 100, 1000),
		ordered:        sometimes(0.5),
		silentLoss:     sometimes(0.3),
		saveLow:        pick(20, 100, 1000),
		segmentBytes:   pick(8<<10, 16<<10, 1<<20),
		powerCuts:      sometimes(0.6),
		diskErrors:     sometimes(0.3),
		diskStalls:     sometimes(0.3),
		transfers:      sometimes(0.3),
		faultyTime:     pick(1, 2, 4) * second,
		deadCore:       sometimes(0.4),
	}
	if o.persister = sometimes(0.4); o.persister {
		o.snapshotEvery = uint64(pick(0, 1, 5, 20, 100))
	}
	if !o.server && sometimes(0.5) {
		o.promptTicks = int(pick(1, 2, 4))
	}
	o.electionTicks = o.heartbeatTicks * int(pick(3, 5, 10))
	o.delayHigh = o.delayLow * pick(1, 2, 10, 50)
	o.saveHigh = o.saveLow * pick(1, 2, 10)
	if sometimes(0.5) {
		o.loss = float64(pick(1, 5, 20, 40)) / 100
	}
	if sometimes(0.5) {
		o.duplicate = float64(pick(1, 10, 40)) / 100
	}
	if sometimes(0.4) {
		o.tail = float64(pick(1, 5, 20)) / 100
	}
	if sometimes(0.7) {
		o.crashEvery = pick(100, 300, 1000) * millisecond
	}
	if sometimes(0.6) {
		o.cutEvery = pick(100, 300, 1000) * millisecond
	}
	if sometimes(0.3) {
		o.pauseEvery = pick(200, 1000) * millisecond
	}
	if sometimes(0.5) {
		o.driftPermil = pick(10, 100, 300)
	}
	if sometimes(0.5) {
		o.applyDelay = pick(10, 1000, 20000)
	}
	if o.applyBytes < 1000 {
		// Clients ask again after a time-out. If commands are applied more slowly
		// than they ask, each attempt adds to what the next one waits for.
		o.applyDelay = min(o.applyDelay, 1000)
	}
	// A timeout must leave room for a round trip and the disks, or nobody is
	// ever elected and the run proves nothing.
	round := 4*o.delayHigh + 2*o.saveHigh
	for int64(o.electionTicks)*o.tick < 3*round {
		o.electionTicks *= 2
	}
	o.calmTime = o.patience()
	return o
}

// patience is how long a healed world may take to come to rest. It grows with
// what was drawn: a window of one entry per message is slow without being
// wrong.
func (o options) patience() int64 {
	election := int64(o.electionTicks) * o.tick
	perOp := 8*o.delayHigh + 4*o.saveHigh + o.applyDelay + int64(o.heartbeatTicks)*o.tick
	return 40*election + 4000*perOp + 30*second
}

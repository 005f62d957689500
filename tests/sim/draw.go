package main

import "math"

// Every run gets its own mixture: some faults never, some all the time (swarm
// testing), because a world in which everything fails a little reaches few
// corners.

// drawOptions makes the options of a seed.
func drawOptions(seed uint64) options {
	d := newDice(seed, streamOptions)
	var o options
	o.drawCluster(d)
	o.drawNetwork(d)
	o.drawDisks(d)
	o.drawClients(d)
	o.drawSlowDisks(d)
	o.makeRoom()
	o.drawCoordination(newDice(seed, streamCoordination))
	o.drawFaults(d)
	o.drawMembers(d)
	o.drawUnwilling(newDice(seed, streamUnwilling))
	o.drawLevels(newDice(seed, streamLevels))
	return o
}

func (o *options) drawCluster(d dice) {
	o.Servers = int(d.pick(1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7))
	o.Labs = d.chance(0.2)
	o.Tick = d.pick(2, 5, 10, 10, 10, 20) * millisecond
	o.HeartbeatTicks = int(d.pick(1, 2, 5, 5))
	o.ElectionTicks = o.HeartbeatTicks * int(d.pick(3, 6, 6, 10))
	if d.chance(0.3) {
		o.PromptTicks = int(d.pick(1, 2, 4))
	}
	if d.chance(0.5) {
		o.LoopDelay = d.pick(20, 200, 2000)
	}
	o.Suspects = d.chance(0.5)
	o.Window = int(d.pick(1, 2, 8, 64))
	o.AppendBytes = int(d.pick(1, 100, 1000, 1<<20, 1<<20))
	o.ApplyBytes = int(d.pick(1, 200, 1<<20, 1<<20))
	o.Uncommitted = int(d.pick(400, 1<<20, 1<<20, 1<<20))
	o.Trailing = int(d.pick(0, 0, 100, 1000, 100_000))
	o.StallTicks = o.ElectionTicks * int(d.pick(0, 1, 2, 4))
	if o.Labs {
		o.Trailing, o.StallTicks = 0, 0
	}
	if d.chance(0.5) {
		o.Drift = d.pick(1, 10, 100, 300)
	}
}

func (o *options) drawNetwork(d dice) {
	o.DelayLow = d.pick(20, 100, 100, 1000)
	o.DelayHigh = o.DelayLow * d.pick(1, 2, 10, 50)
	o.Ordered = d.chance(0.5)
	if o.SilentLoss = d.chance(0.3); !o.SilentLoss && !o.Labs && d.chance(0.7) {
		o.Patience = -1 // as on the real server, whose transport reports losses
	}
	o.Chunk = int(d.pick(50, 500, 1<<20))
	if d.chance(0.4) {
		o.Loss = float64(d.pick(1, 5, 20, 40)) / 100
	}
	if d.chance(0.4) {
		o.Duplicate = float64(d.pick(1, 10, 50)) / 100
	}
	if d.chance(0.4) {
		o.Tail = float64(d.pick(1, 5, 20)) / 100
	}
}

func (o *options) drawDisks(d dice) {
	o.SaveLow = d.pick(20, 100, 100, 1000)
	o.SaveHigh = o.SaveLow * d.pick(1, 2, 10)
	o.SegmentBytes = d.pick(8, 8, 16, 64) << 10
	o.SnapshotEvery = uint64(d.pick(0, 1, 5, 20, 100, 1000))
	o.SnapshotDelay = d.pick(0, 10, 1000, 100_000)
	if d.chance(0.5) {
		o.ApplyDelay = d.pick(10, 1000, 20000)
	}
	o.SlowRead = d.chance(0.5)
	o.CommitTicks = int(d.pick(0, 10, 100))
}

// slowWorlds lets worlds be drawn in which syncs take longer than elections wait.
const slowWorlds = true

// drawSlowDisks makes syncs slow on some disks, or on all: up to somewhat more
// than four times the shortest election timeout, but always below the limit from
// which a disk counts as hung.
func (o *options) drawSlowDisks(d dice) {
	share := d.pick(7, 33, 97, 133, 200, 333, 433) // percent of the shortest election timeout
	disks := int(d.pick(1, int64(o.Servers/2+1), int64(o.Servers), int64(o.Servers)))
	if !d.chance(0.15) || o.Labs || !slowWorlds {
		return
	}
	o.SlowDisks = min(disks, o.Servers)
	o.SlowSync = int64(o.ElectionTicks) * o.Tick * share / 100
	if o.StallTicks == 0 {
		o.StallTicks = o.ElectionTicks // a real node always has a limit
	}
}

func (o *options) drawClients(d dice) {
	o.Clients = int(d.pick(1, 2, 3, 5, 8))
	o.Lanes = int(d.pick(1, 1, 2, 4))
	o.Keys = int(d.pick(1, 2, 4, 8))
	o.Think = d.pick(1, 10, 50, 100, 100, 300) * millisecond
	o.Careless = float64(d.pick(0, 20, 40, 80)) / 100
	o.Keyed = float64(d.pick(0, 20, 40)) / 100
	o.Quota = uint64(d.pick(0, 0, 0, 0, 40, 120))
	if d.chance(0.5) {
		o.LostAnswers = float64(d.pick(1, 10, 30)) / 100
	}
	weight := func() int { return int(d.pick(0, 1, 2, 4)) }
	o.Mix = mix{Put: 1 + weight(), Append: weight(), Delete: weight(), Compare: weight(), Get: weight(), Stale: weight(), List: weight()}
	if o.Labs {
		o.Mix.List = 0 // reads go through the log, which knows no lists
	}
}

// drawCoordination gives some worlds coordinators. Their history is in every snapshot, and
// their keys would count for a quota.
func (o *options) drawCoordination(d dice) {
	if often := o.SnapshotEvery > 0 && o.SnapshotEvery < 20; d.chance(0.5) && !o.Labs && !often && o.Quota == 0 {
		o.Coordinators = int(d.pick(1, 2, 3))
	}
}

// makeRoom keeps the drawn figures from making a world in which nothing can
// work, which would prove nothing.
func (o *options) makeRoom() {
	if o.ApplyBytes < 1000 {
		// Clients ask again after a time-out. If commands are applied more slowly
		// than they ask, each attempt adds to what the next one waits for.
		o.ApplyDelay = min(o.ApplyDelay, 1000)
	}
	if o.SlowSync > 0 {
		// The same holds for a window of few entries that each wait for a slow disk.
		o.Window, o.AppendBytes = max(o.Window, 16), max(o.AppendBytes, 10_000)
	}
	// A write that takes its usual time must not count as one that hangs, also by a
	// clock that is fast: else every leader steps down for its disk.
	for o.StallTicks > 0 && int64(o.StallTicks)*o.Tick < 2*o.SlowSync+4*o.SaveHigh {
		o.StallTicks *= 2
	}
	// A timeout must leave room for a round trip, or nobody is ever elected. The
	// labs' Raft must also have room for the disks.
	round := 4*o.DelayHigh + 4*o.LoopDelay
	if o.Labs || !slowWorlds {
		round += 2 * o.SaveHigh
	}
	for int64(o.ElectionTicks)*o.Tick < 3*round {
		o.ElectionTicks *= 2
	}
}

// worldEvents is about how many events a world may cost.
const worldEvents = 60_000

// drawFaults decides what goes wrong, how often and for how long. Worlds cost
// about the same: the fewer events a virtual second has, the more seconds.
func (o *options) drawFaults(d dice) {
	for _, f := range faultKinds {
		if !f.apart && d.chance(f.share) && o.Servers >= f.least && !(o.Labs && f.notLabs) {
			o.Faults = append(o.Faults, f.name)
		}
	}
	o.Faulty = min(max(second*worldEvents/o.eventsPerSecond(), 3*second), 600*second, o.encodedWithin())
	o.FaultEvery = max(o.election()*d.pick(1, 2, 4, 20)/4, o.Faulty/1000)
	if o.Servers > 2 {
		o.Outside = []string{"", "", "dead", "cut", "mute", "deaf", "paused", "hung"}[d.IntN(8)]
		if o.Outside == "hung" && o.StallTicks == 0 {
			o.Outside = "" // nobody would notice a leader whose disk hangs
		}
		if o.Labs && (o.Outside == "deaf" || o.Outside == "paused") {
			// Without pre-vote a server that hears nobody goes on deposing leaders.
			o.Outside = "dead"
		}
	}
	o.TimeFactor = d.pick(1, 1, 30, 300, 3000)
	o.Calm = o.patience()
}

// drawUnwilling decides whether some servers would rather not lead at times. It has a
// stream of its own: the other figures of a seed are as they would be without it.
func (o *options) drawUnwilling(d dice) {
	kind, _ := faultNamed("unwilling")
	if d.chance(kind.share) && o.Servers >= kind.least && !o.Labs {
		o.Faults = append(o.Faults, kind.name)
	}
}

// eventsPerSecond estimates what a virtual second costs.
func (o options) eventsPerSecond() int64 {
	n := int64(o.Servers)
	ticks := n * second / o.Tick / 4 // most ticks cost little
	beats := (n - 1) * 3 * second / o.beat()
	return ticks + beats + int64(o.opsPerSecond())*(8+6*n)
}

// opsPerSecond estimates how many operations clients begin in a virtual second.
func (o options) opsPerSecond() float64 {
	latency := o.Think + 2*o.SaveHigh + 2*o.SlowSync + o.ApplyDelay + 10*o.LoopDelay
	if o.Servers > 1 { // one alone asks nobody
		latency += 4 * o.DelayHigh
	}
	return float64(o.Clients*o.Lanes+o.Coordinators) * float64(second) / float64(latency)
}

// worldRecords is about how many records of keyed writes the snapshots of a world may
// write, all together. It takes some two seconds.
const worldRecords = 2_000_000

// encodedWithin is the time within which snapshots write worldRecords: each of them
// writes those of all keyed writes before it. Without a bound, one world with a snapshot
// behind every entry took as long as a hundred others.
func (o options) encodedWithin() int64 {
	if o.SnapshotEvery == 0 || o.Keyed == 0 {
		return math.MaxInt64
	}
	writes := math.Sqrt(2 * worldRecords * float64(o.SnapshotEvery) / (float64(o.Servers) * o.Keyed))
	return max(int64(writes/o.opsPerSecond()*float64(second)), 3*second)
}

// patience is how long a healed world may take to come to rest. It grows with
// what was drawn: a window of one entry per message is slow without being
// wrong.
func (o options) patience() int64 {
	perOp := 8*o.DelayHigh + 4*o.SaveHigh + o.ApplyDelay + o.beat() + 4*o.LoopDelay
	return 40*o.election() + 4000*perOp + 400*o.SlowSync + 30*second
}

// ledWithin is how long a healed world may take until a leader has committed an
// entry of its term.
func (o options) ledWithin() int64 {
	return 20*o.election() + 40*(o.SlowSync+o.SaveHigh+4*o.DelayHigh+o.LoopDelay) + 2*second
}

package main

import "testing"

// Goal: no world is drawn in which a write that takes its usual time counts as one
// that hangs: every leader of it would step down for its disk. Method: many seeds;
// the longest write by the fastest clock, against the limit.
func TestDrawnDisksDoNotCountAsHanging(t *testing.T) {
	for seed := range uint64(20_000) {
		o := drawOptions(seed)
		longest := (o.SlowSync + o.SaveHigh) * (1000 + o.Drift) / 1000
		if limit := int64(o.StallTicks) * o.Tick; limit > 0 && longest+o.Tick > limit {
			t.Fatalf("seed %d: writes take up to %d µs and count as hanging after %d", seed, longest, limit)
		}
	}
}

// Goal: the world of one server costs what others do: it asks nobody, so its clients have their
// answers a hundred times sooner, and all that they wrote is applied again at each of its starts.
// Method: the operations that clients can begin in the worlds of many seeds, and of one that
// went on for twelve minutes.
func TestAWorldOfOneServerIsNotLarger(t *testing.T) {
	seeds := []uint64{1796243728075528907}
	for seed := range uint64(20_000) {
		seeds = append(seeds, seed)
	}
	alone := 0
	for _, seed := range seeds {
		o := drawOptions(seed)
		if o.Servers != 1 {
			continue
		}
		alone++
		each := o.Think + 2*o.SaveLow + o.ApplyDelay + 2*o.SlowSync
		if begun := o.Faulty / each * int64(o.Clients*o.Lanes+o.Coordinators); begun > 2*worldEvents {
			t.Errorf("seed %d: clients can begin %d operations in %s, one in %d µs each", seed, begun, clock(o.Faulty), each)
		}
	}
	if alone < 100 {
		t.Errorf("void: %d of the worlds have one server", alone)
	}
}

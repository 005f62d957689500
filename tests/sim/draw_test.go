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

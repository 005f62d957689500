package wal

import (
	"flag"
	"runtime"
	"sync"
	"testing"
)

var (
	powerCuts = flag.Int("power-cuts", 5000, "how many simulated power cuts TestPowerCuts makes")
	firstSeed = flag.Uint64("seed", 1, "where TestPowerCuts starts to count its seeds")
)

// Goal: whatever moment the power goes, everything acknowledged is there at the
// next start, and the one batch that was pending is there whole or not at all;
// the snapshot that the log begins with is there and whole; and if that one is
// damaged from outside, the one before it and the log give the same. Recovery
// itself is no exception. Method: random lives of random machines that crash
// before a random file-system operation, over and over on the same disk, under
// all models of what a power cut leaves, with a failed sync and a killed process
// among them; an oracle watches.
func TestPowerCuts(t *testing.T) {
	var workers sync.WaitGroup
	var mu sync.Mutex // guards all and seed
	all, seed := newTally(), *firstSeed
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for !t.Failed() {
				mu.Lock()
				mine, enough := seed, all.powerCuts() >= *powerCuts
				seed++
				mu.Unlock()
				if enough {
					return
				}
				m := newMachine(mine)
				if err := m.liveOn(); err != nil {
					t.Errorf("seed %d, died in %s: %v (to see it again: go test -run PowerCuts -args -seed %d -power-cuts 1)", mine, m.died, err, mine)
				}
				mu.Lock()
				all.add(m.tally)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	all.report(t)
	cuts := all.powerCuts()
	if cuts < 1000 {
		return
	}
	// A run in which the faults did not happen proves nothing.
	for _, call := range []string{"open", "read", "prepare", "save", "snapshot", "receive", "record", "close", "rest", "failed sync"} {
		if all.deaths[call] < cuts/500 {
			t.Errorf("only %d deaths in %s", all.deaths[call], call)
		}
	}
	for what, n := range map[string]int{"torn ends": all.tornEnds, "rolls": all.rolls, "snapshots": all.snapshots, "installations": all.installs, "fallbacks": all.fallbacks, "trims": all.trims, "recycled segments": all.recycled} {
		if n < cuts/200 {
			t.Errorf("only %d %s", n, what)
		}
	}
}

// Goal: the oracle bites. Method: compare a log with one batch more or less, and
// with data changed behind its back.
func TestOracleNoticesLossAndChange(t *testing.T) {
	disk, h := build(t, 21, 30, true)
	_, state, err := readOnly(disk)
	must(t, err)
	must(t, h.check(state, 30))
	for n := range 29 {
		if h.check(state, n) == nil {
			t.Errorf("a state of 30 batches passed for one of %d", n)
		}
	}
	for _, e := range state.Entries {
		if len(e.Data) > 0 {
			e.Data[0] ^= 1
			break
		}
	}
	if h.check(state, 30) == nil {
		t.Error("changed data passed")
	}
}

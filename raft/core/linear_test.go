package core

import (
	"runtime"
	"testing"
	"time"
)

// spent returns what it takes to replicate entries one by one through
// three servers that start empty: objects and bytes per entry.
func spent(t *testing.T, entries int) (objects, bytes float64) {
	t.Helper()
	servers := newTrio(0)
	data := make([]byte, 32)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range entries {
		if err := servers.replicate(1, data); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	servers.check(t, uint64(entries))
	n := float64(entries)
	return float64(after.Mallocs-before.Mallocs) / n, float64(after.TotalAlloc-before.TotalAlloc) / n
}

// Goal: an entry costs the same however long the log is. A misplaced clip of
// capacity once copied the whole log with every append, and no test but a
// benchmark noticed.
// Method: count objects and bytes allocated per entry in runs of two lengths,
// sixteen times apart; the log's own growth is a constant share of both.
func TestReplication_AllocatesTheSamePerEntryInALongLog(t *testing.T) {
	defer failOnPanic(t)
	shortObjects, shortBytes := affordable(t)
	longObjects, longBytes := spent(t, 48_000)
	t.Logf("objects per entry %.1f and %.1f, bytes per entry %.0f and %.0f", shortObjects, longObjects, shortBytes, longBytes)
	if longObjects > 1.1*shortObjects || longBytes > 1.5*shortBytes {
		t.Errorf("sixteen times as many entries cost %.1f objects and %.0f bytes each, instead of %.1f and %.0f",
			longObjects, longBytes, shortObjects, shortBytes)
	}
}

// affordable is what an entry costs in a short log. It ends the test if that is
// too much already: a long log might then take hours.
func affordable(t *testing.T) (objects, bytes float64) {
	t.Helper()
	objects, bytes = spent(t, 3000)
	if objects > 30 || bytes > 4096 {
		t.Fatalf("an entry costs %.1f objects and %.0f bytes, the budget is 30 and 4096", objects, bytes)
	}
	return objects, bytes
}

// Goal: nothing walks the log with every entry either, which allocates nothing.
// Method: the best of some runs behind an empty log and one of 100,000. A walk
// would take hundreds of times as long, chance never does.
func TestReplication_WalksNoLongLog(t *testing.T) {
	defer failOnPanic(t)
	affordable(t)
	best := func(length int) time.Duration {
		servers := newTrio(length)
		least := time.Duration(1 << 62)
		for range 10 {
			start := time.Now()
			for range 20 {
				if err := servers.replicate(1, []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			least = min(least, time.Since(start))
		}
		return least
	}
	short, long := best(0), best(100_000)
	t.Logf("20 entries take %v behind an empty log, %v behind 100,000 entries", short, long)
	if long > 25*short {
		t.Errorf("20 entries take %v behind a log of 100,000 entries and %v behind an empty one", long, short)
	}
}

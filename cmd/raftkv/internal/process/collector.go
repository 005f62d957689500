package process

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// These bounds say how far Go's heap may grow beyond what is alive before the collector
// runs. A store is mostly data that stays: collecting often finds little, and
// collecting seldom lets the process take twice the memory of its data. So the heap
// grows by collectorRoom and collectorRoomEach for each goroutine, but by collectorMin
// percent at least and by collectorMax percent at most. It grows by collectorMax percent
// while a node loads its state.
//
// Goroutines count because a collection looks through the stack of each, and each
// connection has one: with five thousand of them a collection takes 80 to 160 ms on two
// processors instead of ten, and delays requests by up to 40 ms.
const (
	collectorMin      = 50
	collectorMax      = 400
	collectorRoom     = 64 << 20 // bytes
	collectorRoomEach = 48 << 10 // bytes
)

// collectorPercent returns how far a heap may grow, in percent, if the given number of
// bytes in it are alive and there is the given number of goroutines.
func collectorPercent(alive, goroutines uint64) int {
	room := collectorRoom + collectorRoomEach*goroutines
	return int(min(max(collectorMin, 100*room/max(alive, 1)), collectorMax))
}

// collectorPause is the interval at which the bound is set anew.
const collectorPause = 5 * time.Second

// TuneCollector keeps Go's collector at that bound until ctx ends. If GOGC is set, the
// collector is left as the user configured it. GOMEMLIMIT works in addition.
func TuneCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	percent := collectorMax
	debug.SetGCPercent(percent)
	now := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/sched/goroutines:goroutines"}}
	ticker := time.NewTicker(collectorPause)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		metrics.Read(now)
		// Setting it stops the world for a moment, so only what matters is set.
		if next := collectorPercent(now[0].Value.Uint64(), now[1].Value.Uint64()); next < percent*7/8 || next > percent*9/8 {
			percent = next
			debug.SetGCPercent(percent)
		}
	}
}

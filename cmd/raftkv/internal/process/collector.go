package process

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How far Go's heap may grow beyond what is alive before the collector runs. A
// store is mostly data that stays: collecting often finds little, and collecting
// seldom lets the process take twice the memory of its data. So the heap grows by
// collectorLeast percent, by collectorRoom and collectorRoomEach for each goroutine
// where that is more, and by collectorMost percent at most, as it does while a node
// loads its state.
//
// Goroutines count since a collection looks through the stack of each, and each
// connection has one: with five thousand it took 80 to 160 ms on two processors
// instead of ten, and requests took up to 40 ms meanwhile. With a thousand writes a
// second there were two such in ten seconds when they did not count, and the p99 of
// a request was that of a collection.
const (
	collectorLeast    = 50
	collectorMost     = 400
	collectorRoom     = 64 << 20 // bytes
	collectorRoomEach = 48 << 10 // bytes
)

// collectorPercent is how far a heap may grow of which so many bytes are alive,
// beside so many goroutines, in percent.
func collectorPercent(alive, goroutines uint64) int {
	room := collectorRoom + collectorRoomEach*goroutines
	return int(min(max(collectorLeast, 100*room/max(alive, 1)), collectorMost))
}

// collectorPause is how often that is looked at.
const collectorPause = 5 * time.Second

// TuneCollector keeps Go's collector at that until ctx ends. Who sets GOGC has
// decided otherwise, and is left alone; GOMEMLIMIT works beside it.
func TuneCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	percent := collectorMost
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

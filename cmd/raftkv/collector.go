package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How far Go's heap may grow beyond what is alive before the collector runs, in
// percent. A store is mostly data that stays: collecting often finds little, and
// collecting seldom lets the process take twice the memory of its data. So the
// heap grows by collectorLeast percent, by collectorRoom where that is more, and
// by collectorMost percent at most, as it does while a node loads its state.
//
// A collection also looks through the stacks of all connections: with five
// thousand that took 80 to 110 ms on two processors, and requests took up to 40 ms
// meanwhile. With a thousand requests a second there were two such in ten seconds
// when the room was half as large, so that their p99 was that of a collection.
const (
	collectorLeast = 50
	collectorMost  = 400
	collectorRoom  = 128 << 20 // bytes
)

// collectorPercent is how far a heap may grow of which so many bytes are alive.
func collectorPercent(alive uint64) int {
	return int(min(max(collectorLeast, 100*collectorRoom/max(alive, 1)), collectorMost))
}

// collectorPause is how often the size of the heap is looked at.
const collectorPause = 5 * time.Second

// tuneCollector keeps Go's collector at that until ctx ends. Who sets GOGC has
// decided otherwise, and is left alone; GOMEMLIMIT works beside it.
func tuneCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	percent := collectorMost
	debug.SetGCPercent(percent)
	alive := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	ticker := time.NewTicker(collectorPause)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		metrics.Read(alive)
		// Setting it stops the world for a moment, so only what matters is set.
		if next := collectorPercent(alive[0].Value.Uint64()); next < percent*7/8 || next > percent*9/8 {
			percent = next
			debug.SetGCPercent(percent)
		}
	}
}

package main

import "testing"

// Goal: a small heap is not collected all the time, and a large one does not
// take much more than it holds. Method: a table of sizes.
func TestTheCollectorLeavesRoomAndNotMore(t *testing.T) {
	for _, c := range []struct {
		alive uint64
		want  int
	}{{0, 400}, {1 << 20, 400}, {16 << 20, 400}, {32 << 20, 400}, {64 << 20, 200}, {128 << 20, 100}, {256 << 20, 50}, {1 << 30, 50}, {1 << 50, 50}} {
		if got := collectorPercent(c.alive); got != c.want {
			t.Errorf("%d bytes alive: %d percent, want %d", c.alive, got, c.want)
		}
	}
}

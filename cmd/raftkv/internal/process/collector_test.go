package process

import "testing"

// Goal: a small heap is not collected all the time, and a large one does not
// take much more than it holds; among thousands of goroutines, which take a
// collection longer, it is collected more seldom.
// Method: a table of sizes.
func TestTheCollectorLeavesRoomAndNotMore(t *testing.T) {
	for _, c := range []struct {
		alive, goroutines uint64
		want              int
	}{
		{0, 0, 400}, {1 << 20, 0, 400}, {16 << 20, 0, 400}, {32 << 20, 0, 200}, {64 << 20, 0, 100}, {128 << 20, 0, 50}, {1 << 30, 0, 50}, {1 << 50, 0, 50},
		{128 << 20, 60, 52}, {128 << 20, 4096, 200}, {32 << 20, 4096, 400}, {1 << 30, 8192, 50},
	} {
		if got := collectorPercent(c.alive, c.goroutines); got != c.want {
			t.Errorf("%d bytes alive, %d goroutines: %d percent, want %d", c.alive, c.goroutines, got, c.want)
		}
	}
}

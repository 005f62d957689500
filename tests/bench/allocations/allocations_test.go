package allocations

import (
	"slices"
	"testing"
)

// Goal: more than a tenth above the baseline is worse, less than it is better, and a
// loop without a baseline, or a baseline without a loop, is not overlooked. Method:
// costs around the limits.
func TestCompare(t *testing.T) {
	base := map[string]Cost{"a": {10, 1000}, "zero": {0, 0}, "gone": {1, 1}}
	for _, c := range []struct {
		name  string
		now   Cost
		worse bool
		equal bool
	}{
		{"a", Cost{10, 1000}, false, true},
		{"a", Cost{11, 1100}, false, true},
		{"a", Cost{12, 1000}, true, false},
		{"a", Cost{10, 1200}, true, false},
		{"a", Cost{5, 1200}, true, false},
		{"a", Cost{5, 1000}, false, false},
		{"a", Cost{10, 500}, false, false},
		{"zero", Cost{0.05, 10}, false, true},
		{"zero", Cost{1, 0}, true, false},
		{"new", Cost{0, 0}, true, false},
	} {
		worse, better := compare(base, map[string]Cost{c.name: c.now})
		missing := 2 // of the baseline's three
		if c.name == "new" {
			missing = 3
		}
		if got := len(worse) - missing; (got == 1) != c.worse || (len(better) == 1) != (!c.worse && !c.equal) {
			t.Errorf("%s %v: worse %q, better %q", c.name, c.now, worse, better)
		}
	}
}

// Goal: a baseline is read as it is written. Method: there and back, and a line that is
// none.
func TestTheFile(t *testing.T) {
	costs := map[string]Cost{"put/batch=1": {2.5, 300}, "get": {0, 0}}
	got, err := parse(format("raft/core", costs))
	if err != nil || !slices.Equal(sortedKeys(got), sortedKeys(costs)) || got["put/batch=1"] != costs["put/batch=1"] {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parse([]byte("put 2.5\n")); err == nil {
		t.Error("a line with one number is read")
	}
}

// sink keeps what a loop allocates on the heap.
var sink []byte

// Goal: a loop's cost is what it allocates, and the same every time. Method: a loop
// that allocates 100 bytes a turn, which come in blocks of 112.
func TestMeasuring(t *testing.T) {
	if underRace {
		t.Skip("SKIPPED: the race detector allocates")
	}
	loop := Loop{"known", func(b *testing.B) {
		for b.Loop() {
			sink = make([]byte, 100)
		}
	}}
	for range 2 {
		if c := measure(t, loop); c.Allocations < 1 || c.Allocations > 1.05 || c.Bytes < 112 || c.Bytes > 120 {
			t.Errorf("the cost is %+v", c)
		}
	}
}

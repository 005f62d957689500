package requests

import (
	"fmt"
	"testing"
	"time"

	"raftkv/kvserver/api"
)

// Goal (I6): a book keeps the newest requests, as many as it has room for, and finds all of
// a name in their order.
// Method: twice as many requests as there is room for, every third of one name.
func TestABookKeepsTheNewest(t *testing.T) {
	var b Book
	for i := range 2 * Capacity {
		id := fmt.Sprint("r", i)
		if i%3 == 0 {
			id = "same"
		}
		b.Keep(api.RequestTrail{ID: id, Index: uint64(i)})
	}
	if len(b.pages) != Capacity {
		t.Errorf("there are %d pages", len(b.pages))
	}
	found := b.Of("same")
	if want := (Capacity + 2) / 3; len(found) < want-1 || len(found) > want {
		t.Errorf("%d of a name are found, want about %d", len(found), want)
	}
	for i := range found {
		if found[i].Index < Capacity || i > 0 && found[i].Index != found[i-1].Index+3 {
			t.Fatalf("found are %+v", found[max(0, i-1):i+1])
		}
	}
	if found := b.Of("r1"); found != nil {
		t.Errorf("the oldest is still there: %+v", found)
	}
}

// Goal: a request is slow against what is usual on its node, so that one rule fits quick
// and slow nodes; reads and writes have a usual of their own.
func TestSlowIsAgainstTheUsual(t *testing.T) {
	for _, common := range []time.Duration{time.Millisecond, 40 * time.Millisecond} {
		var b Book
		for range 500 {
			if b.Slow(true, common) || b.Slow(false, common/10) {
				t.Fatalf("where %v is usual, it is slow", common)
			}
		}
		if b.Slow(true, 4*common) {
			t.Errorf("where %v is usual, %v is slow", common, 4*common)
		}
		if late := max(10*common, 2*slowLeast); !b.Slow(true, late) || !b.Slow(false, late) {
			t.Errorf("where %v is usual, %v is not slow", common, late)
		}
	}
}

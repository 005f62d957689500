package machine

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// endless has as many keys as it is asked for, up to some number, and does something before it
// shows the next one.
type endless struct {
	keys  int
	shown int
	next  func(shown int)
}

func (e *endless) Revision() uint64     { return 7 }
func (e *endless) LeaseOf(string) int64 { return 0 }
func (e *endless) AscendRange(_, _ string, fn func(key string, item kv.Item) bool) {
	for e.shown = 0; e.shown < e.keys; e.shown++ {
		if e.next(e.shown); !fn(fmt.Sprintf("%09d", e.shown), kv.Item{Version: 1}) {
			return
		}
	}
}

// Goal: a count of a range that nobody waits for any more ends soon, with the cause; one that
// somebody waits for is exact. Method: a store of a million keys whose reader leaves while
// they are counted, and small ones that are counted to their ends.
func TestACountEndsWithItsRequest(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	store := &endless{keys: 1 << 20, next: func(shown int) {
		if shown == 5000 {
			cancel(failure.Stopping)
		}
	}}
	q := Query{Count: true}
	if p, err := q.page(ctx, store); !errors.Is(err, failure.Stopping) || p.Count != 0 || store.shown > 5000+countedAtOnce {
		t.Errorf("%d keys were counted: %+v, %v", store.shown, p, err)
	}
	for _, keys := range []int{0, 1, countedAtOnce - 1, countedAtOnce, 3*countedAtOnce + 1} {
		store := &endless{keys: keys, next: func(int) {}}
		if p, err := q.page(t.Context(), store); err != nil || p.Count != keys || p.Revision != 7 {
			t.Errorf("of %d keys: %+v, %v", keys, p, err)
		}
	}
}

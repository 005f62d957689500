package lock

import (
	"fmt"
	"testing"
)

// plainHashes are hashes in which every number shows.
var plainHashes = Hashes{
	Lock:   func(name string, limit int) uint64 { return uint64(len(name)*1_000_003 + limit) },
	Holder: func(_ string, h *Holder) uint64 { return h.Token*31 + uint64(h.Lease)*7 + uint64(len(h.Value)) },
	Waiter: func(_ string, w *Waiter) uint64 { return w.Since*131 + uint64(w.Lease)*17 + uint64(len(w.Value)) },
	Delay:  func(_ string, until uint64) uint64 { return until * 1_000_033 },
}

// Goal: a frozen table does not change, though it shares its lists with the live one, and
// an empty table has no sum. Method: freeze at every step of the life of a semaphore, and
// look at all copies at the end.
func TestAFrozenTableDoesNotChange(t *testing.T) {
	table := New(Standard, plainHashes)
	type frozen struct {
		table Table
		said  string
	}
	var all []frozen
	keep := func() {
		l, _ := table.Get("a")
		all = append(all, frozen{table.Freeze(), fmt.Sprint(l, table.Sum, table.Held(), table.Waiting())})
	}
	steps := []func(){
		func() { table.Grant("a", 2, Holder{Token: 2, Lease: 1, Value: []byte("x")}) },
		func() { table.Grant("a", 2, Holder{Token: 3, Lease: 2}) },
		func() { table.Enqueue("a", Waiter{Since: 5, Lease: 3}) },
		func() { table.Enqueue("a", Waiter{Since: 6, Lease: 4}) },
		func() { table.Enqueue("a", Waiter{Since: 7, Lease: 5}) },
		func() { table.Leave("a", 4) },
		func() { table.Publish("a", 3, []byte("yy")) },
		func() { table.Release("a", 2, 900) },
		func() { table.Enqueue("a", Waiter{Since: 8, Lease: 6}) },
		func() { table.Release("a", 3, 0) },
		func() { table.Promote("a", 4) },
		func() { table.EndDelay("a", 900) },
		func() { table.Promote("a", 5) },
		func() { table.Release("a", 4, 0) },
		func() { table.Promote("a", 6) },
		func() { table.Release("a", 6, 0) },
		func() { table.Release("a", 5, 0) },
	}
	for _, step := range steps {
		keep()
		step()
	}
	for i, f := range all {
		l, _ := f.table.Get("a")
		if said := fmt.Sprint(l, f.table.Sum, f.table.Held(), f.table.Waiting()); said != f.said {
			t.Errorf("before step %d it said %s, and now %s", i, f.said, said)
		}
	}
	if table.Sum != 0 || table.Len() != 0 || len(table.Of(6)) != 0 {
		t.Errorf("an empty table has the sum %d and %d locks", table.Sum, table.Len())
	}
}

// Goal: a table that is used wrongly panics, rather than to let states part.
// Method: a grant beyond the limit (K1), and a token that does not rise (K2).
func TestWrongUsePanics(t *testing.T) {
	for name, h := range map[string]Holder{"beyond the limit": {Token: 9, Lease: 3}, "a token that does not rise": {Token: 5, Lease: 3}} {
		table := New(Standard, plainHashes)
		limit := 1 + len(name)%2 // the first name has an even length
		table.Grant("a", limit, Holder{Token: 5, Lease: 1})
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: nothing happened", name)
				}
			}()
			table.Grant("a", limit, h)
		}()
	}
}

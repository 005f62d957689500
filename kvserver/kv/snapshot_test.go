package kv

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// populated is a store with items, sessions and lanes of all sorts.
func populated(t testing.TB) *Store {
	t.Helper()
	s := New()
	apply := func(c Command) Result {
		return s.Apply(s.AppliedIndex()+1, EncodeCommand(c))
	}
	for i := range 50 {
		apply(Command{Op: OpPut, Key: fmt.Appendf(nil, "key%d", i), Value: bytes.Repeat([]byte{byte(i)}, i*i), Time: uint64(i)})
	}
	for range 5 {
		id := apply(Command{Op: OpOpenSession}).Session
		for lane := range uint32(3) {
			apply(Command{Op: OpAppend, Key: []byte("list"), Value: []byte("x"), Session: SessionCall{ID: id, Lane: lane, Seq: 1}})
			apply(Command{Op: OpDelete, Key: []byte("key7"), Session: SessionCall{ID: id, Lane: lane, Seq: 2}})
		}
	}
	for i := range 20 {
		apply(Command{
			Op: OpPut, Key: []byte("asked"), Value: []byte{byte(i)}, Time: uint64(1000 + i),
			IdempotencyKey: fmt.Sprint(i), Condition: Condition{IfVersion, uint64(i / 2)},
		})
	}
	return s
}

// Goal: a restored store is the store: equal state, and the same answers to
// whatever comes next, retried calls included. Method: write, restore, compare
// the hashes, then apply the same commands to both.
func TestARestoredStoreGoesOnLikeTheOriginal(t *testing.T) {
	s := populated(t)
	var b bytes.Buffer
	if n, err := s.Freeze().WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d of %d bytes: %v", n, b.Len(), err)
	}
	r, err := Restore(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if r.Hash() != s.Hash() || r.Digest() != s.Digest() || r.IdempotencyRecords() != 20 || r.Bytes() != s.Bytes() || r.Len() != s.Len() {
		t.Fatal("the restored store differs")
	}
	session := uint64(51) // the first one opened
	for i, c := range []Command{
		{Op: OpAppend, Key: []byte("list"), Value: []byte("x"), Session: SessionCall{ID: session, Lane: 0, Seq: 2}},
		{Op: OpDelete, Key: []byte("key7"), Session: SessionCall{ID: session, Lane: 1, Seq: 2}},
		{Op: OpAppend, Key: []byte("list"), Value: []byte("y"), Session: SessionCall{ID: session, Lane: 1, Seq: 3}},
		{Op: OpOpenSession},
		{Op: OpGet, Key: []byte("list")},
		{Op: OpPut, Key: []byte("asked"), Value: []byte{0}, IdempotencyKey: "0", Condition: Condition{Kind: IfVersion}},
		{Op: OpPut, Key: []byte("asked"), Value: []byte{3}, IdempotencyKey: "3", Condition: Condition{IfVersion, 1}},
		{Op: OpPut, Key: []byte("asked"), Value: []byte{3}, IdempotencyKey: "4"},
		{Op: OpDelete, Key: []byte("list"), IdempotencyKey: "new", Time: IdempotencyWindow + 1010},
	} {
		at, command := s.AppliedIndex()+1, EncodeCommand(c)
		if a, b := s.Apply(at, command), r.Apply(at, command); fmt.Sprintf("%+v", a) != fmt.Sprintf("%+v", b) {
			t.Errorf("command %d: the original answers %+v, the restored store %+v", i, a, b)
		}
	}
	if r.Hash() != s.Hash() {
		t.Error("the stores part after the restore")
	}
}

// Goal: whatever the number of items, a restored tree holds them all in order.
// Method: every number up to some groups of the packer, and changes after it.
func TestEveryNumberOfItemsIsRestored(t *testing.T) {
	s := New()
	for n := range 5 * (packedFirst + packedLate) {
		r := restored(t, s)
		if r.Hash() != s.Hash() || r.Digest() != s.Digest() {
			t.Fatalf("%d items are restored to %d others", s.Len(), r.Len())
		}
		for i := range 3 {
			key := fmt.Sprintf("key%d", (n*7+i)%(n+5))
			for _, store := range []*Store{s.clone(), r} {
				put(store, key, "x")
				apply(store, Command{Op: OpDelete, Key: []byte("key3")})
				if item, found := store.Get([]byte(key)); key != "key3" && (!found || string(item.Value) != "x") {
					t.Fatalf("%d items: %q was lost", n, key)
				}
			}
		}
		if keys := r.items.order.Keys(); r.Len() != len(keys) || !slices.IsSorted(keys) {
			t.Fatalf("%d items: the tree lost its order", n)
		}
		put(s, fmt.Sprintf("key%d", n), fmt.Sprint(n))
	}
}

// Goal: items are restored as they were, whatever their lengths and however the jobs
// that make them run.
// Method: three windows of small values, and some around a window's length; jobs in
// turn, backwards and at the same time.
func TestItemsAreRestoredByJobsInAnyOrder(t *testing.T) {
	s := New()
	for i := range 3 * itemsWindow / 100 {
		put(s, fmt.Sprint("key", i), strings.Repeat(fmt.Sprint(i), 10+i%30))
	}
	for i, length := range []int{itemsWindow - 20, itemsWindow - 10, itemsWindow, 3*itemsWindow + 1, 0} {
		put(s, fmt.Sprint("key", 1000*i, "long"), strings.Repeat("v", length))
	}
	snapshot := written(t, s)
	for name, each := range map[string]Each{
		"in turn": inTurn,
		"backwards": func(n int, job func(int)) {
			for i := range n {
				job(n - 1 - i)
			}
		},
		"at the same time": func(n int, job func(int)) {
			var all sync.WaitGroup
			for i := range n {
				all.Go(func() { job(i) })
			}
			all.Wait()
		},
	} {
		r, err := RestoreWith(bytes.NewReader(snapshot), each)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.Hash() != s.Hash() || r.Digest() != s.Digest() {
			t.Errorf("%s: another state was restored", name)
		}
	}
}

// Goal: what is no whole snapshot is refused, and never restored in part.
// Method: cut a snapshot at every byte and change every byte in turn.
func TestADamagedSnapshotIsRefused(t *testing.T) {
	var b bytes.Buffer
	s := New()
	s.Apply(1, EncodeCommand(Command{Op: OpOpenSession}))
	s.Apply(2, EncodeCommand(Command{Op: OpPut, Key: []byte("k"), Value: []byte("value"), Session: SessionCall{ID: 1, Seq: 1}}))
	s.Apply(3, EncodeCommand(Command{Op: OpDelete, Key: []byte("k"), Time: 300, IdempotencyKey: "one", Condition: Condition{IfVersion, 1}}))
	s.Apply(4, EncodeCommand(Command{Op: OpPut, Key: []byte("k"), Time: 400, Value: []byte("value"), IdempotencyKey: "two"}))
	if _, err := s.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	for n := range whole {
		if _, err := Restore(bytes.NewReader(whole[:n])); !errors.Is(err, ErrBadSnapshot) {
			t.Errorf("cut at byte %d: %v", n, err)
		}
	}
	if _, err := Restore(bytes.NewReader(append(bytes.Clone(whole), 0))); !errors.Is(err, ErrBadSnapshot) {
		t.Errorf("with a byte more: %v", err)
	}
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x55
		if _, err := Restore(bytes.NewReader(damaged)); !errors.Is(err, ErrBadSnapshot) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
}

func checkRestore(t *testing.T, b []byte) {
	t.Helper()
	r, err := Restore(bytes.NewReader(b))
	if err != nil {
		if !errors.Is(err, ErrBadSnapshot) {
			t.Fatalf("refused with %v", err)
		}
		return
	}
	var again bytes.Buffer
	if _, err := r.WriteTo(&again); err != nil {
		t.Fatal(err)
	}
	s, err := Restore(&again)
	if err != nil || s.Hash() != r.Hash() {
		t.Fatalf("what was accepted cannot be written and read again: %v", err)
	}
}

// Goal: one client's hundred puts leave a snapshot of next to nothing; the labs
// allow 500 bytes. Method: write one after 200 puts to one key in a session.
func TestASmallStoreHasASmallSnapshot(t *testing.T) {
	s := New()
	id := s.Apply(1, EncodeCommand(Command{Op: OpOpenSession})).Session
	for seq := range uint64(200) {
		s.Apply(2+seq, EncodeCommand(Command{Op: OpPut, Key: []byte("x"), Value: []byte("1"), Session: SessionCall{ID: id, Seq: seq + 1}}))
	}
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil || b.Len() > 100 {
		t.Fatalf("%d bytes, %v", b.Len(), err)
	}
}

// Goal: sessions that contradict each other are refused, also under the digest
// that they would have. Method: by hand, a snapshot of two sessions: the same one
// twice; two that were used last by the same command; and two that may stand.
func TestSessionsThatContradictEachOtherAreRefused(t *testing.T) {
	type row struct{ id, lastUsed uint64 }
	for _, c := range []struct {
		rows []row
		fits bool
	}{
		{[]row{{1, 5}, {1, 7}}, false},
		{[]row{{1, 5}, {2, 5}}, false},
		{[]row{{1, 5}, {2, 7}}, true},
	} {
		rows := []byte{}
		for _, r := range c.rows {
			rows = append(rows, byte(r.id), byte(r.lastUsed))
		}
		b := payloadOf(parts{"state": {9, 0, 0, 0, 0}, "sessions": rows})
		if _, err := Restore(bytes.NewReader(b)); (err == nil) != c.fits || err != nil && !errors.Is(err, ErrBadSnapshot) {
			t.Errorf("sessions %v: %v", c.rows, err)
		}
	}
}

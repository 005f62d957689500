package kv

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// apply applies c at the next index.
func apply(s *Store, c Command) Result { return s.Apply(s.AppliedIndex()+1, EncodeCommand(c)) }

func put(s *Store, key, value string) Result {
	return apply(s, Command{Op: OpPut, Key: []byte(key), Value: []byte(value)})
}

// Goal: revisions count the store's changes and versions those of one key; a
// delete of nothing is not a change. Method: one run of two keys, step by step.
func TestRevisionsAndVersionsCountChanges(t *testing.T) {
	s := New()
	steps := []struct {
		op         Op
		key, value string
		want       Result
	}{
		{OpDelete, "a", "", Result{}},
		{OpPut, "a", "1", Result{Revision: 1, Version: 1, Length: 1, Created: true}},
		{OpPut, "a", "1", Result{Revision: 2, Version: 2, Length: 1}},
		{OpAppend, "b", "xy", Result{Revision: 3, Version: 1, Length: 2, Created: true}},
		{OpAppend, "b", "", Result{Revision: 4, Version: 2, Length: 2}},
		{OpGet, "a", "", Result{Revision: 2, Version: 2, Length: 1, Value: []byte("1")}},
		{OpDelete, "a", "", Result{Revision: 5, Deleted: true}},
		{OpDelete, "a", "", Result{Revision: 5}},
		{OpGet, "a", "", Result{Status: StatusNotFound, Revision: 5}},
		{OpPut, "a", "", Result{Revision: 6, Version: 1, Created: true}},
	}
	for i, step := range steps {
		c := Command{Op: step.op, Key: []byte(step.key), Value: []byte(step.value)}
		if got := apply(s, c); !sameResult(got, step.want) {
			t.Errorf("step %d, %v %q: %+v, want %+v", i, step.op, step.key, got, step.want)
		}
	}
	if s.Revision() != 6 || s.Len() != 2 || s.Bytes() != 1+0+1+2 {
		t.Errorf("revision %d, %d keys, %d bytes", s.Revision(), s.Len(), s.Bytes())
	}
}

// Goal: limits hold at the very byte, and what breaks them changes nothing.
// Method: one command on each side of each limit; the hash must move only with
// the ones that fit. Applied index is levelled by a second store that advances.
func TestLimitsHoldToTheByte(t *testing.T) {
	long := strings.Repeat("k", MaxKeyBytes)
	big := make([]byte, MaxValueBytes)
	cases := []struct {
		name string
		c    Command
		want Status
	}{
		{"empty key", Command{Op: OpPut}, StatusBadKey},
		{"longest key", Command{Op: OpPut, Key: []byte(long)}, StatusOK},
		{"key too long", Command{Op: OpPut, Key: []byte(long + "k")}, StatusBadKey},
		{"get of a key too long", Command{Op: OpGet, Key: []byte(long + "k")}, StatusBadKey},
		{"longest value", Command{Op: OpPut, Key: []byte("v"), Value: big}, StatusOK},
		{"value too long", Command{Op: OpPut, Key: []byte("w"), Value: append(big, 0)}, StatusTooLong},
		{"append over the end", Command{Op: OpAppend, Key: []byte("v"), Value: []byte("1")}, StatusTooLong},
		{"append of nothing at the end", Command{Op: OpAppend, Key: []byte("v")}, StatusOK},
		{"put at the sender's limit", Command{Op: OpPut, Key: []byte("x"), Value: []byte("123"), MaxLength: 3}, StatusOK},
		{"append over the sender's limit", Command{Op: OpAppend, Key: []byte("x"), Value: []byte("4"), MaxLength: 3}, StatusTooLong},
		{"value where none belongs", Command{Op: OpDelete, Key: []byte("x"), Value: []byte("4")}, StatusUnknownCommand},
		{"key where none belongs", Command{Op: OpOpenSession, Key: []byte("x")}, StatusUnknownCommand},
	}
	s := New()
	for _, c := range cases {
		before := s.clone()
		got := apply(s, c.c)
		if got.Status != c.want {
			t.Errorf("%s: %v, want %v", c.name, got.Status, c.want)
		}
		before.Advance(s.AppliedIndex())
		if changed := before.Hash() != s.Hash(); changed != (c.want == StatusOK) {
			t.Errorf("%s: changed the store: %t", c.name, changed)
		}
	}
}

// Goal: a lost or doubled index stops the server.
// Method: apply and advance to every wrong index and expect a panic.
func TestAGapInTheLogPanics(t *testing.T) {
	for _, index := range []uint64{0, 1, 2, 4, 1 << 40} {
		for _, advance := range []bool{false, true} {
			s := New()
			put(s, "a", "1")
			put(s, "a", "2")
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("index %d after 2 was accepted", index)
					}
				}()
				if advance {
					s.Advance(index)
				} else {
					s.Apply(index, EncodeCommand(Command{Op: OpGet, Key: []byte("a")}))
				}
			}()
		}
	}
}

// Goal: iteration is in byte order, begins after the given key and stays in the
// prefix.
// Method: every combination of after and prefix over awkward keys, against a
// filter over all of them.
func TestAscendGivesThePrefixInOrder(t *testing.T) {
	keys := []string{"\x00", "a", "a/", "a//", "a/b", "a0", "b", "\x7f", "\xc3\xa4", "\xff", "\xff\xff"}
	s := New()
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(len(keys)) {
		put(s, keys[i], "v"+keys[i])
	}
	edges := append([]string{"", "0", "a/a", "zz", "\xff\xff\xff"}, keys...)
	for _, after := range edges {
		for _, prefix := range edges {
			var want, got []string
			for _, k := range keys {
				if k > after && strings.HasPrefix(k, prefix) {
					want = append(want, k)
				}
			}
			s.Ascend(after, prefix, func(key string, item Item) bool {
				if string(item.Value) != "v"+key {
					t.Errorf("%q has the value %q", key, item.Value)
				}
				got = append(got, key)
				return true
			})
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
				t.Errorf("after %q, prefix %q: %q, want %q", after, prefix, got, want)
			}
		}
	}
	n := 0
	s.Ascend("", "", func(string, Item) bool { n++; return n < 3 })
	if n != 3 {
		t.Errorf("iteration went on for %d keys after it was told to stop at 3", n)
	}
}

// Goal: a value that was handed out never changes, although appends fill the
// spare room behind it in place, and nobody else can reach that room.
// Method: keep every value of a growing key, from gets, reads, views and
// iteration; append to what was handed out; compare all with copies at the end.
func TestValuesNeverChangeOnceHandedOut(t *testing.T) {
	s := New()
	r := rand.New(rand.NewPCG(5, 6))
	var model []byte
	type kept struct{ got, want []byte }
	var all []kept
	inPlace := 0
	for range 400 {
		more := randomBytes(r, r.IntN(20))
		before, _ := s.items.get([]byte("k"))
		apply(s, Command{Op: OpAppend, Key: []byte("k"), Value: more})
		after, _ := s.items.get([]byte("k"))
		if len(before.Value) > 0 && &before.Value[0] == &after.Value[0] {
			inPlace++
		}
		model = append(bytes.Clone(model), more...)
		item, _ := s.Get([]byte("k"))
		view := s.Freeze()
		frozen, _ := view.Get([]byte("k"))
		logged := apply(s, Command{Op: OpGet, Key: []byte("k")}).Value
		var walked []byte
		view.Ascend("", "", func(_ string, i Item) bool { walked = i.Value; return true })
		for _, v := range [][]byte{item.Value, frozen.Value, logged, walked} {
			all = append(all, kept{v, model})
			if cap(v) != len(v) {
				t.Fatalf("a value of %d bytes shows a capacity of %d", len(v), cap(v))
			}
			_ = append(v, "a reader that appends must not write into the store"...)
		}
	}
	for i, k := range all {
		if !bytes.Equal(k.got, k.want) {
			t.Fatalf("value %d changed after it was handed out", i)
		}
	}
	if inPlace < 200 {
		t.Errorf("only %d of 400 appends were in place: the test does not test what it should", inPlace)
	}
}

// Goal: what a command carried may be reused by its owner after Apply.
// Method: overwrite the bytes of the command.
func TestTheCommandsBytesAreNotKept(t *testing.T) {
	s := New()
	for _, op := range []Op{OpPut, OpAppend} {
		b := EncodeCommand(Command{Op: op, Key: []byte(op.String()), Value: []byte("value")})
		s.Apply(s.AppliedIndex()+1, b)
		for i := range b {
			b[i] = '!'
		}
		if item, ok := s.Get([]byte(op.String())); !ok || string(item.Value) != "value" {
			t.Errorf("%v: %q, %t after its command was overwritten", op, item.Value, ok)
		}
	}
}

// Goal: a frozen view shows nothing of what happens after it, items and sessions
// alike, and can be read while the store goes on.
// Method: freeze in the middle of random traffic; readers hash and walk the view
// in other goroutines (the race detector listens) while writes go on.
func TestAFrozenViewStandsStill(t *testing.T) {
	g := &traffic{r: rand.New(rand.NewPCG(8, 9))}
	s := newStore(rules{sessions: 5, lanes: 5, lanesTotal: 12})
	step := func() {
		index := s.AppliedIndex() + 1
		c := g.next(index)
		g.sent = append(g.sent, c)
		s.Apply(index, EncodeCommand(c))
	}
	for range 500 {
		step()
	}
	view := s.Freeze()
	want := view.Hash()
	if want != s.Hash() {
		t.Fatal("the view differs from the store it was taken from")
	}
	revision, index, length, size := view.Revision(), view.AppliedIndex(), view.Len(), view.Bytes()
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for range 50 {
				if view.Hash() != want {
					t.Error("the view changed while the store went on")
					return
				}
			}
		})
	}
	for range 3000 {
		step()
	}
	readers.Wait()
	if view.Hash() != want || view.Revision() != revision || view.AppliedIndex() != index || view.Len() != length || view.Bytes() != size {
		t.Error("the view changed after the store went on")
	}
	if s.Hash() == want {
		t.Error("the store did not go on: the test tested nothing")
	}
}

// Goal: a lift raises the store's revision and nothing else, counts in the digest,
// and never goes beyond what JSON numbers hold. Method: lifts up to the greatest
// revision and beyond.
func TestALiftRaisesTheRevisionAlone(t *testing.T) {
	s := New()
	put(s, "a", "1")
	digest := s.Digest()
	for lifts := 0; s.Lift(1<<40) == nil; lifts++ {
		if want := uint64(1 + (lifts+1)<<40); s.Revision() != want || lifts > 8191 {
			t.Fatalf("after %d lifts the revision is %d", lifts+1, s.Revision())
		}
	}
	if s.Revision() != 1+8191<<40 || s.Digest() == digest || s.AppliedIndex() != 1 || s.Lift(maxRevision) == nil || s.Lift(1<<64-1) == nil {
		t.Errorf("the lifts end at %d", s.Revision())
	}
	if item, _ := s.Get([]byte("a")); item.Revision != 1 {
		t.Errorf("the item has revision %d", item.Revision)
	}
	if r := put(s, "a", "2"); r.Revision != 2+8191<<40 || restored(t, s).Hash() != s.Hash() {
		t.Errorf("the next change: %+v", r)
	}
}

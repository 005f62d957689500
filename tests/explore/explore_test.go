package explore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// jugs is a small world of which everything is known: a jug of 3 litres and one of 5.
// The promise is that the larger never holds want litres.
type jugs struct{ small, large, want int }

func (j jugs) Actions(to []string) []string {
	for _, name := range []string{"fill small", "fill large", "empty small", "empty large", "to large", "to small"} {
		if j.Do(name) != j {
			to = append(to, name)
		}
	}
	return to
}

func (j jugs) Do(name string) jugs {
	switch name {
	case "fill small":
		j.small = 3
	case "fill large":
		j.large = 5
	case "empty small":
		j.small = 0
	case "empty large":
		j.large = 0
	case "to large":
		n := min(j.small, 5-j.large)
		j.small, j.large = j.small-n, j.large+n
	case "to small":
		n := min(j.large, 3-j.small)
		j.small, j.large = j.small+n, j.large-n
	}
	return j
}

func (j jugs) Key() Key {
	var h Hash
	h.AddInt(j.small)
	h.AddInt(j.large)
	return h.Sum()
}

func (j jugs) Check(bool) error {
	if j.large == j.want {
		return fmt.Errorf("the larger jug holds %d", j.want)
	}
	return nil
}

// Goal: a search is complete and counts right. Method: the jugs reach 16 of their 24
// states, those with a jug that is full or empty.
func TestSearchVisitsEveryState(t *testing.T) {
	for name, search := range map[string]func(jugs, Options[jugs, string]) Result[string]{
		"depth first": Search[jugs, string], "breadth first": Shortest[jugs, string],
	} {
		visited := 0
		steps := 0
		r := search(jugs{want: 9}, Options[jugs, string]{Visit: func(w jugs, end bool) {
			visited++
			steps += len(w.Actions(nil))
		}})
		if r.States != 16 || visited != 16 || r.Steps != steps || r.Ends != 0 || !r.Complete || r.Broken != nil {
			t.Errorf("%s: %v, visited %d; wanted 16 states and %d steps, complete", name, &r, visited, steps)
		}
	}
}

// Goal: a broken promise is found, and the way to it is a way; breadth first finds the
// shortest. Method: 4 litres take six actions.
func TestABrokenPromiseIsFound(t *testing.T) {
	first := jugs{want: 4}
	long := Search(first, Options[jugs, string]{})
	short := Shortest(first, Options[jugs, string]{})
	if len(short.Trace) != 6 {
		t.Errorf("the shortest way has %d actions, wanted 6: %v", len(short.Trace), short.Trace)
	}
	for _, r := range []Result[string]{long, short} {
		if r.Broken == nil || r.Complete {
			t.Fatalf("not found: %v", &r)
		}
		w := first
		for _, action := range r.Trace {
			if !slices.Contains(w.Actions(nil), action) {
				t.Fatalf("%q is no action of %+v", action, w)
			}
			w = w.Do(action)
		}
		if w.Check(false) == nil {
			t.Errorf("the way %v ends at %+v, where nothing is broken", r.Trace, w)
		}
	}
}

// chain is a world that counts to its end, where it breaks its promise if it shall.
type chain struct {
	at, end int
	breaks  bool
}

func (c chain) Actions(to []int) []int {
	if c.at < c.end {
		to = append(to, 1)
	}
	return to
}

func (c chain) Do(step int) chain { c.at += step; return c }

func (c chain) Key() Key {
	var h Hash
	h.AddInt(c.at)
	return h.Sum()
}

func (c chain) Check(end bool) error {
	if end != (c.at == c.end) {
		return errors.New("told of another end")
	}
	if end && c.breaks {
		return errors.New("broken at the end")
	}
	return nil
}

// Goal: ends are told and counted, a limit ends a search, and a search that was ended
// does not call itself complete. Method: a chain of known length.
func TestEndsAndLimits(t *testing.T) {
	for name, search := range map[string]func(chain, Options[chain, int]) Result[int]{
		"depth first": Search[chain, int], "breadth first": Shortest[chain, int],
	} {
		if r := search(chain{end: 10_000}, Options[chain, int]{}); r.States != 10_001 || r.Ends != 1 || r.Depth < 10_000 || !r.Complete {
			t.Errorf("%s: %v; wanted 10001 states, complete", name, &r)
		}
		if r := search(chain{end: 10_000, breaks: true}, Options[chain, int]{}); r.Broken == nil || len(r.Trace) != 10_000 {
			t.Errorf("%s: %v; wanted a broken promise after 10000 actions", name, &r)
		}
		if r := search(chain{end: 10_000}, Options[chain, int]{States: 100}); r.States != 100 || r.Complete {
			t.Errorf("%s: %v; wanted 100 states, stopped", name, &r)
		}
		if r := search(chain{end: 10_000}, Options[chain, int]{Stop: func() bool { return true }}); r.Complete {
			t.Errorf("%s: %v; wanted to be stopped", name, &r)
		}
	}
}

// Goal: the set tells what it holds, also while it grows, and the zero key is a key
// like others. Method: against a map.
func TestSeen(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	var s seen
	has := map[Key]bool{}
	for range 20_000 {
		k := Key{random.Uint64N(200), random.Uint64N(50)}
		if s.add(k) == has[k] {
			t.Fatalf("key %v: the set and the map disagree after %d keys", k, len(has))
		}
		has[k] = true
	}
	if s.count != len(has) {
		t.Errorf("%d keys counted, %d put in", s.count, len(has))
	}
}

// Goal: the hash has a fixed seed, since counts are compared with a table, and looks
// at every number and their order. Method: a known value, and neighbours.
func TestHash(t *testing.T) {
	sum := func(numbers ...uint64) Key {
		var h Hash
		for _, n := range numbers {
			h.Add(n)
		}
		return h.Sum()
	}
	if got, want := sum(1, 2, 3), (Key{0x49e60daf48afed3c, 0xd3640f6c507260df}); got != want {
		t.Errorf("the hash of 1, 2, 3 is %#x, was %#x", got, want)
	}
	different := map[Key]bool{}
	for a := range uint64(40) {
		for b := range uint64(40) {
			different[sum(a, b)] = true
			different[sum(a<<58, b<<32)] = true
			different[sum(a, b, 0)] = true
		}
	}
	if want := 3*1600 - 1; len(different) != want {
		t.Errorf("%d different sums, wanted %d", len(different), want)
	}
}

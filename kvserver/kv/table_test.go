package kv

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// tabled is what a table should hold: the version of each key's item.
type tabled map[string]uint64

// mustHold compares all ways to read a table with what it should hold.
func (want tabled) mustHold(t *testing.T, when string, table *table) {
	t.Helper()
	keys := slices.Sorted(maps.Keys(want))
	var seen []string
	table.scan(func(key string, item Item) bool {
		if seen = append(seen, key); item.Version != want[key] {
			t.Errorf("%s: %q has version %d in order, want %d", when, key, item.Version, want[key])
		}
		return true
	})
	if !slices.Equal(seen, keys) || table.len() != len(keys) {
		t.Fatalf("%s: the table has %d keys, %d in order; want %d", when, table.len(), len(seen), len(keys))
	}
	for _, key := range keys {
		if item, found := table.get([]byte(key)); !found || item.Version != want[key] {
			t.Fatalf("%s: %q is found: %t, with version %d; want %d", when, key, found, item.Version, want[key])
		}
	}
	numbered := 0
	table.rows.scan(func(_ uint32, r *row) {
		if numbered++; r.Version != want[r.key] {
			t.Errorf("%s: the row of %q has version %d", when, r.key, r.Version)
		}
	})
	if numbered != len(keys) {
		t.Fatalf("%s: %d rows of %d keys", when, numbered, len(keys))
	}
}

// write puts an item with a new version under a key, or removes the key.
func (want tabled) write(table *table, key string, version uint64) {
	hash := keyHash(key)
	at, found := table.find([]byte(key), hash)
	switch {
	case version == 0 && found:
		table.remove(at, hash)
		delete(want, key)
	case version == 0:
	case found:
		table.replace(at, Item{Version: version})
		want[key] = version
	default:
		table.insert(key, hash, Item{Version: version})
		want[key] = version
	}
}

// Goal: a table finds what was put into it, in both ways and in order, and frozen
// tables stay as they were.
// Method: random changes among 5,000 keys, more than a chunk, with a freeze now
// and then; phases that only grow and only shrink; compare with a map each time.
func TestATableAndItsFrozenCopies(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 1))
	live, want := newTable(), tabled{}
	version := uint64(0)
	for phase, share := range []int{100, 60, 30, 0, 90, 50} { // of changes that put, in percent
		type frozen struct {
			table table
			want  tabled
		}
		var kept []frozen
		for i := range 12_000 {
			key := fmt.Sprint("key", r.IntN(5000))
			version++
			if r.IntN(100) < share {
				want.write(&live, key, version)
			} else {
				want.write(&live, key, 0)
			}
			if r.IntN(2000) == 0 || i == 0 {
				kept = append(kept, frozen{live.freeze(), maps.Clone(want)})
			}
		}
		live.check()
		want.mustHold(t, fmt.Sprintf("after phase %d", phase), &live)
		for i := range kept {
			kept[i].want.mustHold(t, fmt.Sprintf("copy %d of phase %d", i, phase), &kept[i].table)
		}
	}
}

// collide returns keys whose hashes share what the index looks at.
func collide(t *testing.T, n int) []string {
	t.Helper()
	keys := map[uint32][]string{}
	for i := range 1 << 20 {
		key := fmt.Sprint("c", i)
		at := indexed(keyHash(key))
		if keys[at] = append(keys[at], key); len(keys[at]) == n {
			return keys[at]
		}
	}
	t.Fatalf("no %d keys collide", n)
	return nil
}

// Goal: keys that the index cannot tell apart are kept apart, whichever of them
// come and go.
// Method: all orders of coming and going of two such keys, each overwritten and
// read after every step, next to other keys.
func TestKeysThatTheIndexCannotTellApart(t *testing.T) {
	pair := collide(t, 2)
	for steps := range 1 << 8 {
		live, want := newTable(), tabled{}
		for i := range 4 {
			want.write(&live, fmt.Sprint("other", i), 1)
		}
		for step := range 4 {
			choice := steps >> (2 * step)
			want.write(&live, pair[choice&1], uint64(step+2)*uint64(choice>>1&1))
			want.mustHold(t, fmt.Sprintf("steps %08b up to %d", steps, step), &live)
			if _, found := live.get([]byte(pair[0] + "x")); found {
				t.Fatal("a key is found that was never put")
			}
			for _, key := range pair {
				if _, found := live.get([]byte(key)); found != (want[key] != 0) {
					t.Fatalf("steps %08b up to %d: %q is found: %t", steps, step, key, found)
				}
			}
		}
		live.check()
		for key := range maps.Clone(want) {
			want.write(&live, key, 0)
		}
		if live.check(); len(live.index.slots) != 0 {
			t.Fatalf("steps %08b: an empty table's index has %v", steps, live.index.slots)
		}
	}
}

// mustPanic runs f, which must panic with a text that contains what.
func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if said := fmt.Sprint(recover()); !strings.Contains(said, what) {
			t.Errorf("it panicked with %q, want something about %q", said, what)
		}
	}()
	f()
}

// Goal: items that do not come in order are not loaded, and a table whose parts
// disagree is not frozen.
// Method: an equal key, a smaller one, the empty one; a key that only the index
// has.
func TestATableRefusesWhatCannotBe(t *testing.T) {
	for _, keys := range [][]string{{"b", "b"}, {"b", "a"}, {""}} {
		live := newTable()
		load := packer{table: &live}
		mustPanic(t, "cannot be loaded", func() {
			for _, key := range keys {
				load.add(key, Item{})
			}
		})
	}
	live := newTable()
	live.insert("a", keyHash("a"), Item{})
	live.index.add(keyHash("b"), 0)
	mustPanic(t, "1 rows, but 1 keys in order and 2 in the index", func() { live.freeze() })
	frozen := newTable()
	frozen = frozen.freeze()
	mustPanic(t, "frozen", func() { frozen.freeze() })
}

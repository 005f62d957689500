package watch

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"raftkv/kvserver/kv"
)

// node is a Node without locks, around a store.
type node struct {
	store  *kv.Store
	hub    *Hub
	cursor *Cursor
	wakes  int
	room   bool // for a state
	thawed int
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{store: kv.NewAt(kv.LevelHistory), room: true}
	n.hub = NewHub(n.store.History())
	return n
}

func (n *node) put(keys ...string) {
	for _, key := range keys {
		c := kv.Command{Op: kv.OpPut, Key: []byte(key), Value: []byte("v")}
		n.store.Apply(n.store.AppliedIndex()+1, kv.EncodeCommand(c))
	}
}

func (n *node) tell() {
	for n.hub.Advance(n.store.History()) {
	}
}

func (n *node) stream(o Options) *Stream {
	if o.Progress == 0 {
		o.Progress = DefaultProgress
	}
	o.NoLeader = NoLeader
	n.cursor = n.hub.Add(o.Selectors, o.After, func() { n.wakes++ })
	return NewStream(o, n, 0)
}

func (n *node) Take() Due             { return n.hub.Take(n.cursor) }
func (n *node) History() kv.History   { return n.hub.History() }
func (n *node) Move(to uint64)        { n.hub.Move(n.cursor, to) }
func (n *node) Await(revision uint64) { n.hub.Await(n.cursor, revision) }
func (n *node) Thawed()               { n.thawed++ }
func (n *node) Freeze() *kv.View {
	if !n.room {
		return nil
	}
	return n.store.Freeze()
}

// all steps until there is nothing more, and says what came.
func all(s *Stream, now Millis) (said []string) {
	for {
		outs, more := s.Step(now)
		for _, out := range outs {
			said = append(said, spell(out))
		}
		if !more {
			return said
		}
	}
}

func spell(out Out) string {
	switch out.Kind {
	case Open:
		return fmt.Sprintf("open %d", out.Revision)
	case Item:
		return "item " + out.Key
	case Synced:
		return fmt.Sprintf("synced %d", out.Revision)
	case Change:
		var keys []string
		for _, e := range out.Events {
			keys = append(keys, e.Key)
		}
		return fmt.Sprintf("change %d %s", out.Revision, strings.Join(keys, " "))
	case Progress:
		return fmt.Sprintf("progress %d", out.Revision)
	case Reset:
		return fmt.Sprintf("reset %d", out.Oldest)
	case Comment:
		return "comment"
	case End:
		return fmt.Sprintf("end %d", out.Cause)
	}
	return "?"
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

var everything = Selectors{Prefixes: []string{""}}

// Goal: a change is one Out with all its events in their order, wherever a piece ends.
// Method: changes of three events of 1,000 bytes, of which a piece cannot hold a whole
// number; by the ring and from the history.
func TestAChangeIsNeverSplit(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "several.snapshot"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := kv.Restore(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"history", "ring"} {
		n := newNode(t)
		s := n.stream(Options{Selectors: Selectors{Keys: []string{"a", "b"}, Ranges: []Range{{"b", ""}}}, Resume: true, After: 1})
		n.store = store
		n.tell()
		if from == "history" {
			n.hub = NewHub(store.History())
			s = n.stream(Options{Selectors: everything, Resume: true, After: 1})
		}
		expected := []string{"open 1"}
		for revision := 2; revision <= 21; revision++ {
			expected = append(expected, fmt.Sprintf("change %d b a c", revision))
		}
		want(t, all(s, 0), expected...)
	}
}

// Goal: the hub wakes the watches that a change is for, once until they look, and no
// others. Method: each kind of selector, and some that come and go.
func TestTheHubWakesWhatMatches(t *testing.T) {
	n := newNode(t)
	woken := map[string]int{}
	cursors := map[string]*Cursor{}
	for name, s := range map[string]Selectors{
		"key": {Keys: []string{"a/1", "a/1"}}, "prefix": {Prefixes: []string{"a/", "a"}}, "all": everything, "none": {Prefixes: []string{"a/11"}},
		"range": {Ranges: []Range{{"a/1", "a/2"}}}, "below": {Ranges: []Range{{"", "a/1"}}}, "above": {Ranges: []Range{{"a/10", ""}}}, "gone": everything,
	} {
		cursors[name] = n.hub.Add(s, n.hub.Revision(), func() { woken[name]++ })
		n.hub.Take(cursors[name])
	}
	n.hub.Remove(cursors["gone"])
	for range 2 {
		n.put("a/1", "a/1")
		n.tell()
		for name, c := range cursors {
			if name == "gone" {
				continue
			}
			matches := slices.Contains([]string{"key", "prefix", "all", "range"}, name)
			if (woken[name] == 1) != matches || woken[name] > 1 {
				t.Errorf("%s was woken %d times", name, woken[name])
			}
			if due := n.hub.Take(c); (len(due.Revisions) == 2) != matches || due.UpTo != n.store.Revision() {
				t.Errorf("%s: %+v at revision %d", name, due, n.store.Revision())
			}
		}
		clear(woken)
	}
	if woken["gone"] != 0 {
		t.Error("a cursor that was removed is woken")
	}
	for _, c := range cursors {
		if c != cursors["gone"] {
			n.hub.Remove(c)
		}
	}
	if n.hub.Len()+len(n.hub.keys)+len(n.hub.prefixes)+len(n.hub.lengths)+len(n.hub.ranged.cursors) != 0 {
		t.Errorf("something is left: %+v", n.hub)
	}
}

// Goal: watches come and go among many that follow the same, without a look at the others, and
// each that is there hears of each change once. Method: hundreds that follow a key, a prefix, a
// range and a lock, in a random order of coming and going.
func TestWatchesLeaveACrowd(t *testing.T) {
	n := newNode(t)
	dice := rand.New(rand.NewPCG(1, 2))
	follows := Selectors{Keys: []string{"a/1", "a/1"}, Prefixes: []string{"a/"}, Ranges: []Range{{"a/1", "a/2"}}, Locks: []string{"l"}}
	var there []*Cursor
	for range 3000 {
		if dice.IntN(100) < 55 {
			c := n.hub.Add(follows, n.hub.Revision(), func() {})
			n.hub.Take(c)
			there = append(there, c)
		} else if len(there) > 0 {
			at := dice.IntN(len(there))
			n.hub.Remove(there[at])
			there = slices.Delete(there, at, at+1)
		}
	}
	n.put("a/1")
	n.tell()
	for _, c := range there {
		if due := n.hub.Take(c); len(due.Revisions) != 1 {
			t.Fatalf("%+v of one change", due)
		}
	}
	for _, g := range []*group{n.hub.keys["a/1"], n.hub.prefixes["a/"], n.hub.locks["l"], &n.hub.ranged} {
		if len(g.cursors) <= fewCursors || len(g.at) != len(g.cursors) {
			t.Errorf("void: %d follow the same, and %d are found without a look at the others", len(g.cursors), len(g.at))
		}
		for at, c := range g.cursors {
			if g.place(c) != at {
				t.Fatalf("the watch at %d is looked for at %d", at, g.place(c))
			}
		}
	}
	for _, at := range dice.Perm(len(there)) {
		n.hub.Remove(there[at])
	}
	if n.hub.Len()+len(n.hub.keys)+len(n.hub.prefixes)+len(n.hub.locks)+len(n.hub.lengths)+len(n.hub.ranged.cursors) != 0 {
		t.Error("something is left of the group")
	}
}

// Goal: a watch with more waiting than its ring holds misses nothing, and one that falls
// behind while it reads the history is woken again. Method: 100 changes at once; changes
// between the look at the history and the word of how far it went.
func TestARingThatOverflowsLosesNothing(t *testing.T) {
	n := newNode(t)
	s := n.stream(Options{Selectors: Selectors{Keys: []string{"k"}}, Resume: true, After: 1})
	want(t, all(s, 0), "open 1")
	for range 100 {
		n.put("k")
	}
	n.tell()
	var expected []string
	for revision := 2; revision <= 101; revision++ {
		expected = append(expected, fmt.Sprintf("change %d k", revision))
	}
	want(t, all(s, 0), expected...)
	n.put("k")
	n.tell()
	n.wakes = 0
	n.Take()
	n.Move(1) // as if it had looked before that change
	if n.wakes != 1 {
		t.Errorf("it was woken %d times", n.wakes)
	}
}

// Goal: a stream whose owner sleeps when a step says that there is no more, and that was not woken
// since, has handed out everything: changes that came between two pieces of what came before, and
// a bookmark that was confirmed between them. Method: changes that fill several pieces, by the
// history and by the cursor; after the first piece another change and a confirmation.
func TestAnOwnerThatSleepsHasEverything(t *testing.T) {
	for _, confirmed := range []bool{false, true} {
		for _, changed := range []string{"", "k", "other"} {
			for _, count := range []int{3, 40} { // more than a cursor holds, too
				n := newNode(t)
				s := n.stream(Options{Selectors: Selectors{Keys: []string{"k"}}, Resume: true, After: 1})
				all(s, 0)
				s.Ask(0)
				for range count {
					c := kv.Command{Op: kv.OpPut, Key: []byte("k"), Value: make([]byte, 40<<10)}
					n.store.Apply(n.store.AppliedIndex()+1, kv.EncodeCommand(c))
				}
				n.tell()
				var said []string
				for steps := 0; ; steps++ {
					n.wakes = 0
					outs, more := s.Step(1)
					for _, out := range outs {
						said = append(said, spell(out))
					}
					if steps == 0 {
						if changed != "" {
							n.put(changed)
						}
						n.tell()
						if confirmed {
							s.Confirmed(0, n.store.Revision())
						}
					}
					if !more && n.wakes == 0 {
						break
					}
				}
				var expected []string
				for i := range count {
					expected = append(expected, fmt.Sprintf("change %d k", i+2))
				}
				if changed == "k" {
					expected = append(expected, fmt.Sprintf("change %d k", count+2))
				}
				if confirmed {
					expected = append(expected, fmt.Sprintf("progress %d", n.store.Revision()))
				}
				if !slices.Equal(said, expected) {
					t.Errorf("%d changes, then %q, confirmed %v: got  %q\nwant %q", count, changed, confirmed, said, expected)
				}
			}
		}
	}
}

// Goal: a bookmark leaves behind everything up to it, not before the hub has come there,
// and says no less than was confirmed. Method: a confirmation that is ahead of the hub.
func TestABookmarkWaitsForWhatStandsBeforeIt(t *testing.T) {
	n := newNode(t)
	s := n.stream(Options{Selectors: Selectors{Keys: []string{"k"}}, Resume: true, After: 1})
	all(s, 0)
	if !s.Ask(0) || s.Ask(0) {
		t.Fatal("it does not ask once")
	}
	n.put("other", "k", "other")
	s.Confirmed(0, n.store.Revision())
	want(t, all(s, 1))
	n.wakes = 0
	n.tell()
	if n.wakes == 0 {
		t.Error("nobody says that the hub has come to the bookmark")
	}
	want(t, all(s, 2), "change 3 k", "progress 4")
	if s.Ask(DefaultProgress-1) || !s.Ask(DefaultProgress) {
		t.Error("the next bookmark is not asked for in its time")
	}
}

// Goal (W7): a mirror of a few keys is sent at once, however many others the store has: only
// what is selected is looked at. Method: 5,000 other keys before, between and behind; each
// kind of selector, some of which overlap; one step must bring all.
func TestAMirrorLooksAtWhatIsSelectedOnly(t *testing.T) {
	n := newNode(t)
	for i := range 5000 {
		n.put(fmt.Sprintf("%c/%04d", "aeiou"[i%5], i))
	}
	n.put("b", "b/1", "b/2", "f", "g/1", "g/2", "h")
	n.tell()
	for _, c := range []struct {
		selectors Selectors
		want      string
	}{
		{Selectors{Prefixes: []string{"g/"}}, "item g/1 item g/2 "},
		{Selectors{Keys: []string{"h", "b", "none"}}, "item b item h "},
		{Selectors{Prefixes: []string{"b/2", "b"}, Keys: []string{"b/1", "f"}, Ranges: []Range{{"f", "g/2"}, {"g/1", "h"}}}, "item b item b/1 item b/2 item f item g/1 item g/2 "},
		{Selectors{Prefixes: []string{"none/", "zz"}}, ""},
	} {
		s := n.stream(Options{Selectors: c.selectors, Mirror: true, After: n.store.Revision()})
		all(s, 0)
		s.Ask(0)
		s.Confirmed(0, n.store.Revision())
		outs, _ := s.Step(0)
		got := ""
		for _, out := range outs {
			got += spell(out) + " "
		}
		if want := fmt.Sprintf("%ssynced %d ", c.want, n.store.Revision()); got != want {
			t.Errorf("%+v: one step brings %.200q, want %q", c.selectors, got, want)
		}
	}
	// A state of several pieces: each step goes on where the one before has ended.
	s := n.stream(Options{Selectors: Selectors{Prefixes: []string{"e/", "i/"}, Keys: []string{"f"}}, Mirror: true, After: n.store.Revision()})
	all(s, 0)
	s.Ask(0)
	s.Confirmed(0, n.store.Revision())
	said := all(s, 0)
	if items := said[:len(said)-2]; len(items) != 2001 || !slices.IsSorted(items) || len(slices.Compact(items)) != 2001 {
		t.Errorf("a state of several pieces has %d items, of %d said", len(items), len(said))
	}
}

// Goal: the ranges of selectors have exactly the keys that match, each once, in order.
// Method: all sets of three selectors out of some, against keys at their ends.
func TestTheRangesOfSelectorsAreWhatMatches(t *testing.T) {
	some := []Selectors{
		{Keys: []string{"a"}}, {Keys: []string{"a\x00"}}, {Keys: []string{"b\xff"}}, {Prefixes: []string{"a"}}, {Prefixes: []string{""}}, {Prefixes: []string{"\xff"}},
		{Prefixes: []string{"b\xff"}}, {Prefixes: []string{"a\xfe"}}, {Prefixes: []string{"\xfe"}}, {Ranges: []Range{{"a", "b"}}}, {Ranges: []Range{{"a\x00", "b\xff"}}}, {Ranges: []Range{{"b", ""}}}, {Ranges: []Range{{"", "a"}}}, {},
	}
	keys := []string{"\x00", "a", "a\x00", "a\x00\x00", "ab", "a\xfe", "a\xff", "b", "b\x00", "b\xff", "b\xff\x00", "c", "\xfe", "\xff", "\xff\xff"}
	for _, one := range some {
		for _, two := range some {
			for _, three := range some {
				s := Selectors{
					Keys: slices.Concat(one.Keys, two.Keys, three.Keys), Prefixes: slices.Concat(one.Prefixes, two.Prefixes, three.Prefixes),
					Ranges: slices.Concat(one.Ranges, two.Ranges, three.Ranges),
				}
				spans := s.spans()
				for i, r := range spans {
					if i > 0 && (spans[i-1].To == "" || spans[i-1].To >= r.From) || r.To != "" && r.To <= r.From {
						t.Fatalf("%+v has the ranges %q", s, spans)
					}
				}
				for _, key := range keys {
					if in := slices.ContainsFunc(spans, func(r Range) bool { return r.holds(key) }); in != s.Match(key) {
						t.Fatalf("%+v selects %q: %v, its ranges %q have it: %v", s, key, s.Match(key), spans, in)
					}
				}
			}
		}
	}
}

// Goal: a mirror waits for a confirmation that was asked for since, and for room; it is
// reset when the history is gone, but not twice in ten seconds. Method: step by step.
func TestAMirrorIsResetNotTooOften(t *testing.T) {
	n := newNode(t)
	n.put("a", "b")
	n.tell()
	s := n.stream(Options{Selectors: everything, Mirror: true, After: 3})
	want(t, all(s, 0), "open 3")
	if !s.Ask(0) {
		t.Fatal("it does not ask for a confirmation")
	}
	n.room = false
	s.Confirmed(0, 3)
	want(t, all(s, 0))
	n.room = true
	want(t, all(s, statePause-1))
	want(t, all(s, statePause), "item a", "item b", "synced 3", "progress 3")
	gap := func() {
		n.put("a", "b")
		n.store.Apply(n.store.AppliedIndex()+1, kv.EncodeCommand(kv.Forget(n.store.Revision())))
		n.tell()
		n.put("a")
		n.tell()
	}
	gap()
	want(t, all(s, 2000), "reset 5")
	if !s.Ask(2000) {
		t.Error("it does not ask for a confirmation behind the gap")
	}
	s.Confirmed(2000, 6)
	want(t, all(s, 2000), "item a", "item b", "synced 6", "progress 6")
	gap()
	want(t, all(s, 3000))
	if s.Next() > 12_000 {
		t.Errorf("it looks again at %d", s.Next())
	}
	want(t, all(s, 11_999))
	want(t, all(s, 12_000), "reset 8")
	if n.thawed != 2 {
		t.Errorf("%d of 2 states were given back", n.thawed)
	}
	s.Close()
}

// Goal: a stream says why it ends, behind everything that was applied. Method: each of
// the causes.
func TestAStreamSaysWhyItEnds(t *testing.T) {
	n := newNode(t)
	stopped := n.stream(Options{Selectors: everything, Resume: true, After: 1})
	n.put("a")
	n.tell()
	stopped.Stop()
	want(t, all(stopped, 0), "open 1", "change 2 a", fmt.Sprintf("end %d", Stopped))
	unheard := n.stream(Options{Selectors: everything, Resume: true, After: 2})
	all(unheard, 0)
	unheard.Ask(0)
	unheard.Unconfirmed(100)
	want(t, all(unheard, Silence), "comment")
	want(t, all(unheard, NoLeader-1))
	want(t, all(unheard, NoLeader), fmt.Sprintf("end %d", Unheard))
	if !unheard.Ended() {
		t.Error("it goes on")
	}
	late := n.stream(Options{Selectors: everything, Resume: true, After: 1})
	n.store.Apply(n.store.AppliedIndex()+1, kv.EncodeCommand(kv.Forget(2)))
	n.tell()
	want(t, all(late, 0), "open 1", "change 2 a")
	n.put("a")
	n.store.Apply(n.store.AppliedIndex()+1, kv.EncodeCommand(kv.Forget(3)))
	n.tell()
	gone := n.stream(Options{Selectors: everything, Resume: true, After: 1})
	want(t, all(gone, 0), "open 1", fmt.Sprintf("end %d", Gone))
	slow := n.stream(Options{Selectors: everything, Mirror: true, After: 3})
	all(slow, 0)
	slow.Ask(0)
	n.put("b")
	for i := range 2000 {
		n.put(fmt.Sprintf("key %d", i))
	}
	slow.Confirmed(0, n.store.Revision())
	slow.Step(0)
	slow.Confirmed(stateLimit-1, n.store.Revision())
	want(t, all(slow, stateLimit), fmt.Sprintf("end %d", Slow))
}

// Goal: a copy of the history that comes late does not take the hub back, or watches
// would be told twice. Method: two copies in the wrong order.
func TestAnOldCopyOfTheHistoryIsPassedOver(t *testing.T) {
	n := newNode(t)
	s := n.stream(Options{Selectors: everything, Resume: true, After: 1})
	old := n.store.History()
	n.put("a", "b")
	n.tell()
	n.hub.Advance(old)
	n.put("c")
	n.tell()
	want(t, all(s, 0), "open 1", "change 2 a", "change 3 b", "change 4 c")
}

// Goal: a stream that is to end does not run after what goes on being written. Method:
// changes behind the word that it ends.
func TestAStreamThatIsToEndDoesNotGoOn(t *testing.T) {
	n := newNode(t)
	s := n.stream(Options{Selectors: Selectors{Keys: []string{"a"}}, Resume: true, After: 1})
	n.put("a", "b")
	n.tell()
	s.Stop()
	n.put("a", "a")
	n.tell()
	said := all(s, 0)
	if len(said) < 3 || said[1] != "change 2 a" || said[len(said)-1] != fmt.Sprintf("end %d", Stopped) {
		t.Errorf("it was sent %q", said)
	}
	n.put("a")
	n.tell()
	want(t, all(s, 0))
}

// Goal: selectors that cannot be are refused in words. Method: one of each kind.
func TestSelectorsAreChecked(t *testing.T) {
	long := strings.Repeat("k", kv.MaxKeyBytes+1)
	for says, s := range map[string]Selectors{
		"selects nothing":   {},
		"a key has 0":       {Keys: []string{""}},
		"a key has 1025":    {Keys: []string{long}},
		"a prefix or an":    {Prefixes: []string{long}},
		"does not stand":    {Ranges: []Range{{"b", "a"}}},
		"has 3 selectors; ": {Keys: []string{"a", "b", "c"}},
	} {
		if err := s.Check(2); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	for _, s := range []Selectors{everything, {Ranges: []Range{{"", ""}}}, {Keys: []string{"k"}, Prefixes: []string{"k"}}} {
		if err := s.Check(2); err != nil {
			t.Error(err)
		}
	}
}

// Goal (W11): a stream whose owner asked nothing for a while, since its client took nothing,
// does not end for that: it asks, and ends only if nothing is confirmed from then on.
// Method: an owner that rests for more than NoLeader, where the question before had an
// answer, a failure, and none was asked; each then has an answer, and then none.
func TestAStreamDoesNotEndForWhatItDidNotAsk(t *testing.T) {
	for name, before := range map[string]func(*Stream){
		"asked": func(s *Stream) { s.Confirmed(0, 1) }, "failed": func(s *Stream) { s.Unconfirmed(0) },
	} {
		n := newNode(t)
		s := n.stream(Options{Selectors: everything, After: 1, Progress: MaxProgress})
		if !s.Ask(0) {
			t.Fatal("nothing is asked at first")
		}
		all(s, 0)
		before(s)
		all(s, 0)
		const late = 3 * NoLeader
		if !s.Ask(late) {
			t.Errorf("%s: nothing is asked after a rest", name)
		}
		if said := all(s, late); !slices.Equal(said, []string{"comment"}) {
			t.Errorf("%s: after a rest it says %q", name, said)
		}
		s.Confirmed(late, 1)
		if said := all(s, late+1); len(said) > 0 && said[0] != "progress 1" {
			t.Errorf("%s: then it says %q", name, said)
		}
		if !s.Ask(late + askEvery) {
			t.Errorf("%s: nothing is asked any more", name)
		}
		all(s, late+NoLeader-1)
		want(t, all(s, late+NoLeader), fmt.Sprintf("end %d", Unheard))
	}
}

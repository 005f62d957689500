package live

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// viewer is what a page does with the frames.
type viewer struct {
	id        string
	documents map[string]map[string]any
	notices   []string
	whole     int // how often it was shown everything
}

// look takes what is new.
func (v *viewer) look(t *testing.T, f *Feed) {
	t.Helper()
	frames, last := f.After(v.id)
	for _, frame := range frames {
		var data map[string]any
		if err := json.Unmarshal(frame.Data, &data); err != nil {
			t.Fatalf("%s: %v in %s", frame.Name, err, frame.Data)
		}
		switch frame.Name {
		case Open:
			v.documents = map[string]map[string]any{}
			v.whole++
		case "note":
			v.notices = append(v.notices, fmt.Sprint(data["n"]))
		default:
			v.documents[frame.Name] = merge(v.documents[frame.Name], data)
		}
	}
	v.id = last
}

// merge is RFC 7396.
func merge(to, patch map[string]any) map[string]any {
	if to == nil {
		to = map[string]any{}
	}
	for name, value := range patch {
		inner, isObject := value.(map[string]any)
		switch {
		case value == nil:
			delete(to, name)
		case isObject:
			was, _ := to[name].(map[string]any)
			to[name] = merge(was, inner)
		default:
			to[name] = value
		}
	}
	return to
}

// random makes a document out of few names and values, so that much stays as it is.
func random(rng *rand.Rand, depth int) map[string]any {
	o := map[string]any{}
	for range rng.IntN(4) {
		name := string(rune('a' + rng.IntN(4)))
		switch rng.IntN(5) {
		case 0:
			o[name] = float64(rng.IntN(3))
		case 1:
			o[name] = []any{"x", float64(rng.IntN(2)), nil}[:rng.IntN(4)]
		case 2:
			o[name] = nil
		default:
			if depth > 0 {
				o[name] = random(rng, depth-1)
			}
		}
	}
	return o
}

// Goal: whatever happens to the documents, a viewer that looks now and
// then, comes back, or was away for too long has what they hold, and has seen each notice
// once that came while it looked.
// Method: random documents; the viewers apply merge patches by their rule, on their own; 100
// seeds.
func TestViewersHaveWhatTheDocumentsHold(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 3))
		f := NewFeed("e")
		steady, rare := &viewer{}, &viewer{}
		want := map[string]map[string]any{}
		told := 0
		for range 60 {
			for range rng.IntN(5) {
				name := []string{"status", "story"}[rng.IntN(2)]
				document := random(rng, 2)
				if err := f.Set(name, document); err != nil {
					t.Fatal(err)
				}
				strip(document)
				want[name] = document
				if steady.whole > 0 {
					f.Tell("note", map[string]int{"n": told})
					told++
				}
			}
			steady.look(t, f)
			if rng.IntN(40) == 0 {
				rare.look(t, f)
			}
		}
		rare.look(t, f)
		for _, v := range []*viewer{steady, rare} {
			if len(want) > 0 && !reflect.DeepEqual(v.documents, want) {
				t.Fatalf("seed %d: a viewer has %v, want %v", seed, v.documents, want)
			}
		}
		if len(steady.notices) != told || steady.whole > 1 {
			t.Fatalf("seed %d: of %d notices it has %d; it was shown everything %d times", seed, told, len(steady.notices), steady.whole)
		}
	}
}

// Goal (I6): what is kept for viewers that were away is bounded, in number and in bytes, and
// no id makes a viewer miss anything: one of another feed, of the future, or none at all.
func TestWhatIsKeptIsBounded(t *testing.T) {
	f := NewFeed("e")
	for i := range 3 * keptFrames {
		if err := f.Set("status", map[string]any{"n": i, "text": strings.Repeat("x", 10<<10)}); err != nil {
			t.Fatal(err)
		}
		f.Tell("note", strings.Repeat("x", 10<<10))
	}
	if len(f.frames) > keptFrames || f.bytes > keptBytes {
		t.Errorf("%d frames of %d bytes are kept", len(f.frames), f.bytes)
	}
	_, last := f.After("")
	for _, id := range []string{"", "e-", "e-1", "e-99999999", "e-18446744073709551615", "other-" + last, "e--1", strings.Repeat("e-", 1000)} {
		if frames, again := f.After(id); len(frames) != 2 || frames[0].Name != Open || frames[1].Name != "status" || again != last {
			t.Errorf("after %.20q there are %d frames", id, len(frames))
		}
	}
	if frames, _ := f.After(last); len(frames) != 0 {
		t.Errorf("behind the last one there are %d frames", len(frames))
	}
	if err := f.Set("status", []int{1}); err == nil {
		t.Error("a list is taken as a document")
	}
}

// Goal (I15): viewers are bounded, one of them gathers for all, and no oftener than it must.
// Method: the times at which somebody is given the turn, with marks that change and without.
func TestOneGathersForAll(t *testing.T) {
	f := NewFeed("e")
	for range MaxViewers {
		if !f.Enter() {
			t.Fatal("there was no room")
		}
	}
	if f.Enter() {
		t.Error("one more than may look was taken in")
	}
	f.Leave()
	if !f.Enter() {
		t.Error("a place that was given back is not given again")
	}
	begun := time.Now()
	var given []time.Duration
	for at := time.Duration(0); at <= 2*time.Second; at += 50 * time.Millisecond {
		mark := "quiet"
		if at >= time.Second {
			mark = fmt.Sprint(at) // something happens all the time
		}
		if f.Turn("status", begun.Add(at), mark, Rest) {
			given = append(given, at/time.Millisecond)
			if f.Turn("status", begun.Add(at+time.Hour), "other", Rest) {
				t.Error("two gather at the same time")
			}
			f.Done("status", "", 0)
		}
	}
	if want := []time.Duration{0, 500, 1000, 1250, 1500, 1750, 2000}; !reflect.DeepEqual(given, want) {
		t.Errorf("the turn is given at %v, want %v", given, want)
	}
}

// Goal: an event is told once; a node that lost its disk counts anew, and is told on.
func TestANodeThatLostItsDiskIsToldOn(t *testing.T) {
	var n News
	for i, c := range []struct {
		boot, seq uint64
		at        int64
		fresh     bool
	}{{7, 100, 1000, true}, {7, 100, 1000, false}, {7, 99, 990, false}, {6, 500, 900, false}, {1, 1, 2000, true}, {1, 2, 2001, true}, {1, 2, 2001, false}} {
		if got := n.Fresh("n1", c.boot, c.seq, c.at); got != c.fresh {
			t.Errorf("event %d, %+v, is fresh: %v", i, c, got)
		}
	}
}

// Goal: what took long to gather is not gathered again at once, however much happens.
func TestWhatTakesLongHasARest(t *testing.T) {
	f := NewFeed("a")
	now := time.Now()
	f.Turn("story", now, "1", time.Second)
	f.Done("story", "", 6*time.Second)
	if f.Turn("story", now.Add(5*time.Second), "2", time.Second) {
		t.Error("it is gathered again before the pause is over")
	}
	if !f.Turn("story", now.Add(6*time.Second), "2", time.Second) {
		t.Error("it is not gathered again behind the pause")
	}
}

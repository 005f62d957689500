package identity

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"raftkv/raft/core"
)

// draw gives tests chance: what they draw only has to differ.
var draw = rand.Uint64

func newLife() Life { return NewLife(draw) }

// next returns the life after some restarts on the directory of l. A copy of l is l
// itself.
func next(l Life, times int) Life {
	for range times {
		l = l.Next(draw)
	}
	return l
}

func rejoined(l Life) Life { l.Rejoined = true; return l }

// asking is the same life before it has a goal.
func asking(l Life) Life { l.Asking = true; return l }

// replace lets the peer of which k is remembered come back on the directory of l.
func replace(k Known, l Life) Known {
	k, _, _ = k.Meet(asking(l))
	k, _, _ = k.Meet(l)
	return k
}

// Goal: from what is remembered of a peer and what its hello says, a restart is
// told from an emptied directory, one put back and a copy, and a directory that
// was made to replace a lost one is taken once and its predecessor never again.
// Method: a table of pasts, with the life that comes next.
func TestAPeersDirectoryIsJudged(t *testing.T) {
	a, b, c := newLife(), rejoined(newLife()), rejoined(newLife())
	at5 := next(a, 4)
	for _, test := range []struct {
		name string
		past []Life // met, and taken, in this order
		now  Life
		want Reason
	}{
		{"never met", nil, a, ""},
		{"the same process", []Life{a}, a, ""},
		{"a restart", []Life{a}, a.Next(draw), ""},
		{"many restarts unseen", []Life{a}, next(a, MaxNonces-1), ""},
		{"too many restarts to tell", []Life{a}, next(a, MaxNonces+5), ""},
		{"emptied", []Life{a}, newLife(), Wiped},
		{"emptied after many starts", []Life{at5}, newLife(), Wiped},
		{"put back", []Life{a, at5}, next(a, 2), RolledBack},
		{"put back and started as often as before", []Life{a, at5}, next(a, 4), Copied},
		{"put back and started more often", []Life{a, at5}, next(a, 5), RolledBack},
		{"put back and started much more often", []Life{a, at5}, next(a, MaxNonces), RolledBack},
		{"two copies started at once", []Life{a, a.Next(draw)}, a.Next(draw), Copied},
		{"a newcomer asks", []Life{a}, asking(b), ""},
		{"a newcomer asks again", []Life{a, asking(b)}, asking(b.Next(draw)), ""},
		{"another newcomer asks", []Life{a, asking(b)}, asking(c), ""},
		{"a newcomer that nobody has heard asking", []Life{a}, b, Wiped},
		{"a newcomer that asked before another one", []Life{a, asking(b), asking(c)}, b, Wiped},
		{"the lost one comes back before the newcomer has a goal", []Life{a, asking(b)}, a.Next(draw), ""},
		{"the lost one has come back, then the newcomer has a goal", []Life{a, asking(b), a.Next(draw)}, b, Replaced},
		{"the lost one has come back, and the newcomer asks again", []Life{a, asking(b), a.Next(draw)}, asking(b), Replaced},
		{"the same process of the lost one", []Life{a, asking(b)}, a, ""},
		{"replaced", []Life{a, asking(b)}, b, ""},
		{"replaced, with a restart between", []Life{a, asking(b)}, b.Next(draw), ""},
		{"replaced, then restarted", []Life{a, asking(b), b}, b.Next(draw), ""},
		{"replaced twice", []Life{a, asking(b), b, asking(c)}, c, ""},
		{"the one before the replacement", []Life{a, asking(b), b}, a.Next(draw), Replaced},
		{"the one before two replacements", []Life{a, asking(b), b, asking(c), c}, a.Next(draw), Replaced},
		{"the replacement before the last", []Life{a, asking(b), b, asking(c), c}, b.Next(draw), Replaced},
		{"emptied after a replacement", []Life{a, asking(b), b}, newLife(), Wiped},
	} {
		var k Known
		for i, l := range test.past {
			after, changed, reason := k.Meet(l)
			if !changed || reason != "" {
				t.Fatalf("%s: life %d of the past: changed %v, %q", test.name, i, changed, reason)
			}
			k = after
		}
		after, changed, reason := k.Meet(test.now)
		// What is met a second time is no news, nor is a restart of a server that only asks.
		same := len(test.past) > 0 && reflect.DeepEqual(test.now, test.past[len(test.past)-1]) || test.name == "a newcomer asks again"
		if reason != test.want || changed != (test.want == "" && !same) {
			t.Errorf("%s: changed %v, %q instead of %q", test.name, changed, reason, test.want)
		}
		if reason != "" && !reflect.DeepEqual(after, k) {
			t.Errorf("%s: a peer that was turned down changed what is remembered", test.name)
		}
	}
}

// Goal: what is remembered of replaced directories is bounded, and it is the last
// ones that are remembered. Method: more replacements than that.
func TestReplacedDirectoriesAreBounded(t *testing.T) {
	var k Known
	last := newLife()
	k, _, _ = k.Meet(last)
	var replaced []Incarnation
	for range maxFormer + 3 {
		replaced = append(replaced, last.Incarnation)
		last = rejoined(newLife())
		k = replace(k, last)
	}
	if !slices.Equal(k.Former, replaced[len(replaced)-maxFormer:]) || k.Incarnation != last.Incarnation {
		t.Fatalf("%d former directories, not the last %d", len(k.Former), maxFormer)
	}
}

// Goal: a server that lost its disk and has no goal yet neither takes the place of
// the directory it is to replace, where nobody was met before, nor condemns a
// peer's. Method: the pure judgement; the peer's own directory comes after the
// newcomer, and the newcomer speaks about ours.
func TestANewcomerWithoutAGoalStandsForNobody(t *testing.T) {
	own, newcomer := newLife(), newLife()
	newcomer.Rejoined = true
	k, changed, reason := Known{}.Meet(asking(newcomer))
	if changed || reason != "" || k.Boot != 0 {
		t.Errorf("the newcomer is remembered as %+v, reason %q", k, reason)
	}
	if k, _, reason = k.Meet(own); reason != "" || k.Incarnation != own.Incarnation {
		t.Errorf("the peer's own directory is turned down as %q", reason)
	}
	uid := core.UID{1}
	if (Known{}).Credible(uid, Identity{UID: uid, Life: asking(newcomer)}) == "" {
		t.Error("the word of a server that has forgotten everybody counts")
	}
	if doubt := (Known{}).Credible(uid, Identity{UID: uid, Life: newcomer}); doubt != "" {
		t.Errorf("void: the word of a replacement does not count: %s", doubt)
	}
}

// Goal: a life that no server can have is reported. Method: a good one, and what can
// be wrong with it.
func TestLivesThatNoServerHasAreReported(t *testing.T) {
	good := next(newLife(), 2)
	if err := good.Check(); err != nil {
		t.Errorf("a good life: %v", err)
	}
	for name, l := range map[string]Life{
		"no incarnation":         {Boot: 3, Nonces: good.Nonces},
		"boot 0":                 {Incarnation: good.Incarnation, Nonces: good.Nonces},
		"no nonces":              {Incarnation: good.Incarnation, Boot: 3},
		"more nonces than boots": {Incarnation: good.Incarnation, Boot: 2, Nonces: good.Nonces},
		"too many nonces":        {Incarnation: good.Incarnation, Boot: 1000, Nonces: make([]uint64, MaxNonces+1)},
	} {
		if l.Check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

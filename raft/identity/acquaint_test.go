package identity

import (
	"strings"
	"testing"

	"raftkv/raft/core"
)

// Goal: the word of a server against our data directory counts only if it is the
// peer, on the directory that is known, of our cluster, and has not lost its own.
// Whoever knows nothing of a peer believes it. Method: a table.
func TestCredible(t *testing.T) {
	peer, ours, theirs := newLife(), core.UID{1}, core.UID{2}
	known, _, _ := Known{}.Meet(peer)
	known.UID = ours
	known = known.Note(Standing{Term: 5, Last: 10, LastTerm: 5, Commit: 8})
	now := Standing{Term: 6, Last: 10, Commit: 9}
	restored := known
	restored.PutBack = true
	replaced := replace(known, rejoined(newLife()))
	newcomer := rejoined(newLife())
	waiting, _, _ := known.Meet(asking(newcomer))
	for name, c := range map[string]struct {
		k     Known
		ours  core.UID
		them  Identity
		doubt string // a part of it; "": the word counts
	}{
		"the peer":                         {known, ours, Identity{ours, peer, now}, ""},
		"the peer after restarts":          {known, ours, Identity{ours, next(peer, 3), now}, ""},
		"a peer never met":                 {Known{}, ours, Identity{ours, newLife(), Standing{}}, ""},
		"neither of us knows a uid":        {known, core.UID{}, Identity{core.UID{}, peer, now}, ""},
		"only the peer knows a uid":        {known, core.UID{}, Identity{ours, peer, now}, ""},
		"a newcomer with its goal":         {waiting, ours, Identity{ours, newcomer, Standing{Term: 6}}, ""},
		"only we know a uid":               {known, ours, Identity{core.UID{}, peer, now}, "uid yet"},
		"of another cluster":               {known, ours, Identity{theirs, peer, now}, "another cluster"},
		"of another cluster, never met":    {Known{}, ours, Identity{theirs, newLife(), Standing{}}, "another cluster"},
		"on another directory":             {known, ours, Identity{ours, newLife(), now}, "wiped"},
		"on another one, nobody has a uid": {known, core.UID{}, Identity{core.UID{}, newLife(), now}, "wiped"},
		"on one that was replaced":         {replaced, ours, Identity{ours, peer, now}, "replaced"},
		"on a copy":                        {known, ours, Identity{ours, Life{Incarnation: peer.Incarnation, Boot: peer.Boot, Nonces: []uint64{peer.nonce() + 1}}, now}, "copied"},
		"on one that was found put back":   {restored, ours, Identity{ours, peer, now}, "rolled-back"},
		"on one that has lost a term":      {known, ours, Identity{ours, peer, Standing{Term: 4, Last: 20}}, "reached term 5"},
		"on one that lacks what it held":   {known, ours, Identity{ours, peer, Standing{Term: 6, Last: 7}}, "committed entries up to 8"},
		"that asks what it has promised":   {known, ours, Identity{ours, asking(newcomer), Standing{}}, "lost its disk"},
		"that asks and was never met":      {Known{}, core.UID{}, Identity{core.UID{}, asking(newcomer), Standing{}}, "lost its disk"},
		"a newcomer that never asked us":   {known, ours, Identity{ours, rejoined(newLife()), Standing{Term: 6}}, "wiped"},
		"that was met in another cluster":  {Known{Incarnation: Incarnation{7}, Boot: 2, Nonce: 1, UID: theirs}, ours, Identity{ours, peer, now}, ""},
	} {
		before := c.k
		doubt := c.k.Credible(c.ours, c.them)
		if (doubt == "") != (c.doubt == "") || !strings.Contains(doubt, c.doubt) {
			t.Errorf("%s: %q", name, doubt)
		}
		if c.k.Use() != before.Use() || c.k.Newcomer != before.Newcomer {
			t.Errorf("%s: to judge a word changed what is known", name)
		}
	}
}

// Goal: two servers that were started with --rejoin by mistake can go back to
// their own directories: a newcomer without a goal that met the other one's
// newcomer does not refuse the other one's own directory, nor hold the newcomer
// against it. Method: the newcomer's memory is empty; the other one says hello as a
// newcomer without a goal, then on its own directory, restarted.
func TestANewcomerWithoutAGoalTakesAPeerThatGoesBack(t *testing.T) {
	ours, own, second := core.UID{1}, next(newLife(), 4), rejoined(newLife())
	for _, said := range []core.UID{{}, ours} {
		k, changed, reason, _ := Known{}.Acquaint(core.UID{}, Identity{UID: said, Life: asking(second)})
		if reason != "" {
			t.Fatalf("a newcomer refuses another one: %v", reason)
		}
		if k.Boot != 0 || k.Incarnation != (Incarnation{}) {
			t.Errorf("a newcomer that has promised nothing is remembered as the peer's directory: %+v (changed %v)", k, changed)
		}
		for range 2 {
			k, _, reason, _ = k.Acquaint(core.UID{}, Identity{UID: ours, Life: own, Standing: Standing{Term: 7, Last: 9, Commit: 9}})
			if reason != "" || k.Incarnation != own.Incarnation {
				t.Errorf("the peer's own directory: %q, %+v", reason, k)
			}
			own = own.Next(draw)
		}
		if _, _, reason, _ = k.Acquaint(core.UID{}, Identity{UID: ours, Life: second, Standing: Standing{Term: 8}}); reason != Wiped {
			t.Errorf("the newcomer comes with a goal of which we heard nothing: %q", reason)
		}
	}
}

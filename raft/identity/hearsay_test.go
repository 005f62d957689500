package identity

import (
	"testing"

	"raftkv/raft/core"
)

// Goal: a server that does not know its uid talks to servers of one cluster only,
// and to nobody while it cannot tell which is its own; a majority of all members
// decides, but not against the cluster in which it may have promised something.
// Method: a table of what peers name.
func TestHearsay(t *testing.T) {
	none, a, b, c := core.UID{}, core.UID{1}, core.UID{2}, core.UID{3}
	for name, test := range map[string]struct {
		members int
		bound   core.UID
		said    string // of n2, n3, …: a letter each
		uid     core.UID
		atOdds  bool
	}{
		"nothing was heard":                         {3, none, "..", none, false},
		"one names a uid":                           {3, none, "a.", none, false},
		"two name the same":                         {3, none, "aa", a, false},
		"two name different ones":                   {3, none, "ab", none, true},
		"one of five is a stray":                    {5, none, "aaab", a, false},
		"one of five is a stray, one is away":       {5, none, "aab.", none, true},
		"two of five are strays":                    {5, none, "aabb", none, true},
		"three clusters":                            {5, none, "aabc", none, true},
		"one of four is a stray":                    {4, none, "aab", none, true},
		"bound, and nobody says otherwise":          {3, a, "a.", a, false},
		"bound, and one says otherwise":             {3, a, ".b", a, false},
		"bound, and they differ":                    {3, a, "ab", a, true},
		"bound to the majority":                     {5, a, "aaab", a, false},
		"bound to the minority":                     {5, b, "aaab", b, true},
		"bound to a cluster that nobody names":      {5, c, "aaaa", c, false},
		"bound to a cluster that nobody names, odd": {5, c, "aaab", c, true},
	} {
		var h Hearsay
		h.Bind(test.bound)
		h.Bind(core.UID{9}) // comes second, where there is a first
		if test.bound == none {
			h = Hearsay{}
		}
		for i, said := range test.said {
			id := core.ID("n" + string(rune('2'+i)))
			h.Hear(id, c) // what a peer named before does not matter
			if uid := map[rune]core.UID{'.': none, 'a': a, 'b': b, 'c': c}[said]; uid != c && !h.Hear(id, uid) {
				t.Errorf("%s: what %s names is no news", name, id)
			}
		}
		if uid, atOdds := h.Presume(test.members); uid != test.uid || atOdds != test.atOdds {
			t.Errorf("%s: %v, at odds %v", name, uid, atOdds)
		}
	}
}

package identity

import (
	"slices"
	"strings"
	"testing"

	"raftkv/raft/core"
)

// Goal: only a majority of all other servers that know their cluster's uid makes a
// verdict that is for good; a word that is taken back counts no more, and the last
// word of a peer is the one that counts. Method: a table of words against a member of
// clusters of several sizes.
func TestOnlyAMajorityThatKnowsItsClusterDecidesForGood(t *testing.T) {
	for _, test := range []struct {
		name   string
		others int
		says   string // of n2, n3, …: k knows the uid, u does not, b took its word back, . says nothing
		by     int
		final  bool
	}{
		{"one of two", 2, "k.", 1, false},
		{"both of two", 2, "kk", 2, true},
		{"both of two, and one knows no uid", 2, "ku", 2, false},
		{"both of two, and none knows a uid", 2, "uu", 2, false},
		{"the only other one", 1, "k", 1, true},
		{"two of four", 4, "kk..", 2, false},
		{"three of four", 4, ".kkk", 3, true},
		{"three of four, and one took its word back", 4, "bkk.", 2, false},
	} {
		var w Words
		for i, says := range test.says {
			peer := core.ID("n" + string(rune('2'+i)))
			if says == '.' {
				continue
			}
			w.Hear(peer, Wiped, "first", true)
			w.Hear(peer, Copied, "said by "+string(peer), says == 'k')
			if says == 'b' {
				w.TakeBack(peer)
			}
		}
		v := w.Verdict(test.others)
		if w.Len() != test.by || len(v.By) != test.by || !slices.IsSorted(v.By) || v.Majority != test.final {
			t.Errorf("%s: %d words, %+v", test.name, w.Len(), v)
		}
		if v.Why != Copied || v.Detail != "said by "+string(v.By[0]) {
			t.Errorf("%s: the verdict is not the last word of the first peer: %+v", test.name, v)
		}
		if w.Clear(); w.Len() != 0 {
			t.Errorf("%s: %d words after all were cleared", test.name, w.Len())
		}
	}
}

// Goal: exactly the reasons that concern the data directory fence it, and each of
// them tells people which server it is about. Method: all reasons, and one of a later
// release.
func TestReasonsThatFenceDescribeTheServer(t *testing.T) {
	for _, r := range []Reason{Wiped, RolledBack, Copied, Replaced} {
		if !r.Fences() || !strings.Contains(r.Describe("n7"), `server "n7"`) {
			t.Errorf("%s: fences %v, %q", r, r.Fences(), r.Describe("n7"))
		}
	}
	for _, r := range []Reason{OtherCluster, "of a later release", ""} {
		if r.Fences() || r.Describe("n7") != "" {
			t.Errorf("%q: fences %v, %q", r, r.Fences(), r.Describe("n7"))
		}
	}
}

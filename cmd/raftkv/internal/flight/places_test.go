package flight

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"raftkv/kvserver/recorder"
	"raftkv/raft/core"
	"raftkv/raft/members"
)

// Goal: the places of members are recorded once each, and once more before the ring forgets them.
// Method: a cluster of two to which one comes, votes and goes by joint configurations; then more
// events than half of the ring.
func TestPlacesAreRecordedAsTheyChange(t *testing.T) {
	r := &Recording{recorder: recorder.New(recorder.Section{Node: "n1", Boot: 1, Names: []string{"n1", "n2"}}, nil, time.Now())}
	seen := uint64(0)
	expect := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, ring := range r.recorder.After(seen, recorder.Capacity) {
			for _, e := range ring.Events {
				if seen = e.Seq; e.Kind == recorder.Placed {
					got = append(got, fmt.Sprintf("%s is %d at %d", ring.Names[e.Peer-1], e.A, e.Index))
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	place := func(index uint64, all ...members.Member) {
		r.Placed(members.Version{Index: index, Record: &members.Record{Members: all}})
	}
	voter := func(id core.ID) members.Member { return members.Member{ID: id, Role: members.Voter, WasVoter: true} }
	place(1, voter("n1"), voter("n2"))
	expect("the first", "n1 is 1 at 1", "n2 is 1 at 1")
	place(2, voter("n1"), voter("n2"), members.Member{ID: "n3", Role: members.Learner})
	expect("a learner", "n3 is 2 at 2")
	place(3, voter("n1"), members.Member{ID: "n2", Role: members.Leaving, WasVoter: true}, members.Member{ID: "n3", Role: members.Voter})
	expect("a joint configuration", "n2 is 4 at 3", "n3 is 3 at 3")
	place(4, voter("n1"), voter("n3"))
	expect("the final one", "n2 is 0 at 4", "n3 is 1 at 4")
	place(4, voter("n1"), voter("n3"))
	r.placeAgain()
	expect("the same again")
	for range recorder.Capacity/2 + 1 {
		r.Record(recorder.EndAsked, recorder.None)
	}
	expect("other events")
	r.placeAgain()
	expect("before they are forgotten", "n1 is 1 at 4", "n3 is 1 at 4")
}

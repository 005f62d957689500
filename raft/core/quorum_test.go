package core

import (
	"math/bits"
	"slices"
	"testing"
)

// combinations calls f with every list of n values below limit.
func combinations(n, limit int, f func([]uint64)) {
	list := make([]uint64, n)
	for {
		f(slices.Clone(list))
		i := 0
		for ; i < n; i++ {
			if list[i]++; list[i] < uint64(limit) {
				break
			}
			list[i] = 0
		}
		if i == n {
			return
		}
	}
}

// Goal: §5.2: any two majorities share a server, and no smaller group has that
// property (hashicorp/raft 163a55f: four servers committed with two).
// Method: all pairs of groups of majority size, and of one less, among 1 to 7.
func TestMajority_AnyTwoShareAServer(t *testing.T) {
	want := []int{0, 1, 2, 2, 3, 3, 4, 4}
	for n := 1; n <= 7; n++ {
		size := majority(n)
		if size != want[n] {
			t.Errorf("majority of %d is %d, want %d", n, size, want[n])
		}
		disjoint := func(size int) bool {
			for a := range uint(1) << n {
				for b := range uint(1) << n {
					if bits.OnesCount(a) == size && bits.OnesCount(b) == size && a&b == 0 {
						return true
					}
				}
			}
			return false
		}
		if disjoint(size) {
			t.Errorf("two groups of %d among %d servers share nobody", size, n)
		}
		if !disjoint(size - 1) {
			t.Errorf("groups of %d among %d servers would do", size-1, n)
		}
	}
}

// everybody returns the configuration in which n servers vote.
func everybody(n int) configuration { return newConfiguration(names(n), "1") }

// Goal: an election is won by granted votes of a majority and nothing else.
// Method: every combination of the four states of a vote for up to five
// servers, of granted and awaited for six and seven, against a count.
func TestHasQuorum_EveryCombinationOfVotes(t *testing.T) {
	for n := 1; n <= 7; n++ {
		kinds := []vote{voteUnasked, voteAwaited, voteGranted, voteRefused}
		if n > 5 {
			kinds = []vote{voteAwaited, voteGranted}
		}
		c := everybody(n)
		combinations(n, len(kinds), func(list []uint64) {
			votes := make([]vote, n)
			granted := 0
			for i, k := range list {
				votes[i] = kinds[k]
				if votes[i] == voteGranted {
					granted++
				}
			}
			if got := c.hasQuorum(func(i int) bool { return votes[i] == voteGranted }); got != (2*granted > n) {
				t.Fatalf("votes %v: %v", votes, got)
			}
		})
	}
}

// Goal: the commit index is the highest one that a majority has reached.
// Method: every combination of indices for up to five servers, of three values
// for six and seven, against the definition read aloud.
func TestQuorumIndex_EveryCombinationOfIndices(t *testing.T) {
	for n := 1; n <= 7; n++ {
		limit := n + 1
		if n > 5 {
			limit = 3
		}
		c := everybody(n)
		combinations(n, limit, func(list []uint64) {
			want := uint64(0)
			for candidate := range uint64(limit) {
				reached := 0
				for _, index := range list {
					if index >= candidate {
						reached++
					}
				}
				if 2*reached > n {
					want = candidate
				}
			}
			if got := c.quorumIndex(func(i int) uint64 { return list[i] }); got != want {
				t.Fatalf("%v: %d, want %d", list, got, want)
			}
		})
	}
}

// Goal: §6: a joint configuration decides only what a majority of either half
// decides, and learners count in neither. So whatever it decides, both the
// configuration before it and the one after it would have a say in.
// Method: four servers, each of which votes in the new half, in the old one, in
// both or in none, in every combination with a voter in each half; every group of
// them that agrees; every list of values, of which three differ. Expected is the
// definition read aloud, and that decisions of groups which share nobody exclude
// each other, also over the step from one configuration to the next.
func TestQuorum_AJointConfigurationNeedsBothHalves(t *testing.T) {
	const n = 4
	combinations(n, 4, func(halves []uint64) {
		c := configuration{joint: true}
		after := configuration{}
		size := map[half]int{}
		for i, id := range names(n) {
			votes := half(halves[i])
			c.members = append(c.members, member{id: id, votes: votes})
			after.members = append(after.members, member{id: id, votes: votes & newHalf})
			for _, h := range []half{newHalf, oldHalf} {
				if votes&h != 0 {
					size[h]++
				}
			}
		}
		if size[newHalf] == 0 || size[oldHalf] == 0 {
			return
		}
		holds := func(group uint64, of half) bool {
			count := 0
			for i := range n {
				if group>>i&1 != 0 && half(halves[i])&of != 0 {
					count++
				}
			}
			return 2*count > size[of]
		}
		agree := func(c *configuration, group uint64) bool {
			return c.hasQuorum(func(i int) bool { return group>>i&1 != 0 })
		}
		for group := range uint64(1 << n) {
			got := agree(&c, group)
			if want := holds(group, newHalf) && holds(group, oldHalf); got != want {
				t.Fatalf("halves %v, group %04b: %v, want %v", halves, group, got, want)
			}
			others := 1<<n - 1 - group
			if got && (agree(&c, others) || agree(&after, others) || holds(others, oldHalf)) {
				t.Fatalf("halves %v: group %04b and the rest both decide", halves, group)
			}
		}
		combinations(n, 3, func(list []uint64) {
			want := uint64(0)
			for candidate := range uint64(3) {
				group := uint64(0)
				for i, value := range list {
					if value >= candidate {
						group |= 1 << i
					}
				}
				if holds(group, newHalf) && holds(group, oldHalf) {
					want = candidate
				}
			}
			if got := c.quorumIndex(func(i int) uint64 { return list[i] }); got != want {
				t.Fatalf("halves %v, values %v: %d, want %d", halves, list, got, want)
			}
		})
	})
}

// Goal: what is kept of a server is found by its ID, whatever the order in which
// servers were named, and a stranger has nothing.
// Method: IDs of different lengths, given unsorted; every one is looked up.
func TestMembers_AreFoundByTheirID(t *testing.T) {
	s := newSubject(t, func(c *Config) { c.ID, c.Peers = "n10", []ID{"n2", "n10", "n1", "x", "n3"} })
	for i, id := range []ID{"n1", "n10", "n2", "n3", "x"} {
		if row := s.member(id); row == nil || row.id != id || s.configuration.position(id) != i || s.configuration.members[i].id != id {
			t.Errorf("%q is looked for at %d and found as %+v", id, i, row)
		}
	}
	for _, id := range []ID{None, "n", "n11", "y"} {
		if s.member(id) != nil {
			t.Errorf("the stranger %q is found", id)
		}
	}
	if s.self().id != "n10" {
		t.Errorf("it takes itself for %q", s.self().id)
	}
}

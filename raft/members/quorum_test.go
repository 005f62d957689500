package members

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
		size := Majority(n)
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
func everybody(n int) *Configuration { return Static(names(n)) }

func names(n int) []ID { return []ID{"1", "2", "3", "4", "5", "6", "7", "8", "9"}[:n] }

// Goal: an election is won by granted votes of a majority and nothing else.
// Method: every combination of the four states of a vote for up to five
// servers, of granted and awaited for six and seven, against a count.
func TestHasQuorum_EveryCombinationOfVotes(t *testing.T) {
	for n := 1; n <= 7; n++ {
		const unasked, awaited, granted, refused = 0, 1, 2, 3
		kinds := []int{unasked, awaited, granted, refused}
		if n > 5 {
			kinds = []int{awaited, granted}
		}
		c := everybody(n)
		combinations(n, len(kinds), func(list []uint64) {
			votes := make([]int, n)
			count := 0
			for i, k := range list {
				votes[i] = kinds[k]
				if votes[i] == granted {
					count++
				}
			}
			if got := c.HasQuorum(func(i int) bool { return votes[i] == granted }); got != (2*count > n) {
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
			if got := c.QuorumIndex(func(i int) uint64 { return list[i] }); got != want {
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
		c := Configuration{Joint: true}
		after := Configuration{}
		size := map[Half]int{}
		for i, id := range names(n) {
			votes := Half(halves[i])
			c.Places = append(c.Places, Place{ID: id, Votes: votes})
			after.Places = append(after.Places, Place{ID: id, Votes: votes & NewHalf})
			for _, h := range []Half{NewHalf, OldHalf} {
				if votes&h != 0 {
					size[h]++
				}
			}
		}
		if size[NewHalf] == 0 || size[OldHalf] == 0 {
			return
		}
		holds := func(group uint64, of Half) bool {
			count := 0
			for i := range n {
				if group>>i&1 != 0 && Half(halves[i])&of != 0 {
					count++
				}
			}
			return 2*count > size[of]
		}
		agree := func(c *Configuration, group uint64) bool {
			return c.HasQuorum(func(i int) bool { return group>>i&1 != 0 })
		}
		for group := range uint64(1 << n) {
			got := agree(&c, group)
			if want := holds(group, NewHalf) && holds(group, OldHalf); got != want {
				t.Fatalf("halves %v, group %04b: %v, want %v", halves, group, got, want)
			}
			others := 1<<n - 1 - group
			if got && (agree(&c, others) || agree(&after, others) || holds(others, OldHalf)) {
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
				if holds(group, NewHalf) && holds(group, OldHalf) {
					want = candidate
				}
			}
			if got := c.QuorumIndex(func(i int) uint64 { return list[i] }); got != want {
				t.Fatalf("halves %v, values %v: %d, want %d", halves, list, got, want)
			}
		})
	})
}

// Goal: where nobody votes nothing is decided: a server without a configuration must
// not take itself for a majority.
// Method: no servers, and learners alone.
func TestQuorum_NobodyVotes(t *testing.T) {
	for _, c := range []*Configuration{{}, {Places: []Place{{ID: "1"}, {ID: "2"}}}} {
		if c.HasQuorum(func(int) bool { return true }) {
			t.Errorf("%+v decides", c)
		}
		if index := c.QuorumIndex(func(int) uint64 { return 7 }); index != 0 {
			t.Errorf("%+v has reached %d", c, index)
		}
	}
}

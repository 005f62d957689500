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

// Goal: an election is won by granted votes of a majority and nothing else.
// Method: every combination of the four states of a vote for up to five
// servers, of granted and awaited for six and seven, against a count.
func TestHasQuorum_EveryCombinationOfVotes(t *testing.T) {
	for n := 1; n <= 7; n++ {
		kinds := []vote{voteUnasked, voteAwaited, voteGranted, voteRefused}
		if n > 5 {
			kinds = []vote{voteAwaited, voteGranted}
		}
		combinations(n, len(kinds), func(list []uint64) {
			votes := make([]vote, n)
			granted := 0
			for i, k := range list {
				votes[i] = kinds[k]
				if votes[i] == voteGranted {
					granted++
				}
			}
			if got := hasQuorum(votes); got != (2*granted > n) {
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
			if got := quorumIndex(slices.Clone(list)); got != want {
				t.Fatalf("%v: %d, want %d", list, got, want)
			}
		})
	}
}

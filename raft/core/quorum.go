package core

import "slices"

// majority is the least number of servers that any two of which groups share
// one of n servers (§5.2).
func majority(n int) int { return n/2 + 1 }

// hasQuorum reports whether a majority granted its vote.
func hasQuorum(votes []vote) bool {
	granted := 0
	for _, v := range votes {
		if v == voteGranted {
			granted++
		}
	}
	return granted >= majority(len(votes))
}

// quorumIndex returns the highest value that a majority of servers has
// reached, given each server's own. It sorts values in place.
func quorumIndex(values []uint64) uint64 {
	slices.Sort(values)
	return values[len(values)-majority(len(values))]
}

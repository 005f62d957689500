package members

import "slices"

// Every decision of the cluster is taken by a majority of its voters (§5.2). In a
// joint configuration it takes a majority of either half (§6): majorities of the
// old half alone, or of all servers together, could decide twice. This file is the
// only one that counts.

// Majority returns the smallest number of n servers such that any two groups of
// that size share a server.
func Majority(n int) int { return n/2 + 1 }

// HasQuorum reports whether the servers that agree suffice for a decision. Nothing
// suffices where nobody votes.
func (c *Configuration) HasQuorum(agrees func(position int) bool) bool {
	return c.hasMajority(NewHalf, agrees) && (!c.Joint || c.hasMajority(OldHalf, agrees))
}

func (c *Configuration) hasMajority(of Half, agrees func(position int) bool) bool {
	voters, agreed := 0, 0
	for i := range c.Places {
		if c.Places[i].Votes&of == 0 {
			continue
		}
		voters++
		if agrees(i) {
			agreed++
		}
	}
	return agreed >= Majority(voters)
}

// QuorumIndex returns the highest value that enough servers for a decision have
// reached; 0 where nobody votes.
func (c *Configuration) QuorumIndex(reached func(position int) uint64) uint64 {
	index := c.majorityIndex(NewHalf, reached)
	if c.Joint {
		index = min(index, c.majorityIndex(OldHalf, reached))
	}
	return index
}

func (c *Configuration) majorityIndex(of Half, reached func(position int) uint64) uint64 {
	values := make([]uint64, 0, 16) // on the stack: MaxVoters is less
	for i := range c.Places {
		if c.Places[i].Votes&of != 0 {
			values = append(values, reached(i))
		}
	}
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)-Majority(len(values))]
}

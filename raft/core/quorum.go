package core

import "slices"

// Every decision of the cluster is taken by a majority of its voters (§5.2). In a
// joint configuration it takes a majority of either half (§6): majorities of the
// old half alone, or of all servers together, could decide twice. This file is the
// only one that counts. What is asked about each server is given by its position
// in the configuration, which is its row in the table Raft.members.

// majority returns the smallest number of n servers such that any two groups of
// that size share a server.
func majority(n int) int { return n/2 + 1 }

// hasQuorum reports whether the servers that agree suffice for a decision.
func (c *configuration) hasQuorum(agrees func(position int) bool) bool {
	return c.hasMajority(newHalf, agrees) && (!c.joint || c.hasMajority(oldHalf, agrees))
}

func (c *configuration) hasMajority(of half, agrees func(position int) bool) bool {
	voters, agreed := 0, 0
	for i := range c.members {
		if c.members[i].votes&of == 0 {
			continue
		}
		voters++
		if agrees(i) {
			agreed++
		}
	}
	return agreed >= majority(voters)
}

// quorumIndex returns the highest value that enough servers for a decision have
// reached.
func (c *configuration) quorumIndex(reached func(position int) uint64) uint64 {
	index := c.majorityIndex(newHalf, reached)
	if c.joint {
		index = min(index, c.majorityIndex(oldHalf, reached))
	}
	return index
}

func (c *configuration) majorityIndex(of half, reached func(position int) uint64) uint64 {
	values := make([]uint64, 0, 16) // on the stack, unless there are more voters
	for i := range c.members {
		if c.members[i].votes&of != 0 {
			values = append(values, reached(i))
		}
	}
	slices.Sort(values)
	return values[len(values)-majority(len(values))]
}

// isAlone reports whether this server decides everything by itself.
func (r *Raft) isAlone() bool {
	return r.configuration.hasQuorum(func(i int) bool { return r.members[i].id == r.config.ID })
}

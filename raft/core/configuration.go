package core

import "slices"

// configuration says which servers make up the cluster, and in which decisions
// each of them counts (§6). Every rule that counts servers asks quorum.go, which
// asks the configuration: no rule knows how many servers there are.
//
// A configuration is made once, by New from Config.Peers, and all its members
// vote. Changes of the membership are not built. What only they will need has its
// place here already, and quorum.go counts by it.
type configuration struct {
	members []member // sorted by ID, each once: the order of every loop over servers
	joint   bool     // it has two halves, and a decision needs a majority of each (§6, Figure 11); not built: always false
}

// member is one server of a configuration.
type member struct {
	id ID
	// votes names the halves in which the server votes. A member that votes in
	// neither is a learner: it is sent the log and counts in nothing (thesis 4.2.1).
	// Not built: there are no learners, and everybody votes in newHalf alone.
	votes half
}

// half is a set of halves of a joint configuration (§6: C_old and C_new). A
// configuration that is not joint has the new half only.
type half uint8

const (
	newHalf half = 1 << iota // the voters that the change leads to
	oldHalf                  // the voters that the change began with
)

// newConfiguration returns the configuration in which exactly these servers vote.
// It panics if one is named twice or self is not among them.
func newConfiguration(voters []ID, self ID) configuration {
	ids := slices.Sorted(slices.Values(voters))
	assert(len(slices.Compact(slices.Clone(ids))) == len(ids), "a server is named twice in %v", ids)
	assert(slices.Contains(ids, self), "server %q is not one of %v", self, ids)
	c := configuration{members: make([]member, len(ids))}
	for i, id := range ids {
		c.members[i] = member{id: id, votes: newHalf}
	}
	return c
}

// voters returns the IDs of the servers that vote in the new half, sorted.
func (c *configuration) voters() []ID {
	ids := make([]ID, 0, len(c.members))
	for _, m := range c.members {
		if m.votes&newHalf != 0 {
			ids = append(ids, m.id)
		}
	}
	return ids
}

// position returns where a server stands in members, -1 if it is not one.
func (c *configuration) position(id ID) int {
	i, known := slices.BinarySearchFunc(c.members, id, compareMember)
	if !known {
		return -1
	}
	return i
}

func compareMember(m member, id ID) int {
	switch {
	case m.id == id:
		return 0
	case m.id < id:
		return -1
	}
	return 1
}

// memberState is what this server keeps of one member, itself included: a row of the
// table Raft.members, which is sorted by ID. Row i is that of members[i].
type memberState struct {
	id       ID
	vote     vote         // its answer in the present campaign (election.go)
	progress progress     // leader: how far it is as a follower (progress.go); reset by becomeLeader
	rejoin   rejoinAnswer // what it answered while this server asks to rejoin (rejoin.go)
}

// newMembers returns the table for a configuration, with nothing known of anybody.
func newMembers(c *configuration) []memberState {
	table := make([]memberState, len(c.members))
	for i, m := range c.members {
		table[i].id = m.id
	}
	return table
}

// member returns what is kept of a member, nil if the configuration does not have
// it.
func (r *Raft) member(id ID) *memberState {
	if i := r.configuration.position(id); i >= 0 {
		return &r.members[i]
	}
	return nil
}

// self returns the row of this server.
func (r *Raft) self() *memberState { return r.member(r.config.ID) }

// followers yields, on a leader, the progress of every other server, in the order
// of their IDs.
func (r *Raft) followers(yield func(*progress) bool) {
	for i := range r.members {
		if s := &r.members[i]; s.id != r.config.ID && !yield(&s.progress) {
			return
		}
	}
}

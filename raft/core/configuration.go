package core

import (
	"slices"

	"raftkv/raft/members"
)

// newConfiguration returns the configuration in which exactly these servers vote.
// It panics if one is named twice or self is not among them.
func newConfiguration(voters []ID, self ID) *members.Configuration {
	c := members.Static(voters)
	ids := c.Voters()
	assert(len(slices.Compact(slices.Clone(ids))) == len(ids), "a server is named twice in %v", ids)
	assert(slices.Contains(ids, self), "server %q is not one of %v", self, ids)
	return c
}

// memberState is what this server keeps of one member, itself included: a row of the
// table Raft.members, which is sorted by ID. Row i is that of Places[i].
type memberState struct {
	id       ID
	vote     vote         // its answer in the present campaign (election.go)
	progress progress     // leader: how far it is as a follower (progress.go); reset by becomeLeader
	rejoin   rejoinAnswer // what it answered while this server asks to rejoin (rejoin.go)
}

// newMembers returns the table for a configuration, with nothing known of anybody.
func newMembers(c *members.Configuration) []memberState {
	table := make([]memberState, len(c.Places))
	for i, p := range c.Places {
		table[i].id = p.ID
	}
	return table
}

// member returns what is kept of a member, nil if the configuration does not have
// it.
func (r *Raft) member(id ID) *memberState {
	if i := r.configuration.Position(id); i >= 0 {
		return &r.members[i]
	}
	return nil
}

// self returns the row of this server.
func (r *Raft) self() *memberState { return r.member(r.config.ID) }

// isAlone reports whether this server decides everything by itself.
func (r *Raft) isAlone() bool {
	return r.configuration.HasQuorum(func(i int) bool { return r.members[i].id == r.config.ID })
}

// followers yields, on a leader, the progress of every other server, in the order
// of their IDs.
func (r *Raft) followers(yield func(*progress) bool) {
	for i := range r.members {
		if s := &r.members[i]; s.id != r.config.ID && !yield(&s.progress) {
			return
		}
	}
}

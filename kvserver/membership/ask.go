package membership

import (
	"slices"

	"raftkv/kvserver/failure"
	"raftkv/raft/levels"
	"raftkv/raft/members"
)

// Ask is a change that somebody wants. It is done as a whole or not at all.
type Ask struct {
	// ID names the change, so that a second request for it gets the first answer. 1 to
	// members.MaxChangeIDBytes bytes.
	ID string
	// IfMatch, if not nil, is the version that the newest configuration must have.
	IfMatch *uint64

	Add     []Addition
	Promote []members.ID // to voters
	Demote  []members.ID // from voters, to learners that stay learners
	Remove  []members.ID
	Replace []Replacement
	// Settings, if not nil, change the cluster's settings.
	Settings func(*members.Settings)
	// Level, if not 0, is the level to raise the cluster to.
	Level uint32
	// Tokens, if not nil, changes the tokens by which servers may join.
	Tokens func([]members.JoinToken) []members.JoinToken
	// Successor is the data directory that is to take the name of the node that is removed;
	// zero: none is. It may have been heard under that name, and is not the one to remove.
	Successor members.Incarnation
	// EvenIfAlive lets a node be replaced that answers.
	EvenIfAlive bool
}

// Addition is a node that is to become a member. It is added as a learner or a replica;
// nobody begins as a voter.
type Addition struct {
	ID          members.ID
	Role        members.Role // Learner or Replica
	Peer, HTTP  string
	Incarnation members.Incarnation
	Levels      levels.Range
	// Promote lets the leader make a voter of it once it has caught up.
	Promote bool
	// Replaces is the voter whose place it is to take; None: nobody's.
	Replaces members.ID
	// Returns says that it voted under this name until it lost its disk: it gets its vote back.
	Returns bool
	// Token is the id of the token that lets it join, which is used up once more.
	Token string
}

// Replacement is a voter and the member that takes its place, in one change.
type Replacement struct{ Old, New members.ID }

// empty reports an ask that wants nothing.
func (a *Ask) empty() bool {
	return len(a.Add)+len(a.Promote)+len(a.Demote)+len(a.Remove)+len(a.Replace) == 0 &&
		a.Settings == nil && a.Level == 0 && a.Tokens == nil
}

// check refuses an ask that contradicts itself.
func (a *Ask) check() error {
	if len(a.ID) == 0 || len(a.ID) > members.MaxChangeIDBytes {
		return failure.Of(failure.BadRequest, nil, "the id of the change has %d bytes: give it 1 to %d", len(a.ID), members.MaxChangeIDBytes)
	}
	if a.empty() {
		return failure.Of(failure.BadRequest, nil, "the change says nothing: name nodes to add, promote, demote, remove or replace")
	}
	var named []members.ID
	for _, add := range a.Add {
		if add.Role != members.Learner && add.Role != members.Replica {
			return failure.Of(failure.BadRequest, nil, "%q is to be added as a %v: add it as a learner, which is promoted when it has caught up, or as a replica", add.ID, add.Role)
		}
		named = append(named, add.ID)
	}
	named = slices.Concat(named, a.Promote, a.Demote, a.Remove)
	for _, r := range a.Replace {
		named = append(named, r.Old, r.New)
	}
	for i, id := range named {
		if len(id) == 0 || len(id) > members.MaxIDBytes {
			return failure.Of(failure.BadRequest, nil, "the id %.80q has %d bytes: an id has 1 to %d", id, len(id), members.MaxIDBytes)
		}
		if slices.Contains(named[:i], id) {
			return failure.Of(failure.BadRequest, nil, "%q is named twice: one change does one thing with a node; to give its name to another directory, remove it and add it with two changes", id)
		}
	}
	return nil
}

// joining returns the nodes that the change adds or gives a vote.
func (a *Ask) joining() []members.ID {
	var ids []members.ID
	for _, add := range a.Add {
		ids = append(ids, add.ID)
	}
	ids = append(ids, a.Promote...)
	for _, r := range a.Replace {
		ids = append(ids, r.New)
	}
	return ids
}

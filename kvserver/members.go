package kvserver

import (
	"context"
	"errors"
	"math"

	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/membership"
	"raftkv/raft"
	"raftkv/raft/members"
)

// Members returns the driver of the cluster's membership. The error says that this
// server has none.
func (s *Server) Members() (*membership.Driver, error) {
	if s.config.Membership == nil {
		return nil, failure.Of(failure.NotActive, nil, "this server keeps no record of its cluster's members")
	}
	return s.config.Membership, nil
}

// StaleMembers is Members for an answer out of what this node knows; see AwaitStale.
func (s *Server) StaleMembers(ctx context.Context) (*membership.Driver, error) {
	if err := s.AwaitStale(ctx); err != nil {
		return nil, err
	}
	return s.Members()
}

// Configuration returns the number of the newest committed configuration of the members, and
// a channel that is closed when there may be another one; nil if there never is.
func (s *Server) Configuration() (api.ConfigurationNumber, <-chan struct{}) {
	if s.config.Membership == nil {
		return api.ConfigurationNumber{}, nil
	}
	return s.config.Membership.Committed()
}

// HasApplied reports whether the store of this node has everything up to an index of the log.
// It waits for that until ctx ends.
func (s *Server) HasApplied(ctx context.Context, index uint64) bool {
	return s.machine.AwaitApplied(ctx, index) == nil
}

// Level returns the level of the cluster at which this server's store works. It follows the
// members' record when that entry is applied.
func (s *Server) Level() uint64 { return s.machine.Level() }

// AtLeader lets here do something where this node leads, and remote elsewhere. elsewhere
// says that remote got the answer; a nil remote means that this request may not travel
// (again). What failed for want of a leader is tried again for a while.
func (s *Server) AtLeader(ctx context.Context, here func(context.Context) error, remote Remote) (elsewhere bool, err error) {
	s.whileLeaderless(ctx, func() (done bool) {
		leader, _ := s.leader()
		elsewhere = false
		switch {
		case s.Serving() != nil:
			err = s.Serving()
			return true
		case leader == s.config.NodeID:
			err = here(ctx)
		case leader == "" || remote == nil:
			err = failure.Of(failure.NoLeader, nil, "node %s does not lead and knows no leader to ask", s.config.NodeID)
		default:
			err = remote(ctx, leader)
			elsewhere = err == nil
		}
		return !errors.Is(err, failure.NoLeader) || remote == nil
	})
	return elsewhere, err
}

// Confirm returns when this node was the leader after the call had begun, so that what it
// knows of the members is the newest there is, and the caller has a right on the system by
// a table of identities that is as new.
func (s *Server) Confirm(ctx context.Context, who *Caller, right auth.Right) error {
	index, err := s.config.Consensus.ReadIndex(ctx)
	if err != nil {
		return failure.Of(failure.NoLeader, err, "node %s could not make sure that it leads", s.config.NodeID)
	}
	if err := s.machine.AwaitApplied(ctx, index); err != nil {
		return err
	}
	return s.Allow(who, right, auth.Range{})
}

// ConfirmHere is Confirm for what any node does: it returns when this node knows all of the
// table of identities that was answered before. While they are off it asks nobody.
func (s *Server) ConfirmHere(ctx context.Context, who *Caller, right auth.Right) error {
	if s.gate.State() == auth.Off {
		return nil
	}
	if err := s.awaitLinearizable(ctx); err != nil {
		return err
	}
	return s.Allow(who, right, auth.Range{})
}

// awaitLevel waits a moment for the cluster to work at a level, which what is asked for
// needs: a cluster that has just begun comes to it soon.
func (s *Server) awaitLevel(ctx context.Context, level uint64, what string) error {
	if s.whileLeaderless(ctx, func() bool { return s.machine.Level() >= level || s.Serving() != nil }) {
		return s.Serving()
	}
	return failure.Of(failure.NotActive, nil, "the cluster works at level %d, and %s need level %d: it rises when all nodes have a version that knows it",
		max(s.machine.Level(), kv.LevelBase), what, level)
}

// CheckLevel refuses what the cluster's level does not have yet, without waiting for it.
func (s *Server) CheckLevel(level uint64) error {
	if present := max(s.machine.Level(), kv.LevelBase); present < level {
		return failure.Of(failure.NotActive, nil, "the cluster works at level %d, and this needs level %d: it rises when all nodes have a version that knows it", present, level)
	}
	return nil
}

// levelOf returns the level at which the cluster works from an entry on that holds no
// command, 0 if the entry says nothing of it. What the members' record says was checked
// when the entry came into the log.
func levelOf(e raft.Entry) uint64 {
	if e.Kind != raft.KindConfiguration {
		return 0
	}
	record, err := members.Decode(e.Data)
	if err != nil {
		return math.MaxUint64 // no program knows that level, and the node ends
	}
	return uint64(record.Level)
}

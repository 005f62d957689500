package kvserver

import (
	"context"
	"errors"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/machine"
	"raftkv/raft"
)

// awaitLinearizable waits until a read of the store would show every write that
// was answered before the call. It works on any node.
func (s *Server) awaitLinearizable(ctx context.Context) error {
	index, err := s.readIndex(ctx)
	if err != nil {
		return err
	}
	return s.machine.AwaitApplied(ctx, index)
}

// readIndex gets a read index, again and again while there is no leader to give
// one: asking is always safe, for a read changes nothing.
func (s *Server) readIndex(ctx context.Context) (uint64, error) {
	patience := newPatience(s.config.LeaderWait)
	for {
		index, err := s.readIndexOnce(ctx)
		again := errors.Is(err, failure.NoLeader) || errors.Is(err, failure.Overloaded)
		if again && patience.wait(ctx) {
			continue
		}
		if again && s.machine.Stopping() {
			err = failure.NodeStopping(err)
		}
		return index, err
	}
}

// readIndexOnce asks for a read index one time.
func (s *Server) readIndexOnce(ctx context.Context) (uint64, error) {
	begun := time.Now()
	index, err := s.askReadIndex(ctx)
	s.config.Metrics.confirmed(begun, err)
	return index, err
}

// Revision returns the store's revision: how many writes have changed it, as far as
// this node has applied them. It is safe for concurrent use.
func (s *Server) Revision() uint64 { return s.machine.Revision() }

// Integrity returns the results so far of comparing this node's state with its
// peers'. The caller may keep it.
func (s *Server) Integrity() machine.Integrity { return s.machine.Integrity() }

func (s *Server) askReadIndex(ctx context.Context) (uint64, error) {
	if err := s.machine.Quarantined(); err != nil {
		return 0, err
	}
	index, err := s.config.Consensus.ReadIndex(ctx)
	switch {
	case err == nil:
		return index, nil
	case s.machine.Stopping(), errors.Is(err, raft.ErrStopped):
		return 0, failure.NodeStopping(err)
	case ctx.Err() != nil:
		return 0, failure.Of(failure.ReadTimeout, err, "no majority confirmed the leader in time")
	case errors.Is(err, raft.ErrOverloaded):
		return 0, failure.Of(failure.Overloaded, err, "too many reads wait at the leader for its confirmation; retry after 1 s")
	}
	return 0, failure.Of(failure.NoLeader, err, "no leader is known that could confirm the read")
}

package kvserver

import (
	"context"
	"errors"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// reading is what a read saw.
type reading struct {
	item     kv.Item
	found    bool
	revision uint64 // of the store
}

// awaitLinearizable waits until a read of the store would show every write that
// was answered before the call. It works on any node.
func (s *Server) awaitLinearizable(ctx context.Context) error {
	index, err := s.readIndex(ctx)
	if err != nil {
		return err
	}
	return s.awaitApplied(ctx, index)
}

// readLocal reads a key as this node has it.
func (s *Server) readLocal(key string) reading {
	s.mu.RLock()
	defer s.mu.RUnlock()
	item, found := s.store.Get([]byte(key))
	return reading{item: item, found: found, revision: s.store.Revision()}
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
		if again && s.stopping() {
			err = failure.NodeStopping(err)
		}
		return index, err
	}
}

// readIndexOnce asks for a read index one time.
func (s *Server) readIndexOnce(ctx context.Context) (uint64, error) {
	begun := time.Now()
	index, err := s.askReadIndex(ctx)
	s.metrics.confirmed(begun, err)
	return index, err
}

// Revision returns the store's revision: how many writes have changed it, as far as
// this node has applied them. It is safe for concurrent use.
func (s *Server) Revision() uint64 { return s.revision.at() }

func (s *Server) askReadIndex(ctx context.Context) (uint64, error) {
	if err := s.sound(); err != nil {
		return 0, err
	}
	index, err := s.consensus.ReadIndex(ctx)
	switch {
	case err == nil:
		return index, nil
	case s.stopping(), errors.Is(err, raft.ErrStopped):
		return 0, failure.NodeStopping(err)
	case ctx.Err() != nil:
		return 0, failure.Of(failure.ReadTimeout, err, "no majority confirmed the leader in time")
	case errors.Is(err, raft.ErrOverloaded):
		return 0, failure.Of(failure.Overloaded, err, "too many reads wait at the leader for its confirmation; retry after 1 s")
	}
	return 0, failure.Of(failure.NoLeader, err, "no leader is known that could confirm the read")
}

// awaitApplied waits until the store has everything up to index.
func (s *Server) awaitApplied(ctx context.Context, index uint64) error {
	err := s.applied.wait(ctx, index)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, failure.Stopping):
		return failure.NodeStopping(err)
	}
	return failure.Of(failure.Behind, err, "this node has not applied index %d of the log yet", index)
}

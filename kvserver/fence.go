package kvserver

import (
	"context"
	"fmt"
	"sync/atomic"

	"raftkv/kvserver/failure"
	"raftkv/raft"
)

// fence keeps a node whose state is wrong from serving. It closes once; only a
// new life with another state opens it.
//
// The node's log is none the worse for that: it goes on to take part in
// consensus, so that the cluster does not lose a vote over it. It hands on
// leadership, because leaders must serve, and does not ask for it.
type fence struct {
	reason atomic.Pointer[string]
}

// fault says why this node serves nothing; "" if it may serve.
func (m *machine) fault() string {
	if reason := m.closed.reason.Load(); reason != nil {
		return *reason
	}
	return ""
}

// sound returns nil if this node's state may be shown and used.
func (m *machine) sound() error {
	if reason := m.fault(); reason != "" {
		return failure.Of(failure.Diverged, nil, "this node serves nothing, because %s", reason)
	}
	return nil
}

// fence closes the fence. Writes that wait here are ended as unknown: they are
// in the log, but this store would give the wrong results.
func (s *Server) fence(format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	if !s.closed.reason.CompareAndSwap(nil, &reason) {
		return
	}
	unknown := failure.Of(failure.LeadershipLost, nil, "this node found its state to be wrong while the write was under way; it may still happen")
	s.waiting.failWhere(func(*waiter) error { return unknown })
	s.config.Logger.Error("this node stops serving: "+reason,
		"what to do", "stop this node, move its data directory away for whoever looks into the cause, and start it with --rejoin on an empty one")
	ratherNot(s.consensus, "its state is wrong", true)
	s.stepDown()
}

// ratherNot tells consensus for a reason that this node had better not lead, or that
// the reason is gone. Where consensus cannot be told, as in the labs' tests, any
// node leads.
func ratherNot(c any, reason string, is bool) {
	if c, ok := c.(interface{ RatherNot(string, bool) }); ok {
		c.RatherNot(reason, is)
	}
}

// stepDown hands leadership to a node that can serve, if this one leads.
func (s *Server) stepDown() {
	if string(s.consensus.Status().Leader) != s.config.NodeID {
		return
	}
	ctx, cancel := context.WithTimeout(s.life, stepDownEvery)
	defer cancel()
	if err := s.consensus.Transfer(ctx, raft.ID("")); err != nil {
		s.config.Logger.Warn("this node leads and cannot serve, and nobody has taken over yet", "error", err)
	}
}

package machine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// quarantine keeps a node whose state is wrong from serving. It is set once; only
// a new start with another state ends it.
//
// The node's log is not affected: the node goes on to take part in consensus, so
// that the cluster does not lose a vote. It hands on leadership, because a leader
// must serve, and does not campaign.
type quarantine struct {
	reason atomic.Pointer[string]
}

// Fault says, for people, why this node serves nothing; "" if it may serve.
func (m *Machine) Fault() string {
	if reason := m.quarantine.reason.Load(); reason != nil {
		return *reason
	}
	return ""
}

// Quarantined returns nil if this node's state may be shown and used, and
// otherwise an error of kind failure.Diverged.
func (m *Machine) Quarantined() error {
	if reason := m.Fault(); reason != "" {
		return failure.Of(failure.Diverged, nil, "this node serves nothing, because %s", reason)
	}
	return nil
}

// Quarantine keeps the node from serving from now on, for a reason that is said
// to people. Writes that wait here are ended as unknown: they are in the log, but
// this store would give the wrong results.
func (m *Machine) Quarantine(format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	if !m.quarantine.reason.CompareAndSwap(nil, &reason) {
		return
	}
	unknown := failure.Of(failure.LeadershipLost, nil, "this node found its state to be wrong while the write was under way; it may still happen")
	m.waiting.failWhere(func(*waiter) error { return unknown })
	m.WakeWatches()
	m.queues.wakeAll()
	m.logger.Error("this node stops serving: "+reason,
		"what to do", "stop this node, move its data directory away for whoever looks into the cause, and start it with --rejoin on an empty one")
	m.preferNotToLead("its state is wrong", true)
	m.stepDown()
}

// Damaged reports whether an error of writing the state says that the memory was
// damaged, and quarantines the node if so.
func (m *Machine) Damaged(err error) bool {
	if !errors.Is(err, kv.ErrCorrupt) {
		return false
	}
	m.Quarantine("its memory was damaged: %v", err)
	return true
}

// preferNotToLead tells consensus for a reason that this node had better not lead,
// or that the reason is gone. Where consensus cannot be told, as in the labs'
// tests, any node leads.
func (m *Machine) preferNotToLead(reason string, is bool) {
	if c, ok := m.consensus.(interface{ RatherNot(string, bool) }); ok {
		c.RatherNot(reason, is)
	}
}

// stepDown hands leadership to a node that can serve, if this one leads.
func (m *Machine) stepDown() {
	if string(m.consensus.Status().Leader) != m.config.NodeID {
		return
	}
	ctx, cancel := context.WithTimeout(m.lifetime, stepDownEvery)
	defer cancel()
	if err := m.consensus.Transfer(ctx, raft.ID("")); err != nil {
		m.logger.Warn("this node leads and cannot serve, and nobody has taken over yet", "error", err)
	}
}

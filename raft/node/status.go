package node

import (
	"time"

	"raftkv/raft/core"
)

// Status is a copy of a node's state for people and for routing requests. Role, term
// and leader are exact; the rest is at most one tick old.
type Status struct {
	core.Status
	// Contacts holds, on a leader, the time of each peer's last reply to a call.
	Contacts map[core.ID]time.Time
}

// Status returns the node's state. It is cheap and never waits for the loop.
// The caller must not change what it points to.
func (n *Node) Status() *Status { return n.published.Load() }

// stale reports whether the published role, term or leader has changed.
func (n *Node) stale() bool {
	now, published := n.replica.Observe(), n.published.Load()
	return now.Role != published.Role || now.Term != published.Term || now.Leader != published.Leader
}

// announce publishes a change of role, term or leader at once, and tells the
// observer.
func (n *Node) announce() {
	if !n.stale() {
		return
	}
	before := n.Status()
	n.publish()
	if n.config.Observer != nil {
		n.config.Observer.Changed(before, n.Status())
	}
}

// publish makes the present state visible to Status.
func (n *Node) publish() {
	s := &Status{Status: n.replica.Status()}
	if s.Role == core.Leader {
		s.Contacts = make(map[core.ID]time.Time, len(s.Peers))
		for _, p := range s.Peers {
			if t, ok := n.contacts[p.ID]; ok {
				s.Contacts[p.ID] = t
			}
		}
	}
	n.published.Store(s)
	n.unseen = false
	if s.SnapshotWanted {
		select {
		case n.wanted <- struct{}{}:
		default:
		}
	}
}

// noteContact remembers the time of a peer's last reply.
func (n *Node) noteContact(call core.Call, reply core.Reply) {
	if reply != nil {
		n.contacts[call.To] = time.Now()
	}
}

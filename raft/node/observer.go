package node

import (
	"time"

	"raftkv/raft/core"
)

// Observer hears what a node does, to log and to measure it. Its methods are
// called by the node's own goroutines: they must not block and must not call
// the node.
type Observer interface {
	// Changed is told, on the loop, that role, term or leader are not what they
	// were. Neither status is changed by anyone any more.
	Changed(before, after *Status)
	// Saved is told that a write is on the disk, and how long that took.
	Saved(write *core.Write, took time.Duration)
	// Committed is told how long an entry of this leader took from its proposal to
	// its commitment. One entry at a time is measured.
	Committed(took time.Duration)
	// Delivered is told that the service has taken a batch, and how long that took.
	Delivered(batch *core.Batch, took time.Duration)
}

// sample is the one entry whose way to its commitment is being measured.
type sample struct {
	index, term uint64 // 0 if there is none
	begun       time.Time
}

// observeCommit ends the measurement under way if its entry is committed or the
// leader is another, and begins one if this turn has appended.
func (n *Node) observeCommit() {
	now := n.replica.Observe()
	appended := now.LastIndex > n.lastIndex
	n.lastIndex = now.LastIndex
	leads := now.Role == core.Leader
	if s := n.sample; s.index != 0 && (!leads || now.Term != s.term || now.CommitIndex >= s.index) {
		n.sample = sample{}
		if leads && now.Term == s.term {
			n.config.Observer.Committed(time.Since(s.begun))
		}
	}
	if n.sample.index == 0 && leads && appended && now.LastIndex > now.CommitIndex {
		n.sample = sample{index: now.LastIndex, term: now.Term, begun: time.Now()}
	}
}

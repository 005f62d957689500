package node

import (
	"time"

	"raftkv/raft/core"
)

// Observer is told what a node does, so that it can be logged and measured. Its
// methods are called by the node's own goroutines: they must not block and must not
// call the node.
type Observer interface {
	// Changed is called, on the loop, after role, term or leader has changed. Neither
	// status may be changed, and neither will be.
	Changed(before, after *Status)
	// Saved is called when a write is on the disk, with the time that it took.
	Saved(write *core.Write, took time.Duration)
	// Noted is called, on the loop, with what happened in a turn, and why, before any
	// message of that turn leaves. still is the time for which the commit index has
	// stood still before that turn, since the node started at most. It is not called for
	// turns without notes.
	Noted(notes []core.Note, still time.Duration)
	// Late is called, on the loop, when the loop woke late by this time, which it does
	// not count (see Config.TickInterval): it got no processor, or the process was
	// stopped.
	Late(by time.Duration)
	// Committed is called with the time that an entry of this leader took from its
	// proposal to its commitment. One entry at a time is measured.
	Committed(took time.Duration)
	// Delivered is called when the service has taken a batch, with the time that it
	// took.
	Delivered(batch *core.Batch, took time.Duration)
}

// sample is the one entry whose time to its commitment is being measured.
type sample struct {
	index, term uint64 // 0 if there is none
	begun       time.Time
}

// observeCommit ends the present measurement if its entry is committed or this
// server no longer leads its term. It begins a new one if this turn has appended.
func (n *Node) observeCommit() {
	now := n.replica.Observe()
	if now.CommitIndex != n.committed {
		n.committed, n.advanced = now.CommitIndex, time.Now()
	}
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

// lateTicks is from how many uncounted ticks on the observer hears that the loop was
// late. One is lost to rounding now and then.
const lateTicks = 2

// observeLate tells the observer of ticks that were not counted.
func (n *Node) observeLate(uncounted int) {
	if uncounted >= lateTicks && n.config.Observer != nil {
		n.config.Observer.Late(time.Duration(uncounted) * n.config.TickInterval)
	}
}

// observeNotes tells the observer what happened in a turn.
func (n *Node) observeNotes(notes []core.Note) {
	if len(notes) > 0 && n.config.Observer != nil {
		n.config.Observer.Noted(notes, time.Since(n.advanced))
	}
}

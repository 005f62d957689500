package datadir

import (
	"sync"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// standing follows how far the log on the disk has come, which the peers are told. It
// moves with every write that is durable.
type standing struct {
	mu sync.Mutex
	is identity.Standing
}

// begin sets the standing to that of a log as it was found.
func (s *standing) begin(state *core.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.is = identity.Standing{Term: state.Term, Last: state.Snapshot.Index, LastTerm: state.Snapshot.Term, Commit: max(state.Snapshot.Index, state.Commit)}
	if n := len(state.Entries); n > 0 {
		s.is.Last, s.is.LastTerm = state.Entries[n-1].Index, state.Entries[n-1].Term
	}
}

// saved moves the standing on: w is durable.
func (s *standing) saved(w *core.Write) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.is.Term = w.Term
	// Commit is told of the log as this write leaves it. What memory knows to be
	// committed may be other entries than those on the disk.
	s.is.Commit = max(s.is.Commit, w.Commit)
	if w.From > 0 {
		s.is.Last, s.is.LastTerm = w.From-1, 0
	}
	if w.Snapshot != nil && w.Snapshot.Index >= s.is.Last {
		s.is.Last, s.is.LastTerm = w.Snapshot.Index, w.Snapshot.Term
	}
	if n := len(w.Entries); n > 0 {
		s.is.Last, s.is.LastTerm = w.Entries[n-1].Index, w.Entries[n-1].Term
	}
	if w.Snapshot != nil {
		s.is.Commit = max(s.is.Commit, w.Snapshot.Index)
	}
}

// now returns the present standing.
func (s *standing) now() identity.Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.is
}

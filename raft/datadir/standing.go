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
	s.is = identity.StandingOf(state)
}

// saved moves the standing on: w is durable.
func (s *standing) saved(w *core.Write) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.is = s.is.After(w)
}

// now returns the present standing.
func (s *standing) now() identity.Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.is
}

package kvserver

import (
	"context"
	"math/rand/v2"
	"time"

	"raftkv/kvserver/failure"
)

// patience is the time for which a request goes on looking for a leader. The pauses
// grow, and are drawn at random so that requests that began together do not ask
// together.
type patience struct {
	until time.Time
	pause time.Duration
}

const (
	firstPause = 2 * time.Millisecond
	maxPause   = 32 * time.Millisecond
)

func newPatience(total time.Duration) patience {
	return patience{until: time.Now().Add(total), pause: firstPause}
}

// wait pauses and reports whether it is worth looking again: false when the
// time is over or ctx has ended.
func (p *patience) wait(ctx context.Context) bool {
	left := time.Until(p.until)
	if left <= 0 {
		return false
	}
	pause := p.pause/2 + rand.N(p.pause/2+1)
	p.pause = min(2*p.pause, maxPause)
	timer := time.NewTimer(min(pause, left))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// whileLeaderless calls try until it is done. It gives up, and returns false, when
// LeaderWait is over or ctx has ended, so that clients do not see every election
// and do not wait long for one that does not end.
func (s *Server) whileLeaderless(ctx context.Context, try func() (done bool)) bool {
	patience := newPatience(s.config.LeaderWait)
	for !try() {
		if !patience.wait(ctx) {
			return false
		}
	}
	return true
}

// leader returns the leader that this node knows, "" for none, and the term.
func (s *Server) leader() (id string, term uint64) {
	status := s.config.Consensus.Status()
	return string(status.Leader), status.Term
}

// Leader returns the leader that this node knows, "" for none, and the term.
func (s *Server) Leader() (id string, term uint64) { return s.leader() }

// LeaderAddr returns where a leader takes clients; "" if there is none, if it is
// this node or if its address is not known.
func (s *Server) LeaderAddr(leader string) string {
	if leader == "" || leader == s.config.NodeID {
		return ""
	}
	return s.config.ClientAddr(leader)
}

// FindLeader waits until this node knows the leader and where that node takes
// clients. here says that this node leads.
func (s *Server) FindLeader(ctx context.Context) (address string, here bool, err error) {
	found := s.whileLeaderless(ctx, func() bool {
		leader, _ := s.leader()
		here, address = leader == s.config.NodeID, s.LeaderAddr(leader)
		return here || address != ""
	})
	switch {
	case found:
		return address, here, nil
	case s.machine.Stopping():
		return "", false, failure.NodeStopping(nil)
	}
	return "", false, failure.Of(failure.NoLeader, nil, "no leader is known to send the request to")
}

// whereToPropose returns the leader to whom a write belongs, "" if none is known,
// and its term. The error says that this node takes no request.
func (s *Server) whereToPropose() (leader string, term uint64, err error) {
	if err := s.Serving(); err != nil {
		return "", 0, err
	}
	leader, term = s.leader()
	return leader, term, nil
}

// MayProposeHere refuses a write where the leader is not, and says where to go.
func (s *Server) MayProposeHere() error {
	leader, _, err := s.whereToPropose()
	switch {
	case err != nil:
		return err
	case leader == s.config.NodeID:
		return nil
	case leader == "":
		return failure.LeaderUnknown()
	}
	if address := s.LeaderAddr(leader); address != "" {
		return failure.Of(failure.NoLeader, nil, "node %s does not lead; %s does, and takes clients at %s", s.config.NodeID, leader, address)
	}
	return failure.Of(failure.NoLeader, nil, "node %s does not lead; %s does, and its client address is not known", s.config.NodeID, leader)
}

package kvserver

import (
	"context"
	"errors"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// remote carries a write to the leader on another node and brings the answer
// back. After nil the answer is with the caller. An error with failure.NoLeader says
// that the write did not happen and may be tried again; other errors are final.
type remote func(ctx context.Context, leader string) error

// write takes a command through the log, wherever the leader is. elsewhere says
// that the remote got the answer; a nil remote means that this request may not
// travel (again).
//
// A write is tried again only after an attempt that definitely did not happen,
// and then under a new identity.
func (s *Server) write(ctx context.Context, c kv.Command, remote remote) (result kv.Result, elsewhere bool, err error) {
	patience := newPatience(s.config.LeaderWait)
	for {
		if s.machine.Stopping() {
			return kv.Result{}, false, failure.NodeStopping(nil)
		}
		if err := s.machine.Quarantined(); err != nil {
			return kv.Result{}, false, err
		}
		status := s.config.Consensus.Status()
		leader := string(status.Leader)
		attempt, release := s.machine.DuringTenure(ctx, leader, status.Term)
		switch {
		case leader == s.config.NodeID:
			result, err = s.machine.Propose(attempt, c)
			s.config.Metrics.settled(c.IdempotencyKey != "", result, err)
		case remote == nil:
			release()
			return kv.Result{}, false, failure.Of(failure.NoLeader, nil, "node %s does not lead, and the request had been forwarded to it", s.config.NodeID)
		case leader != "":
			elsewhere, err = true, remote(attempt, leader)
			s.config.Metrics.hop(err)
		default:
			err = failure.LeaderUnknown()
		}
		release()
		if !errors.Is(err, failure.NoLeader) {
			return result, elsewhere, err
		}
		elsewhere = false
		if remote == nil || !patience.wait(ctx) {
			if s.machine.Stopping() {
				err = failure.StoppedBefore(err)
			}
			return kv.Result{}, false, err
		}
	}
}

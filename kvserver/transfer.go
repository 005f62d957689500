package kvserver

import (
	"context"
	"errors"
	"slices"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/raft"
)

// Transfer hands leadership to a node, "" for the one that is most fit, wherever the
// leader is, if the caller has a right on the system there. elsewhere says that remote got
// the answer; a nil remote means that this request may not travel (again).
func (s *Server) Transfer(ctx context.Context, who *Caller, right auth.Right, to string, remote Remote) (elsewhere bool, err error) {
	s.whileLeaderless(ctx, func() (done bool) {
		leader, _ := s.leader()
		elsewhere = false
		switch {
		case leader == s.config.NodeID:
			// While identities are off ConfirmHere waits for nothing: a leader that cannot
			// confirm or apply anything must still be able to hand leadership over.
			if err = s.ConfirmHere(ctx, who, right); err == nil {
				err = s.transferHere(ctx, to)
			}
		case leader == "" || remote == nil:
			err = failure.Of(failure.NoLeader, nil, "node %s does not lead and knows no leader to ask", s.config.NodeID)
		default:
			err = remote(ctx, leader)
			elsewhere = err == nil
		}
		return !errors.Is(err, failure.NoLeader) || remote == nil
	})
	return elsewhere, err
}

// transferHere hands leadership from this node to another and waits a moment until
// it is known that the other leads.
func (s *Server) transferHere(ctx context.Context, to string) error {
	if to == s.config.NodeID {
		return nil // it leads
	}
	var others []raft.ID
	for _, peer := range s.config.Consensus.Status().Peers {
		others = append(others, peer.ID)
	}
	switch {
	case len(others) == 0:
		return failure.Of(failure.BadRequest, nil, "there is no other node to lead")
	case to != "" && !slices.Contains(others, raft.ID(to)):
		return failure.Of(failure.BadRequest, nil, "%.40q is not a node of this cluster; beside the leader, %s, there are %v", to, s.config.NodeID, others)
	}
	err := s.config.Consensus.Transfer(ctx, raft.ID(to))
	switch {
	case err == nil:
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrTransferring):
		return failure.Of(failure.NoLeader, err, "leadership is just changing")
	case errors.Is(err, raft.ErrNobodyElse):
		return failure.Of(failure.BadRequest, err, "no other node can lead now; leadership stays with %s", s.config.NodeID)
	case errors.Is(err, raft.ErrTransferFailed):
		return failure.Of(failure.Timeout, err, "leadership was not taken over in time; node %s leads on for now", s.config.NodeID)
	case errors.Is(err, raft.ErrStopped), s.machine.Stopping():
		return failure.Of(failure.StoppingUnknown, err, "this node stopped meanwhile; leadership may have been handed over")
	case ctx.Err() != nil:
		return failure.Of(failure.Timeout, err, "leadership was not taken over in time; it may still be")
	default:
		return failure.Of(failure.BadRequest, err, "%.40q cannot lead", to)
	}
	s.whileLeaderless(ctx, func() (done bool) {
		leader, _ := s.leader()
		return leader != "" && leader != s.config.NodeID
	})
	return nil
}

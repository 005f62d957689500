package kvserver

import (
	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/kv"
)

// checkClerkWrite refuses a write that need not be proposed.
func (s *Server) checkClerkWrite(m *clerkwire.Write, op kv.Op) error {
	switch {
	case m.Session == 0 || m.Seq == 0 || m.Lane >= kv.MaxLanes:
		return fail(errBadRequest, nil, "a write needs a session, a lane below %d and a number above 0", kv.MaxLanes)
	case int64(len(m.Value)) > s.config.MaxValueBytes:
		return fail(errValueTooLarge, nil, "a value may have %d bytes at most", s.config.MaxValueBytes)
	case op == kv.OpDelete && len(m.Value) > 0:
		return fail(errBadRequest, nil, "a delete takes no value")
	}
	if err := checkClerkKey(m.Key); err != nil {
		return err
	}
	return s.clerkMayPropose()
}

func checkClerkKey(key []byte) error {
	if len(key) == 0 {
		return fail(errBadRequest, nil, "the key is empty; it has 1 to %d bytes", api.MaxKeyBytes)
	}
	return nil
}

// clerkMayPropose refuses writes where the leader is not. Clerks are not
// forwarded: they are told where to go.
func (s *Server) clerkMayPropose() error {
	if s.stopping() {
		return fail(errStopping, nil, "this node is stopping")
	}
	switch leader := string(s.consensus.Status().Leader); leader {
	case s.config.NodeID:
		return nil
	case "":
		return fail(errNoLeader, nil, "no leader is known")
	default:
		return fail(errNoLeader, nil, "node %s does not lead; %s does", s.config.NodeID, leader)
	}
}

// clerkCommand is the command of a write. Its bytes are not kept: the command is
// encoded before the next frame is read.
func clerkCommand(m *clerkwire.Write, op kv.Op, config Config) kv.Command {
	c := kv.Command{
		Op: op, Session: kv.SessionCall{ID: m.Session, Lane: uint32(m.Lane), Seq: m.Seq},
		Key: m.Key, Value: m.Value,
		Condition: kv.Condition{Kind: kv.ConditionKind(m.Condition), Number: m.Number},
	}
	if op != kv.OpDelete {
		c.MaxLength = uint64(config.MaxValueBytes)
	}
	return c
}

// clerkPropose puts a command into the log and sees to it that its end is
// answered. size is what the admission of writes let in for it.
func (s *Server) clerkPropose(c kv.Command, conn *clerkConn, h clerkwire.Header, size int64) {
	s.proposeTold(c, func(e ending) {
		s.writes.leave(size)
		s.clerkAnswer(conn, h, e)
	})
}

// clerkAnswer answers a write or the opening of a session.
func (s *Server) clerkAnswer(conn *clerkConn, h clerkwire.Header, e ending) {
	r := e.result
	switch {
	case e.err != nil:
		conn.refuse(h.Number, s.clerkRefusal(e.err))
	case r.Status == kv.StatusSessionExpired, r.Status == kv.StatusStale:
		refused := s.clerkRefusal(fail(errSessionExpired, nil, "the call was made in a session that is not known any more, or that has moved on"))
		conn.refuse(h.Number, refused)
	case r.Status != kv.StatusOK:
		refused := s.clerkRefusal(s.clerkRefused(r))
		refused.Decided = true
		refused.Revision, refused.Version = r.Revision, r.Version
		conn.refuse(h.Number, refused)
	case h.Kind == clerkwire.KindOpen:
		answerClerk(conn, clerkwire.KindOpened, h.Number, clerkwire.Opened{Session: r.Session})
	default:
		answerClerk(conn, h.Kind.Answer(), h.Number, clerkwire.Written{
			Revision: r.Revision, Version: r.Version, Length: r.Length,
			Created: r.Created, Deleted: r.Deleted, Replayed: r.Replayed,
		})
	}
}

// clerkRefused translates a result that is a refusal by the store. All of them
// are remembered by the call's lane.
func (s *Server) clerkRefused(r kv.Result) error {
	switch r.Status {
	case kv.StatusConditionFailed:
		return fail(errPrecondition, nil, "the condition does not hold: the key has revision %d (0: there is no such key)", r.Revision)
	case kv.StatusQuota:
		return fail(errQuota, nil, "the store holds as many bytes as it may; deletes and reads still work")
	case kv.StatusTooLong:
		return fail(errValueTooLarge, nil, "the value would have more than %d bytes", s.config.MaxValueBytes)
	}
	// Whatever else the store refuses was checked before it was proposed.
	return fail(errInternal, nil, "the store refused the command: %s", r.Status)
}

// clerkRefusal tells an error to a Clerk.
func (s *Server) clerkRefusal(err error) clerkwire.Refused {
	k := kindOf(err)
	status := s.consensus.Status()
	leader := string(status.Leader)
	refused := clerkwire.Refused{
		Code: k.code, Outcome: k.outcome, Retryable: k.retryable, RetryAfter: k.retryAfter,
		Node: s.config.NodeID, Leader: leader, LeaderAddr: s.leaderAddr(leader), Term: status.Term,
		RequestID: s.nextRequestID(),
	}
	if f, ok := err.(*failure); ok {
		refused.Detail = f.detail
	}
	return refused
}

package kvserver

import (
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/machine"
)

// clerkWrite is a put, append or delete on its way to the log, or the opening of
// a session.
type clerkWrite struct {
	conn      *clerkConn
	header    clerkwire.Header
	op        kv.Op
	message   clerkwire.Write
	admission *admission
	size      int64 // what the admission is asked for
	begun     time.Time
}

// clerkAdmit decides what can be decided before there is room for a write, and
// where it is to find room. It reports false if the write was refused.
func (s *Server) clerkAdmit(w *clerkWrite) bool {
	err := s.clerkMayPropose()
	if err == nil && w.conn.uid != s.clusterUID() {
		// The Clerk cannot know yet whether its session is one of this cluster.
		err = failure.Of(failure.NoLeader, nil, "the cluster has begun since this connection was made; connect again")
		w.conn.sendAway()
	}
	if err == nil && w.op != kv.OpOpenSession {
		err = s.checkClerkWrite(&w.message, w.op)
	}
	w.admission = &s.writes
	if w.op == kv.OpDelete {
		w.admission, w.size = &s.deletes, 0
	} else if lag := s.machine.ApplyLag(); err == nil && lag > mostApplyLag {
		err = s.lagsBehind(lag)
	}
	if err != nil {
		w.conn.refuse(w.header.Number, s.clerkRefusal(err))
	}
	return err == nil
}

// wait proposes the write when there is room, or refuses it. Others on the
// connection are not held up.
func (w clerkWrite) wait() {
	s := w.conn.server
	what := "writes"
	if w.op == kv.OpDelete {
		what = "deletes"
	}
	if w.admission.full() {
		w.conn.refuse(w.header.Number, s.clerkRefusal(s.queueFull(w.admission, what)))
		return
	}
	if !s.bodies.take(w.size, 0) {
		w.conn.refuse(w.header.Number, s.clerkRefusal(s.noMemory()))
		return
	}
	s.clerks.work.Go(func() {
		defer s.bodies.give(w.size)
		if !w.admission.wait(s.machine.Lifetime(), w.size) {
			w.conn.refuse(w.header.Number, s.clerkRefusal(s.refusedEntry(s.machine.Lifetime(), w.admission, what)))
			return
		}
		if err := s.clerkMayPropose(); err != nil {
			w.admission.leave(w.size)
			w.conn.refuse(w.header.Number, s.clerkRefusal(err))
			return
		}
		w.propose()
	})
}

// propose puts the write, which was let in, into the log and sees to it that its
// end is answered.
func (w clerkWrite) propose() {
	s, conn, h, admission, size, begun := w.conn.server, w.conn, w.header, w.admission, w.size, w.begun
	s.machine.ProposeAsync(w.command(s.config), begun, func(e machine.Ending) {
		admission.leave(size)
		s.clerkAnswer(conn, h, e)
		s.config.Metrics.settled(false, e.Result, e.Err)
		s.config.Metrics.clerk(h.Kind, e.At.Sub(begun))
	})
}

// command is the command of the write. Its bytes are encoded before propose
// returns, and not kept.
func (w clerkWrite) command(config Config) kv.Command {
	if w.op == kv.OpOpenSession {
		return kv.Command{Op: w.op}
	}
	m := &w.message
	c := kv.Command{
		Op: w.op, Session: kv.SessionCall{ID: m.Session, Lane: uint32(m.Lane), Seq: m.Seq},
		Key: m.Key, Value: m.Value,
		Condition: kv.Condition{Kind: kv.ConditionKind(m.Condition), Number: m.Number},
	}
	if w.op != kv.OpDelete {
		c.MaxLength = uint64(config.MaxValueBytes)
	}
	return c
}

// checkClerkWrite refuses a write that need not be proposed.
func (s *Server) checkClerkWrite(m *clerkwire.Write, op kv.Op) error {
	switch {
	case m.Session == 0 || m.Seq == 0 || m.Lane >= kv.MaxLanes:
		return failure.Of(failure.BadRequest, nil, "a write needs a session, a lane below %d and a number above 0", kv.MaxLanes)
	case int64(len(m.Value)) > s.config.MaxValueBytes:
		return s.valueTooLarge(int64(len(m.Value)))
	case op == kv.OpDelete && len(m.Value) > 0:
		return failure.Of(failure.BadRequest, nil, "a delete takes no value")
	}
	return checkClerkKey(m.Key)
}

func checkClerkKey(key []byte) error {
	if len(key) == 0 {
		return failure.Of(failure.BadRequest, nil, "the key is empty; it has 1 to %d bytes", api.MaxKeyBytes)
	}
	return nil
}

// clerkMayPropose refuses writes where the leader is not. Clerks are not
// forwarded: they are told where to go.
func (s *Server) clerkMayPropose() error {
	if s.machine.Stopping() {
		return failure.NodeStopping(nil)
	}
	if err := s.machine.Quarantined(); err != nil {
		return err
	}
	switch leader := string(s.config.Consensus.Status().Leader); leader {
	case s.config.NodeID:
		return nil
	case "":
		return failure.LeaderUnknown()
	default:
		if address := s.leaderAddr(leader); address != "" {
			return failure.Of(failure.NoLeader, nil, "node %s does not lead; %s does, and takes clients at %s", s.config.NodeID, leader, address)
		}
		return failure.Of(failure.NoLeader, nil, "node %s does not lead; %s does, and its client address is not known", s.config.NodeID, leader)
	}
}

// clerkAnswer answers a write or the opening of a session.
func (s *Server) clerkAnswer(conn *clerkConn, h clerkwire.Header, e machine.Ending) {
	r := e.Result
	switch {
	case e.Err != nil:
		conn.refuse(h.Number, s.clerkRefusal(e.Err))
	case r.Status == kv.StatusSessionExpired, r.Status == kv.StatusStale:
		refused := s.clerkRefusal(failure.Of(failure.BadRequest, nil, "the call was made in a session that is not known any more, or that has moved on"))
		refused.Code = api.CodeSessionExpired // which HTTP does not have
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
		if r.Revision == 0 {
			return failure.Of(failure.Precondition, nil, "the condition does not hold: there is no such key")
		}
		return failure.Of(failure.Precondition, nil, "the condition does not hold: the key has revision %d", r.Revision)
	case kv.StatusQuota:
		return s.storeFull()
	case kv.StatusTooLong:
		return s.growsTooLarge()
	}
	// Whatever else the store refuses was checked before it was proposed.
	return failure.Of(failure.Internal, nil, "the store refused the command: %s", r.Status)
}

// clerkRefusal tells an error to a Clerk.
func (s *Server) clerkRefusal(err error) clerkwire.Refused {
	s.config.Metrics.refused(err)
	k := failure.KindOf(err)
	status := s.config.Consensus.Status()
	leader := string(status.Leader)
	return clerkwire.Refused{
		Code: k.Code, Outcome: k.Outcome, Retryable: k.Retryable, RetryAfter: failure.RetryIn(err), Detail: failure.Detail(err),
		Node: s.config.NodeID, Leader: leader, LeaderAddr: s.leaderAddr(leader), Term: status.Term,
		RequestID: s.nextRequestID(),
	}
}

package clerkd

import (
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// write is a command on its way to the log: mostly a put, append or delete.
type write struct {
	conn    *conn
	header  clerkwire.Header
	op      kv.Op
	message clerkwire.Write
	// made is the command of an operation on a lease or lock, but for its session, which
	// the message has. nil: the command is made of the message.
	made  *kv.Command
	class kvserver.Class
	size  int64 // what the class is asked for
	begun time.Time
	who   *kvserver.Caller
	act   act
	// previous: the answer shows what was there.
	previous bool
}

// admit decides what can be decided before there is room for a write, and where it
// is to find room. It reports false if the write was refused.
func (d *Door) admit(w *write) bool {
	denied := d.mayAsk(w)
	err := denied
	if !failure.OfCaller(denied) { // else nothing is said of the cluster, nor where its leader is
		err = d.mayPropose(w)
	}
	if err == nil {
		err = denied
	}
	if err == nil && w.op == kv.OpOpenSession {
		err = d.server.MayOpenSession(w.who)
	}
	w.class = kvserver.Writes
	switch w.op { // what makes room is let in where nothing else is
	case kv.OpDelete, kv.OpDeleteRange, kv.OpRevoke, kv.OpRelease, kv.OpLeaveQueue:
		w.class, w.size = kvserver.Deletes, 0
	}
	if err == nil {
		err = d.server.CheckLag(w.class)
	}
	if err == nil && d.server.Gate().Audit() != nil && w.op != kv.OpOpenSession {
		w.act, err = d.begin(w.who, d.server.NextRequestID(), w.about())
	}
	if err != nil {
		w.refuse(err)
	}
	return err == nil
}

// mayAsk refuses a write that its caller may not ask for. Where nobody is refused, no command
// is made for it.
func (d *Door) mayAsk(w *write) error {
	if d.server.Gate().State() == auth.Off {
		return nil
	}
	return d.server.MayAsk(w.who, w.asked())
}

// mayPropose refuses a write that cannot be proposed here, whoever asks for it.
func (d *Door) mayPropose(w *write) error {
	if err := d.server.MayProposeHere(); err != nil {
		return err
	}
	if w.conn.uid != d.server.UID() {
		// The Clerk cannot know yet whether its session is one of this cluster.
		w.conn.sendAway()
		return failure.Of(failure.NoLeader, nil, "the cluster has begun since this connection was made; connect again")
	}
	if w.op == kv.OpOpenSession {
		return nil
	}
	return d.check(w)
}

// refuse answers the write with an error.
func (w write) refuse(err error) {
	d := w.conn.door
	refused := d.refusal(err)
	switch {
	case w.act.reserved:
		w.act.lack = access.LackOf(err)
		d.end(w.act, actions[w.header.Kind], w.begun, &refused, 0)
	case ofCaller(&refused):
		d.noteRefusal(w.who, w.header.Kind, w.about().refusedBy(err), &refused)
	}
	w.conn.refuse(w.header.Number, refused)
}

// about is what the write is about, for the audit.
func (w *write) about() subject { return w.conn.door.about(w.asked()) }

// wait proposes the write when there is room, or refuses it. Others on the
// connection are not held up.
func (w write) wait() {
	d := w.conn.door
	if err := d.server.CheckQueue(w.class); err != nil {
		w.refuse(err)
		return
	}
	bodies := d.server.Bodies()
	if !bodies.Take(w.size, 0) {
		w.refuse(d.server.NoMemory())
		return
	}
	d.work.Go(func() {
		defer bodies.Give(w.size)
		if err := d.server.Wait(d.server.Machine().Lifetime(), w.class, w.size); err != nil {
			w.refuse(err)
			return
		}
		err := d.mayAsk(&w) // it may have been revoked meanwhile
		if err == nil {
			err = d.server.MayProposeHere()
		}
		if err != nil {
			d.server.Leave(w.class, w.size)
			w.refuse(err)
			return
		}
		w.propose()
	})
}

// propose puts the write, which was admitted, into the log and sees to it that its
// end is answered.
func (w write) propose() {
	d, conn, h, class, size, begun := w.conn.door, w.conn, w.header, w.class, w.size, w.begun
	noted, op := w.act, w.op
	d.server.ProposeAsync(w.who, w.command(), begun, func(e kvserver.Ending) {
		d.server.Leave(class, size)
		d.answerWrite(conn, h, e, noted, begun)
		d.server.Settled(op, false, e)
		d.observer.Clerk(h.Kind, e.At.Sub(begun))
	})
}

// command returns the command of the write. Its bytes are encoded before propose
// returns, and not kept.
func (w write) command() kv.Command {
	if w.op == kv.OpOpenSession {
		return kv.Command{Op: w.op}
	}
	m := &w.message
	session := kv.SessionCall{ID: m.Session, Lane: uint32(m.Lane), Seq: m.Seq}
	if w.made != nil {
		c := *w.made
		c.Session = session
		return c
	}
	c := kv.Command{
		Op: w.op, Session: session, Key: m.Key, Value: m.Value, Tie: tieOf(m),
		Condition: kv.Condition{Kind: kv.ConditionKind(m.Condition), Number: m.Number},
	}
	c.Previous, c.Guard = w.previous, w.guard()
	if w.op != kv.OpDelete && w.op != kv.OpDeleteRange {
		c.MaxLength = uint64(w.conn.door.config.MaxValueBytes)
	}
	return c
}

// asked is the command as far as what it asks for goes.
func (w *write) asked() *kv.Command {
	if w.made != nil {
		return w.made
	}
	return &kv.Command{Op: w.op, Key: w.message.Key, Value: w.message.Value, Previous: w.previous, Guard: w.guard()}
}

// guard is the lock that must be held for the write to happen.
func (w *write) guard() kv.Guard { return kv.Guard(w.message.More.Guard) }

// check refuses a write that need not be proposed.
func (d *Door) check(w *write) error {
	m, op := &w.message, w.op
	if op == kv.OpTouch {
		return d.checkMade(w)
	}
	if m.Session == 0 || m.Seq == 0 || m.Lane >= kv.MaxLanes {
		return failure.Of(failure.BadRequest, nil, "a write needs a session, a lane below %d and a number above 0", kv.MaxLanes)
	}
	if op == kv.OpTxn || op == kv.OpDeleteRange {
		return d.checkMany(w.asked())
	}
	if w.made != nil {
		return d.checkMade(w)
	}
	if err := d.server.CheckValue(int64(len(m.Value))); err != nil {
		return err
	}
	if op == kv.OpDelete && len(m.Value) > 0 {
		return failure.Of(failure.BadRequest, nil, "a delete takes no value")
	}
	if m.More != (clerkwire.WriteMore{}) {
		if err := d.checkTie(op, m); err != nil {
			return err
		}
	}
	return kvserver.CheckKey(m.Key, "has")
}

// answerWrite answers a write or the opening of a session.
func (d *Door) answerWrite(conn *conn, h clerkwire.Header, e kvserver.Ending, noted act, begun time.Time) {
	refused := d.refusalOf(e)
	if refused != nil && h.Kind == clerkwire.KindTouch {
		refused.Decided = false // it is in no session, so nothing of it is remembered
	}
	noted = noted.aboutLease(refused == nil && h.Kind == clerkwire.KindGrant, e.Result)
	d.end(noted, actions[h.Kind], begun, refused, e.Result.Revision)
	r := e.Result
	switch {
	case refused != nil:
		conn.refuse(h.Number, *refused)
	case h.Kind >= clerkwire.KindTxn && r.Outcome != nil:
		answerTxn(conn, h, clerkwire.TxnDone{Revision: r.Revision, Replayed: r.Replayed}, r.Outcome)
	case h.Kind == clerkwire.KindOpen:
		answer(conn, clerkwire.KindOpened, h.Number, clerkwire.Opened{Session: r.Session})
	case h.Kind == clerkwire.KindAcquire:
		answer(conn, clerkwire.KindAcquired, h.Number, acquiredOf(r))
	case h.Kind == clerkwire.KindGrant:
		answer(conn, clerkwire.KindGranted, h.Number, clerkwire.Granted{Lease: r.Lease(), Replayed: r.Replayed})
	default:
		w := clerkwire.Written{
			Revision: r.Revision, Version: r.Version, Length: r.Length,
			Created: r.Created, Deleted: r.Deleted, Replayed: r.Replayed,
		}
		if r.Outcome == nil {
			answer(conn, h.Kind.Answer(), h.Number, w)
			return
		}
		answerPrevious(conn, h, w, r.Outcome)
	}
}

// refusalOf returns why a write was not done, nil if it was.
func (d *Door) refusalOf(e kvserver.Ending) *clerkwire.Refused {
	if e.Err == nil && (e.Result.Status == kv.StatusOK || e.Result.Status == kv.StatusQueued) {
		return nil // without memory for a refusal
	}
	refused := d.refusalWith(e)
	return &refused
}

// refusalWith is refusalOf for a write that was not done.
func (d *Door) refusalWith(e kvserver.Ending) (refused clerkwire.Refused) {
	r := e.Result
	switch {
	case e.Err != nil:
		refused = d.refusal(e.Err)
	case r.Status == kv.StatusSessionExpired, r.Status == kv.StatusStale:
		refused = d.refusal(failure.Of(failure.BadRequest, nil, "the call was made in a session that is not known any more, or that has moved on"))
		refused.Code = api.CodeSessionExpired // which HTTP does not have
	case r.Status == kv.StatusForbidden: // no lane remembers it: an earlier attempt may have been done
		refused = d.refusal(d.server.RefusedByStore(r))
	default: // all of them are remembered by the call's lane
		refused = d.refusal(d.server.RefusedByStore(r))
		refused.Decided = true
		refused.Revision, refused.Version = r.Revision, r.Version
	}
	return refused
}

// refusal tells an error to a Clerk.
func (d *Door) refusal(err error) clerkwire.Refused {
	refused := refusedAs(d.server.Refuse(err))
	refused.RequestID = d.server.NextRequestID()
	d.tellsNothing(&refused)
	return refused
}

// refusedAs writes a refusal as a message.
func refusedAs(r kvserver.Refusal) clerkwire.Refused {
	return clerkwire.Refused{
		Code: r.Code, Outcome: r.Outcome, Retryable: r.Retryable, RetryAfter: r.RetryAfter, Detail: r.Detail,
		Node: r.Node, Leader: r.Leader, LeaderAddr: r.LeaderAddr, Term: r.Term,
	}
}

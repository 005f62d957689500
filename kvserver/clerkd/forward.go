package clerkd

import (
	"bytes"
	"context"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/access"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// forward is a client's command that another node has passed on, on its way to the
// log. The hall decides about it as about a request that came over HTTP.
type forward struct {
	conn     *conn
	number   uint32
	id       string // of the request, drawn by the node that has the client
	command  kv.Command
	class    kvserver.Class
	size     int64 // what the class is asked for
	begun    time.Time
	deadline time.Time
	who      *kvserver.Caller // by the token in the frame
	counted  bool             // it counts for the limits of who
	act      act
}

// maxForwards is how many commands one node may have here at the same time: as many
// writes and deletes as can be in flight, so that neither waits behind the other.
func (d *Door) maxForwards() int { return d.config.MaxInFlight + max(d.config.MaxInFlight/4, 1) }

// forward takes in a command from another node. Its body fits in the connection's own
// buffer.
func (r *reader) forward(h clerkwire.Header) bool {
	body, err := r.frames.Body(h)
	if err != nil {
		return false
	}
	var m clerkwire.Forward
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return true
	}
	f := forward{conn: r.conn, number: h.Number, id: m.RequestID, class: kvserver.Writes, begun: time.Now()}
	who, err := r.server.Gate().AuthenticateToken(string(m.Token))
	who.Remote = r.conn.first.Remote
	f.who = &who
	if err != nil {
		late, why := f, err // copies, which only this way puts on the heap
		r.conn.holdBack(why, func() { late.refuse(why) })
		return true
	}
	if !m.Intact() {
		f.refuse(failure.Of(failure.NoLeader, nil, "the command came to node %s damaged: its checksum is not %08x; retry", r.door.config.NodeID, m.Sum))
		return true
	}
	f.deadline = f.begun.Add(min(m.Left, r.door.config.RequestTimeout))
	if f.command, err = kv.DecodeCommand(m.Command); err != nil {
		f.refuse(failure.Of(failure.BadRequest, err, "%s", err.Error()))
		return true
	}
	f.size = int64(len(f.command.Value))
	switch f.command.Op {
	case kv.OpDelete, kv.OpRevoke, kv.OpRelease, kv.OpLeaveQueue:
		f.class, f.size = kvserver.Deletes, 0
	case kv.OpKeepAlive:
		f.class, f.size = kvserver.KeepAlives, 0
	}
	if err := f.count(int64(len(body))); err != nil {
		f.refuse(err)
		return true
	}
	switch err := f.check(); {
	case err != nil:
		f.refuse(err)
	case f.class == kvserver.KeepAlives:
		f.keepAlive()
	case r.server.Enter(f.class, f.size):
		f.propose()
	default:
		f.command.Key, f.command.Value = bytes.Clone(f.command.Key), bytes.Clone(f.command.Value)
		f.wait()
	}
	return true
}

// count counts the command for the limits of its caller, which leave ends.
func (f *forward) count(bytes int64) error {
	gate := f.conn.door.server.Gate()
	if gate.State() == auth.Off {
		return nil
	}
	err := gate.Enter(f.who, bytes)
	f.counted = err == nil
	return err
}

func (f *forward) leave() {
	if f.counted {
		f.counted = false
		f.conn.door.server.Gate().Leave(f.who, 1)
	}
}

// check refuses a command that need not wait for room.
func (f *forward) check() error {
	server := f.conn.door.server
	err := server.CheckCommand(f.who, &f.command)
	if failure.OfCaller(err) {
		return err // nothing is said of the cluster
	}
	if _, elsewhere := server.MayProposeForwarded(); elsewhere != nil {
		return elsewhere
	}
	if err != nil {
		return err
	}
	if err := server.CheckLag(f.class); err != nil || server.Gate().Audit() == nil || f.class == kvserver.KeepAlives {
		return err // to keep a lease alive changes nothing that the audit would tell
	}
	f.act, err = f.conn.door.begin(f.who, f.id, f.conn.door.about(&f.command))
	return err
}

// action names the command in the audit.
func (f *forward) action() string { return f.command.Op.String() }

// wait proposes the command when there is room, or refuses it. Others on the
// connection are not held up.
func (f forward) wait() {
	d := f.conn.door
	if err := d.server.CheckQueue(f.class); err != nil {
		f.refuse(err)
		return
	}
	bodies := d.server.Bodies()
	held := int64(len(f.command.Key) + len(f.command.Value))
	if !bodies.Take(held, 0) {
		f.refuse(d.server.NoMemory())
		return
	}
	d.work.Go(func() {
		defer bodies.Give(held)
		if err := d.server.Wait(d.server.Machine().Lifetime(), f.class, f.size); err != nil {
			f.refuse(err)
			return
		}
		f.propose()
	})
}

// propose puts the command, which was admitted, into the log and sees to it that its
// end is answered.
func (f forward) propose() {
	d, byKey := f.conn.door, f.command.IdempotencyKey != ""
	command := f.command
	f.command = kv.Command{Op: command.Op} // its bytes are the connection's
	err := d.server.ProposeForwarded(f.who, command, f.deadline, func(e kvserver.Ending) {
		d.server.Leave(f.class, f.size)
		f.answer(e)
		d.server.Settled(f.command.Op, byKey, e)
		d.observer.Clerk(clerkwire.KindForward, e.At.Sub(f.begun))
	})
	if err != nil {
		d.server.Leave(f.class, f.size)
		f.refuse(err)
	}
}

// keepAlive keeps a lease alive for a request that waits on another node. Such commands are
// joined by the machine, and have places of their own.
func (f forward) keepAlive() {
	d := f.conn.door
	id, _ := f.command.KeptOne()
	f.command = kv.Command{Op: f.command.Op} // its bytes are the connection's
	if err := d.server.EnterOrRefuse(f.class); err != nil {
		f.refuse(err)
		return
	}
	d.work.Go(func() {
		defer d.server.Leave(f.class, f.size)
		ctx, cancel := context.WithDeadline(d.server.Machine().Lifetime(), f.deadline)
		defer cancel()
		ttls, err := d.server.Machine().KeepAlive(ctx, f.who.Author(), []int64{id})
		r := kv.Result{}
		switch {
		case err == nil && ttls[0] == 0:
			r.Status = kv.StatusLeaseNotFound
		case err == nil:
			r.Version = ttls[0]
		}
		f.answer(kvserver.Ending{Result: r, Err: err})
	})
}

// answer sends back how the command ended.
func (f *forward) answer(e kvserver.Ending) {
	if e.Err != nil {
		f.refuse(e.Err)
		return
	}
	f.leave()
	d, r := f.conn.door, e.Result
	leader, term := d.server.Leader()
	forwarded := clerkwire.Forwarded{
		Node: d.config.NodeID, Leader: leader, Term: term, Status: uint64(r.Status),
		Revision: r.Revision, Version: r.Version, Length: r.Length,
		Created: r.Created, Deleted: r.Deleted, Replayed: r.Replayed,
	}
	if r.Status == kv.StatusForbidden {
		forwarded.Node, forwarded.Leader, forwarded.Term = "", "", 0 // see Door.tellsNothing
	}
	var refused *clerkwire.Refused
	if r.Status != kv.StatusOK && r.Status != kv.StatusQueued {
		said := refusedAs(d.server.Refuse(d.server.RefusedByStore(r)))
		refused, forwarded.Detail = &said, said.Detail
	}
	d.end(f.act.aboutLease(refused == nil && f.command.Op == kv.OpGrant, r), f.action(), f.begun, refused, r.Revision)
	answer(f.conn, clerkwire.KindForwarded, f.number, forwarded)
}

// refuse sends back why the command was not taken, or that its end is not known.
func (f *forward) refuse(err error) {
	f.leave()
	refused := refusedAs(f.conn.door.server.Refuse(err))
	f.conn.door.tellsNothing(&refused)
	refused.RequestID = f.id // as it came: this node has not drawn it
	switch d := f.conn.door; {
	case f.act.reserved:
		f.act.lack = access.LackOf(err)
		d.end(f.act, f.action(), f.begun, &refused, 0)
	case ofCaller(&refused):
		d.noteRefusal(f.who, clerkwire.KindForward, d.about(&f.command).refusedBy(err), &refused)
	}
	f.conn.refuse(f.number, refused)
}

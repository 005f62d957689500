package clerkd

import (
	"bytes"
	"context"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// grant takes in a request for a lease.
func (r *reader) grant(h clerkwire.Header, body []byte) {
	var m clerkwire.Grant
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	if err := checkTTL(m.TTL); err != nil {
		r.refuse(h, "", err)
		return
	}
	c := kv.Grant(m.Lease, m.TTL, m.Note)
	r.takeMade(h, &c, clerkwire.Write{Session: m.Session, Lane: m.Lane, Seq: m.Seq})
}

// revoke takes in the end of a lease.
func (r *reader) revoke(h clerkwire.Header, body []byte) {
	var m clerkwire.Revoke
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	c := kv.Revoke(m.Lease)
	r.takeMade(h, &c, clerkwire.Write{Session: m.Session, Lane: m.Lane, Seq: m.Seq})
}

// touch takes in another end for a key.
func (r *reader) touch(h clerkwire.Header, body []byte) {
	var m clerkwire.Touch
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	if err := checkTTL(m.TTL); err != nil {
		r.refuse(h, string(m.Key), err)
		return
	}
	key := bytes.Clone(m.Key)
	r.takeMade(h, &kv.Command{Op: kv.OpTouch, Key: key, Tie: kv.Tie{TTL: m.TTL}}, clerkwire.Write{Key: key})
}

// takeMade proposes a command that is made already, or lets it wait. The message has its
// session, and what the audit shows.
func (r *reader) takeMade(h clerkwire.Header, c *kv.Command, m clerkwire.Write) {
	r.take(write{
		conn: r.conn, header: h, op: c.Op, made: c, message: m, size: int64(h.Length), begun: time.Now(), who: r.conn.who.Load(),
	})
}

// checkMade refuses an operation on leases or locks that need not be proposed.
func (d *Door) checkMade(w *write) error {
	var err error
	switch w.op {
	case kv.OpTouch:
		err = kvserver.CheckKey(w.made.Key, "has")
	case kv.OpAcquire, kv.OpRelease, kv.OpLeaveQueue, kv.OpPublish:
		err = kvserver.CheckLockName(string(w.made.Key))
	}
	if err != nil {
		return err
	}
	return d.server.CheckLevel(w.made.MinLevel())
}

func checkTTL(ttl uint64) error {
	if ttl < kvserver.MinTTL || ttl > kvserver.MaxTTL {
		return failure.Of(failure.BadRequest, nil, "the ttl is %d ms; choose 1 s to 9000000000 s", ttl)
	}
	return nil
}

// tieOf is how long the key of a put is to live.
func tieOf(m *clerkwire.Write) kv.Tie {
	return kv.Tie{Lease: m.More.Lease, TTL: m.More.TTL, Keep: m.More.Keep}
}

// checkTie refuses what a write cannot ask for of the end of its key.
func (d *Door) checkTie(op kv.Op, m *clerkwire.Write) error {
	ways := 0
	for _, asked := range []bool{m.More.Lease != 0, m.More.TTL != 0, m.More.Keep} {
		if asked {
			ways++
		}
	}
	switch {
	case ways > 0 && op != kv.OpPut:
		return failure.Of(failure.BadRequest, nil, "only a put says when its key ends; an append keeps what there is")
	case ways > 1:
		return failure.Of(failure.BadRequest, nil, "a key ends with a lease, or after a ttl, or as it did before; the put asks for %d of them", ways)
	case m.More.TTL != 0:
		if err := checkTTL(m.More.TTL); err != nil {
			return err
		}
	}
	return d.server.CheckLevel(kv.LevelHistory)
}

// keepAlive takes in keep-alives, which have places of their own.
func (r *reader) keepAlive(h clerkwire.Header, body []byte) {
	var m clerkwire.KeepAlive
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	who := r.conn.who.Load()
	err := r.server.Allow(who, kinds[h.Kind].right, auth.Range{})
	if err == nil {
		err = r.server.MayProposeHere()
	}
	if err == nil && len(m.Leases) == 0 {
		err = failure.Of(failure.BadRequest, nil, "the keep-alive names no lease; name 1 to %d", kvserver.MaxKept)
	}
	if err == nil {
		err = r.server.EnterOrRefuse(kvserver.KeepAlives)
	}
	if err != nil {
		r.refuse(h, "", err)
		return
	}
	d, conn, begun := r.door, r.conn, time.Now()
	d.work.Go(func() {
		defer d.server.Leave(kvserver.KeepAlives, 0)
		ctx, cancel := d.server.OwnContext()
		defer cancel()
		ttls, _, err := d.server.KeepAlive(ctx, who, m.Leases, nil)
		d.observer.Clerk(h.Kind, time.Since(begun))
		if err != nil {
			refused := d.refusal(err)
			d.noteRefusal(who, h.Kind, subject{}, &refused)
			conn.refuse(h.Number, refused)
			return
		}
		answer(conn, clerkwire.KindKept, h.Number, clerkwire.Kept{TTLs: ttls})
	})
}

// leases takes in a read of leases.
func (r *reader) leases(h clerkwire.Header, body []byte) {
	var m clerkwire.Leases
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	d, conn, who, begun := r.door, r.conn, r.conn.who.Load(), time.Now()
	if err := r.server.Allow(who, kinds[h.Kind].right, auth.Range{}); err != nil {
		r.refuse(h, "", err)
		return
	}
	d.work.Go(func() {
		ctx, cancel := d.server.OwnContext()
		defer cancel()
		shown, err := d.showLeases(ctx, who, &m)
		d.observer.Clerk(h.Kind, time.Since(begun))
		if err == nil && !conn.out.AwaitRoom(maxOutBytes) {
			err = failure.Stopping // the connection has ended and nobody will see it
		}
		if err != nil {
			refused := d.refusal(err)
			d.noteRefusal(who, h.Kind, subject{}, &refused)
			conn.refuse(h.Number, refused)
			return
		}
		answer(conn, clerkwire.KindLeasesShown, h.Number, shown)
	})
}

// showLeases reads a lease, or a page of them.
func (d *Door) showLeases(ctx context.Context, who *kvserver.Caller, m *clerkwire.Leases) (shown clerkwire.LeasesShown, err error) {
	f := kvserver.Freshness{Linearizable: m.Consistency == clerkwire.Linearizable, MinRevision: m.MinRevision}
	if m.Lease != 0 {
		l, err := d.server.Lease(ctx, who, m.Lease, m.Keys, f)
		if err != nil {
			return shown, err
		}
		shown.Leases = []clerkwire.LeaseShown{leaseShown(&l)}
		return shown, nil
	}
	limit := kvserver.MaxLeasePage
	if m.Limit > 0 {
		limit = int(min(m.Limit, kvserver.MaxLeasePage))
	}
	page, next, more, err := d.server.Leases(ctx, who, m.From, limit, f)
	if err != nil {
		return shown, err
	}
	if more {
		shown.More, shown.Next = true, next
	}
	for i := range page {
		shown.Leases = append(shown.Leases, leaseShown(&page[i]))
	}
	return shown, nil
}

func leaseShown(l *kvserver.Lease) clerkwire.LeaseShown {
	shown := clerkwire.LeaseShown{Lease: l.ID, TTL: l.TTL, Remaining: l.Remaining, Note: l.Note, Count: uint64(l.Count)}
	for _, key := range l.Keys {
		shown.Keys = append(shown.Keys, []byte(key))
	}
	return shown
}

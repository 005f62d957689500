package clerkd

import (
	"context"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// acquire takes in a request for a lock. The log answers it at once; what is in no session
// waits for the lock.
func (r *reader) acquire(h clerkwire.Header, body []byte) {
	var m clerkwire.Acquire
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	if m.Session == 0 {
		r.awaitLock(h, &m)
		return
	}
	if err := checkAcquire(&m); err != nil {
		r.refuse(h, string(m.Lock), err)
		return
	}
	c := kv.AcquireCommand(kv.Acquire{
		Lock: string(m.Lock), Lease: m.Lease, TTL: m.TTL, Limit: int(m.Limit), Delay: m.Delay, Value: m.Value, Queue: m.Queue,
	})
	r.takeMade(h, &c, clerkwire.Write{Session: m.Session, Lane: m.Lane, Seq: m.Seq})
}

// checkAcquire refuses a request for a lock that cannot be.
func checkAcquire(m *clerkwire.Acquire) error {
	switch {
	case (m.Lease != 0) == (m.TTL != 0):
		return failure.Of(failure.BadRequest, nil, "a request for a lock has one of a lease, which holds it, and the ttl of a lease that is made for it")
	case m.TTL != 0:
		if err := checkTTL(m.TTL); err != nil {
			return err
		}
	}
	switch longest := uint64(kvserver.MaxLockDelay / time.Millisecond); {
	case m.Limit < 1 || m.Limit > api.MaxLockLimit:
		return failure.Of(failure.BadRequest, nil, "the limit of holders is %d; choose 1 to %d", m.Limit, api.MaxLockLimit)
	case m.Delay > longest:
		return failure.Of(failure.BadRequest, nil, "the delay is %d ms; choose 0 to %d", m.Delay, longest)
	}
	return nil
}

// release takes in the end of holding a lock.
func (r *reader) release(h clerkwire.Header, body []byte) {
	var m clerkwire.Release
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	c := kv.Release(string(m.Lock), m.Token)
	r.takeMade(h, &c, clerkwire.Write{Session: m.Session, Lane: m.Lane, Seq: m.Seq})
}

// leaveQueue takes in the end of waiting for a lock.
func (r *reader) leaveQueue(h clerkwire.Header, body []byte) {
	var m clerkwire.LeaveQueue
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	c := kv.LeaveQueue(string(m.Lock), m.Lease, m.End)
	r.takeMade(h, &c, clerkwire.Write{Session: m.Session, Lane: m.Lane, Seq: m.Seq})
}

// publish takes in another value of a holder.
func (r *reader) publish(h clerkwire.Header, body []byte) {
	var m clerkwire.Publish
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	c := kv.Publish(string(m.Lock), m.Token, m.Value)
	r.takeMade(h, &c, clerkwire.Write{Session: m.Session, Lane: m.Lane, Seq: m.Seq})
}

// awaitLock takes in a request that waits for a lock. It takes no place among the requests
// of the connection while it waits, so others are not held up.
func (r *reader) awaitLock(h clerkwire.Header, m *clerkwire.Acquire) {
	d, conn, who, begun := r.door, r.conn, r.conn.who.Load(), time.Now()
	name, lease, after := string(m.Lock), m.Lease, m.After
	wait := time.Duration(min(m.Wait, clerkwire.MaxLockWait)) * time.Millisecond
	err := kvserver.CheckLockName(name)
	if err == nil {
		err = r.server.Allow(who, kinds[h.Kind].right, auth.OneLock(name))
	}
	if err != nil {
		r.refuse(h, name, err)
		return
	}
	conn.watch(1) // the connection stays open for the answer
	conn.uncount(1)
	conn.leave(1)
	d.work.Go(func() {
		ctx, cancel := context.WithCancel(d.server.Machine().Lifetime())
		defer cancel()
		defer context.AfterFunc(conn.lifetime, cancel)() // a place among the watches is given up
		token, err := d.server.AwaitLock(ctx, who, name, lease, after, wait)
		d.observer.Clerk(h.Kind, time.Since(begun))
		acquired := clerkwire.Acquired{Lease: lease, Token: token}
		if token == 0 {
			acquired.After = after
		}
		if err != nil {
			refused := d.refusal(err)
			d.noteRefusal(who, h.Kind, subject{key: name}, &refused)
			conn.out.End(clerkwire.AppendFrame(conn.out.Begin(), clerkwire.KindRefused, h.Number, refused))
		} else {
			conn.out.End(clerkwire.AppendFrame(conn.out.Begin(), clerkwire.KindAcquired, h.Number, acquired))
		}
		conn.watch(-1)
	})
}

// acquiredOf is the answer of the log to a request for a lock.
func acquiredOf(r kv.Result) clerkwire.Acquired {
	a := clerkwire.Acquired{Lease: r.Lease(), Replayed: r.Replayed}
	if r.Status == kv.StatusQueued {
		a.After = r.Revision
	} else {
		a.Token = r.Token()
	}
	return a
}

// locks takes in a read of locks.
func (r *reader) locks(h clerkwire.Header, body []byte) {
	var m clerkwire.Locks
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	d, conn, who, begun := r.door, r.conn, r.conn.who.Load(), time.Now()
	name, prefix, after := string(m.Lock), string(m.Prefix), string(m.After)
	span := auth.LocksWith(prefix)
	if name != "" {
		span = auth.OneLock(name)
	}
	about := d.over(name+prefix, kinds[h.Kind].right, span)
	if err := r.server.Allow(who, kinds[h.Kind].right, span); err != nil {
		r.refuseAbout(h, about, err)
		return
	}
	f := kvserver.Freshness{Linearizable: m.Consistency == clerkwire.Linearizable, MinRevision: m.MinRevision}
	token, limit := m.Token, kvserver.MaxLockPage
	if m.Limit > 0 {
		limit = int(min(m.Limit, kvserver.MaxLockPage))
	}
	d.work.Go(func() {
		ctx, cancel := d.server.OwnContext()
		defer cancel()
		shown := clerkwire.LocksShown{}
		var page []kvserver.Lock
		var err error
		if name != "" {
			page = make([]kvserver.Lock, 1)
			page[0], err = d.server.Lock(ctx, who, name, token, f)
		} else {
			page, shown.More, err = d.server.Locks(ctx, who, prefix, after, limit, f)
		}
		d.observer.Clerk(h.Kind, time.Since(begun))
		if err == nil && !conn.out.AwaitRoom(maxOutBytes) {
			err = failure.Stopping // the connection has ended and nobody will see it
		}
		if err != nil {
			refused := d.refusal(err)
			d.noteRefusal(who, h.Kind, about.refusedBy(err), &refused)
			conn.refuse(h.Number, refused)
			return
		}
		for i := range page {
			shown.Locks = append(shown.Locks, lockShown(&page[i]))
		}
		answer(conn, clerkwire.KindLocksShown, h.Number, shown)
	})
}

func lockShown(l *kvserver.Lock) clerkwire.LockShown {
	shown := clerkwire.LockShown{Lock: []byte(l.Name), Limit: uint64(l.Limit), Waiting: uint64(len(l.Queue))}
	for i := range l.Holders {
		h := &l.Holders[i]
		shown.Holders = append(shown.Holders, clerkwire.LockHolder{Token: h.Token, Lease: h.Lease, Value: h.Value, Note: l.Notes[i]})
	}
	return shown
}

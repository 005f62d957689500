package clerkd

import (
	"bytes"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/txn"
)

func ofMany(op kv.Op) func(*reader, clerkwire.Header) bool {
	return func(r *reader, h clerkwire.Header) bool {
		return r.withLarge(h, func(body []byte) { r.many(h, op, body) })
	}
}

// many takes in a transaction or the removal of a range. A transaction without a write is
// a read, and is in no session.
func (r *reader) many(h clerkwire.Header, op kv.Op, body []byte) {
	var m clerkwire.Txn
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	if m.Session == 0 && op == kv.OpTxn {
		r.readTxn(h, m)
		return
	}
	r.take(write{
		conn: r.conn, header: h, op: op, size: int64(h.Length), begun: time.Now(), who: r.conn.who.Load(), previous: m.Previous,
		message: clerkwire.Write{Session: m.Session, Lane: m.Lane, Seq: m.Seq, Value: m.Body},
	})
}

// checkMany refuses a transaction or the removal of a range that need not be proposed.
func (d *Door) checkMany(c *kv.Command) error {
	if limit := d.config.MaxTxnBytes; int64(len(c.Value)) > limit {
		return failure.Of(failure.TxnTooLarge, nil, "the transaction has %d bytes; this node takes %d (--max-txn-bytes): split it", len(c.Value), limit)
	}
	if err := d.server.CheckLevel(c.MinLevel()); err != nil {
		return err
	}
	results, err := c.Results()
	switch {
	case err != nil:
		return failure.Of(failure.BadRequest, err, "the transaction cannot be: %s", txn.Sentence(err))
	case results > clerkwire.MaxTxnResultBytes:
		return failure.Of(failure.BadRequest, nil, "results of %d bytes are asked for; the most is %d", results, clerkwire.MaxTxnResultBytes)
	}
	return nil
}

// readTxn serves a transaction of reads by itself.
func (r *reader) readTxn(h clerkwire.Header, m clerkwire.Txn) {
	d, conn, who, begun := r.door, r.conn, r.conn.who.Load(), time.Now()
	c := kv.Command{Op: kv.OpTxn, Value: bytes.Clone(m.Body)}
	var noted *act
	var about subject
	refuse := func(err error) {
		refused := d.refusal(err)
		d.endRead(noted, who, h.Kind, about.refusedBy(err), begun, &refused, 0)
		conn.refuse(h.Number, refused)
	}
	err := d.checkMany(&c)
	t := c.Txn()
	if err == nil && (t.Writes() || m.Seq != 0 || m.Lane != 0) {
		err = failure.Of(failure.BadRequest, nil, "a transaction with a write needs a session, and one without is in none")
	}
	if err != nil {
		refuse(err)
		return
	}
	about.needs = kvserver.NeedsOf(t)
	if noted, err = d.beginRead(who, about, func() []auth.Range { return kvserver.RangesOf(t) }); err != nil {
		refuse(err)
		return
	}
	held := int64(len(c.Value))
	if !r.server.Bodies().Take(held, 0) {
		refuse(r.server.NoMemory())
		return
	}
	d.work.Go(func() {
		defer r.server.Bodies().Give(held)
		if !conn.out.AwaitRoom(maxOutBytes) {
			refuse(failure.Stopping) // the connection has ended and nobody will see it
			return
		}
		ctx, cancel := r.server.OwnContext()
		defer cancel()
		results, _ := c.Results()
		outcome, revision, err := d.server.ReadTxn(ctx, who, t, kv.Guard{}, results)
		d.observer.Clerk(h.Kind, time.Since(begun))
		if err != nil {
			refuse(err)
			return
		}
		d.endRead(noted, who, h.Kind, about, begun, nil, revision)
		answerTxn(conn, h, clerkwire.TxnDone{Revision: revision}, outcome)
	})
}

// answerTxn answers a transaction or the removal of a range.
func answerTxn(c *conn, h clerkwire.Header, done clerkwire.TxnDone, o *txn.Outcome) {
	answerOf(c, h.Kind.Answer(), h.Number, o, func() clerkwire.TxnDone {
		done.Outcome = o.Encode()
		return done
	})
}

// answerPrevious answers a write that asked for what was there before.
func answerPrevious(c *conn, h clerkwire.Header, w clerkwire.Written, o *txn.Outcome) {
	answerOf(c, h.Kind.Answer(), h.Number, o, func() clerkwire.Written {
		w.Outcome = string(o.Encode())
		return w
	})
}

package clerkd

import (
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/watch"
)

// watch takes in a request for a watch, whose selectors may be many.
func (r *reader) watch(h clerkwire.Header) bool {
	return r.withLarge(h, func(body []byte) { r.beginWatch(h, body) })
}

// beginWatch has a watch put in place, if the request has a meaning.
func (r *reader) beginWatch(h clerkwire.Header, body []byte) {
	var m clerkwire.Watch
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	asked := kvserver.WatchRequest{
		Who: r.conn.who.Load(), Selectors: selectorsOf(&m), Mirror: m.Mirror, Resume: m.Resume, After: m.After,
		Progress: time.Duration(min(m.ProgressMs, uint64(watch.MaxProgress))) * time.Millisecond, Cluster: m.Cluster,
	}
	if err := asked.Selectors.Check(api.MaxSelectors); err != nil {
		r.refuse(h, "", failure.Of(failure.BadRequest, nil, "the watch cannot be: %v", err))
		return
	}
	f, err := r.conn.watches.reserve(h.Number, &m)
	if err != nil {
		r.refuse(h, "", err)
		return
	}
	asked.Woken = f.wake
	begun := time.Now()
	r.door.work.Go(func() { r.door.place(f, h, asked, begun) })
}

// selectorsOf copies the selectors out of a message.
func selectorsOf(m *clerkwire.Watch) (s watch.Selectors) {
	for _, key := range m.Keys {
		s.Keys = append(s.Keys, string(key))
	}
	for _, prefix := range m.Prefixes {
		s.Prefixes = append(s.Prefixes, string(prefix))
	}
	for _, k := range m.Ranges {
		s.Ranges = append(s.Ranges, watch.Range{From: string(k.From), To: string(k.To)})
	}
	for _, name := range m.Locks {
		s.Locks = append(s.Locks, string(name))
	}
	return s
}

// place puts a watch in place, or says why not.
func (d *Door) place(f *watched, h clerkwire.Header, asked kvserver.WatchRequest, begun time.Time) {
	conn, about := f.watches.conn, subject{}
	if d.server.Gate().Audit() != nil {
		about.needs = access.Over(auth.Watch, kvserver.Spans(&asked.Selectors)...)
	}
	noted, err := d.beginRead(asked.Who, about, func() []auth.Range { return kvserver.Spans(&asked.Selectors) })
	var w *kvserver.Watching
	if err == nil {
		ctx, cancel := d.server.OwnContext()
		w, err = d.server.Watch(ctx, asked)
		cancel()
	}
	if err == nil {
		d.endRead(noted, asked.Who, h.Kind, about, begun, nil, 0)
		conn.uncount(1)
		conn.watch(1)
		if !f.watches.add(f, w) {
			w.Close()
			conn.watch(-1)
		}
		conn.leave(1)
		d.observer.Clerk(h.Kind, time.Since(begun))
		return
	}
	f.watches.forget(f)
	ended := d.endOf(err)
	d.endRead(noted, asked.Who, h.Kind, about.refusedBy(err), begun, &ended.Why, 0)
	if ended.Oldest != 0 { // the client must hear how far the history reaches
		answer(conn, clerkwire.KindEnded, h.Number, ended)
		return
	}
	conn.refuse(h.Number, ended.Why)
}

// endOf tells a Clerk why a watch ends.
func (d *Door) endOf(err error) clerkwire.Ended {
	r := d.server.Refuse(err)
	ended := clerkwire.Ended{Oldest: r.Oldest, Why: refusedAs(r)}
	ended.Why.Revision, ended.Why.RequestID = r.Revision, d.server.NextRequestID()
	d.tellsNothing(&ended.Why)
	return ended
}

// credit takes in that a client has room again.
func (r *reader) credit(h clerkwire.Header, body []byte) {
	var m clerkwire.Credit
	if m.Parse(body) == nil { // there is nobody to tell that it is malformed
		r.conn.watches.credit(h.Number, m.Bytes)
	}
}

// unwatch takes in that a client wants no more of a watch.
func (r *reader) unwatch(h clerkwire.Header, body []byte) {
	if new(clerkwire.Empty).Parse(body) == nil {
		r.conn.watches.leave(h.Number)
	}
}

// sync takes in a request for a bookmark.
func (r *reader) sync(h clerkwire.Header, body []byte) {
	var m clerkwire.Sync
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	if !r.conn.watches.sync(m.Watch, h.Number) {
		r.refuse(h, "", failure.Of(failure.Stopping, nil, "there is no watch of the number %d on this connection any more", m.Watch))
	}
}

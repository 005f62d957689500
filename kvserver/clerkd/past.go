package clerkd

import (
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/clerkwire"
)

// pinnedGet returns the goroutine that serves a get of the store as it was at a revision.
func (r *reader) pinnedGet(h clerkwire.Header, key string, at uint64, who *kvserver.Caller, noted *act) func() {
	d, conn, begun := r.door, r.conn, time.Now()
	return func() {
		ctx, cancel := d.server.OwnContext()
		defer cancel()
		read, err := d.server.Get(ctx, who, key, kvserver.Freshness{Pinned: true, At: at})
		if err != nil {
			d.refusePinned(conn, h, who, noted, begun, subject{key: key}, err)
			return
		}
		d.endRead(noted, who, h.Kind, subject{key: key}, begun, nil, read.Revision)
		got := clerkwire.Got{Found: read.Found, Revision: read.Item.Revision, Version: read.Item.Version, Store: read.Revision, Value: read.Item.Value}
		if read.Found {
			got.Created, got.Lease = read.Item.Creation(), read.Lease
		}
		d.answerPinned(conn, h, begun, clerkwire.KindGot, got)
	}
}

// pinnedList returns the goroutine that serves a page of the store as it was at a revision.
func (r *reader) pinnedList(h clerkwire.Header, m clerkwire.List, q kvserver.Query, who *kvserver.Caller, noted *act) func() {
	d, conn, begun := r.door, r.conn, time.Now()
	at := m.More.Pinned.At
	return func() {
		ctx, cancel := d.server.OwnContext()
		defer cancel()
		page, err := d.server.List(ctx, who, q, kvserver.Freshness{Pinned: true, At: at})
		if err != nil {
			d.refusePinned(conn, h, who, noted, begun, d.aboutList(&q), err)
			return
		}
		d.endRead(noted, who, h.Kind, subject{}, begun, nil, page.Revision)
		d.answerPinned(conn, h, begun, clerkwire.KindListed, conn.listedOf(&m, &page))
	}
}

// answerPinned answers a read when its client has taken what was sent before.
func (d *Door) answerPinned(conn *conn, h clerkwire.Header, begun time.Time, kind clerkwire.Kind, m clerkwire.Message) {
	conn.out.AwaitRoom(maxOutBytes) // if the connection has ended nobody will see it
	answer(conn, kind, h.Number, m)
	d.observer.Clerk(h.Kind, time.Since(begun))
}

func (d *Door) refusePinned(conn *conn, h clerkwire.Header, who *kvserver.Caller, noted *act, begun time.Time, about subject, err error) {
	refused := d.refusal(err)
	d.endRead(noted, who, h.Kind, about.refusedBy(err), begun, &refused, 0)
	conn.refuse(h.Number, refused)
}

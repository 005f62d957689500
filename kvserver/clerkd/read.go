package clerkd

import (
	"sync"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// reads are reads that came on one connection so close together that they
// share one read index and one lock of the store.
type reads struct {
	conn  *conn
	reads []read
	keys  []byte // of all gets, one behind the other
	// lookups are what the gets read, in their order; made when they are served.
	lookups []kvserver.Lookup
	// linearizable: one of them needs a read index.
	linearizable bool
	minRevision  uint64 // that the store must have reached
	begun        time.Time
}

// read is one of them and what it saw.
type read struct {
	number uint32
	keyEnd int // the key of a get ends here in keys
	who    *kvserver.Caller
	by     *auth.Table     // by which it was granted
	denied error           // the caller may not read it any more
	noted  *act            // the audit has promised room for its line; nil: it has none
	list   *clerkwire.List // nil: a get
}

var readsPool = sync.Pool{New: func() any { return new(reads) }}

func newReads(c *conn) *reads {
	g := readsPool.Get().(*reads)
	g.conn, g.begun = c, time.Now()
	return g
}

// release ends the use of g.
func (g *reads) release() {
	const retained = 4096
	if cap(g.reads) > retained || cap(g.keys) > retained*16 {
		return
	}
	clear(g.reads)
	clear(g.lookups)
	*g = reads{reads: g.reads[:0], keys: g.keys[:0], lookups: g.lookups[:0]}
	readsPool.Put(g)
}

func (g *reads) need(c clerkwire.Consistency, minRevision uint64) {
	g.linearizable = g.linearizable || c == clerkwire.Linearizable
	g.minRevision = max(g.minRevision, minRevision)
}

// addGet adds a get, which was granted; by is the table from before that.
func (g *reads) addGet(number uint32, m clerkwire.Get, who *kvserver.Caller, by *auth.Table, noted *act) {
	g.need(m.Consistency, m.MinRevision)
	g.keys = append(g.keys, m.Key...)
	g.reads = append(g.reads, read{number: number, keyEnd: len(g.keys), who: who, by: by, noted: noted})
}

func (g *reads) addList(number uint32, m clerkwire.List, who *kvserver.Caller, noted *act) {
	g.need(m.Consistency, m.MinRevision)
	g.reads = append(g.reads, read{number: number, keyEnd: len(g.keys), list: &m, who: who, noted: noted})
}

// serve answers all reads, which were admitted.
func (g *reads) serve() {
	defer g.release()
	d := g.conn.door
	err := g.await()
	if err == nil && !g.conn.out.AwaitRoom(maxOutBytes) {
		err = failure.Stopping // the connection has ended and nobody will see it
	}
	if err != nil {
		for i := range g.reads {
			d.server.Leave(kvserver.Reads, 0)
			g.refuse(&g.reads[i], subject{}, err)
		}
		return
	}
	g.answerGets()
	for i := range g.reads {
		d.server.Leave(kvserver.Reads, 0)
		if r := &g.reads[i]; r.list != nil {
			g.answerList(r)
			g.conn.out.AwaitRoom(maxOutBytes)
		}
	}
	g.conn.leave(len(g.lookups))
	took := time.Since(g.begun) // those that came together took as long as the first of them
	for i := range g.reads {
		kind := clerkwire.KindGet
		if g.reads[i].list != nil {
			kind = clerkwire.KindList
		}
		d.observer.Clerk(kind, took)
	}
}

// answerGets reads the keys of all gets as they are at one moment and puts the
// answers into the outbox.
func (g *reads) answerGets() {
	begin := 0
	for i := range g.reads {
		r := &g.reads[i]
		if r.list == nil {
			g.lookups = append(g.lookups, kvserver.Lookup{Key: g.keys[begin:r.keyEnd]})
		}
		begin = r.keyEnd
	}
	g.decide()
	origins := g.conn.showsOrigins()
	revision := g.conn.door.server.ReadTogether(g.lookups, len(g.reads)-len(g.lookups), g.linearizable)
	pending := g.conn.out.Begin()
	next := 0
	for i := range g.reads {
		if r := &g.reads[i]; r.list == nil {
			l := &g.lookups[next]
			next++
			if r.denied != nil {
				refused := g.conn.door.refusal(r.denied)
				g.end(r, subject{key: string(l.Key)}.refusedBy(r.denied), &refused, 0)
				pending = clerkwire.AppendFrame(pending, clerkwire.KindRefused, r.number, refused)
				continue
			}
			got := clerkwire.Got{Found: l.Found, Revision: l.Item.Revision, Version: l.Item.Version, Store: revision, Value: l.Item.Value}
			if l.Found && origins {
				got.Created, got.Lease = l.Item.Creation(), l.Lease
			}
			if r.noted != nil {
				g.end(r, subject{}, nil, revision)
			}
			pending = clerkwire.AppendFrame(pending, clerkwire.KindGot, r.number, got)
		}
	}
	g.conn.uncount(len(g.lookups))
	g.conn.out.End(pending)
}

// serveAlone serves a read that has to wait: for a revision, or for room.
func (g *reads) serveAlone() {
	d := g.conn.door
	ctx, cancel := d.server.OwnContext()
	defer cancel()
	if err := d.server.AdmitRead(ctx, g.minRevision); err != nil {
		g.refuse(&g.reads[0], subject{}, err)
		g.release()
		return
	}
	g.serve()
}

// await waits until the store shows all that the reads must see.
func (g *reads) await() error {
	s := g.conn.door.server
	if !g.linearizable {
		return s.AwaitFresh(s.Machine().Lifetime(), false)
	}
	ctx, cancel := s.OwnContext()
	defer cancel()
	return s.AwaitFresh(ctx, true)
}

// decide decides about the gets once more, now that the store shows what they must see:
// a token that was revoked since they came reads nothing. Mostly the table is still the same,
// and there is nothing to decide.
func (g *reads) decide() {
	s := g.conn.door.server
	if s.Gate().State() == auth.Off {
		return
	}
	next := 0
	for i := range g.reads {
		r := &g.reads[i]
		if r.list != nil {
			continue
		}
		if !s.Gate().Grants(r.who, r.by) {
			r.denied = s.Allow(r.who, auth.Read, auth.OneKey(string(g.lookups[next].Key)))
		}
		next++
	}
}

// refuse answers one of the reads with an error.
func (g *reads) refuse(r *read, about subject, err error) {
	refused := g.conn.door.refusal(err)
	g.end(r, about.refusedBy(err), &refused, 0)
	g.conn.refuse(r.number, refused)
}

// end notes how one of the reads ended; see Door.endRead.
func (g *reads) end(r *read, about subject, refused *clerkwire.Refused, revision uint64) {
	kind := clerkwire.KindGet
	if r.list != nil {
		kind = clerkwire.KindList
	}
	g.conn.door.endRead(r.noted, r.who, kind, about, g.begun, refused, revision)
}

// answerList answers a list, about which is decided likewise.
func (g *reads) answerList(r *read) {
	d, q := g.conn.door, queryOf(r.list)
	err := d.server.Allow(r.who, auth.List, q.Range())
	var page kvserver.Page
	if err == nil {
		ctx, cancel := d.server.OwnContext()
		defer cancel()
		page, err = d.server.Machine().List(ctx, q)
	}
	if err != nil {
		g.refuse(r, d.aboutList(&q), err)
		return
	}
	g.end(r, subject{}, nil, page.Revision)
	answer(g.conn, clerkwire.KindListed, r.number, g.conn.listedOf(r.list, &page))
}

// queryOf names the page that a list asks for.
func queryOf(m *clerkwire.List) kvserver.Query {
	limit := clerkwire.MaxListed
	if m.Limit > 0 {
		limit = int(min(m.Limit, clerkwire.MaxListed))
	}
	q := kvserver.Query{
		Prefix: string(m.Prefix), After: string(m.After), KeysOnly: m.KeysOnly,
		Limit: limit, MaxBytes: clerkwire.MaxListedBytes, ItemBytes: clerkwire.Item{}.Bytes(),
	}
	if m.More != nil {
		q.From, q.To, q.Count = string(m.More.From), string(m.More.To), m.More.Count || m.More.CountOnly
	}
	if m.More != nil && m.More.CountOnly {
		q.Limit = 0
	}
	return q
}

// listedOf is a page as it is sent.
func (c *conn) listedOf(m *clerkwire.List, page *kvserver.Page) clerkwire.Listed {
	origins := c.showsOrigins()
	listed := clerkwire.Listed{Store: page.Revision, More: page.More, Items: make([]clerkwire.Item, len(page.Items))}
	for i, item := range page.Items {
		listed.Items[i] = clerkwire.Item{Key: []byte(item.Key), Revision: item.Item.Revision, Version: item.Item.Version}
		if !m.KeysOnly {
			listed.Items[i].Value = item.Item.Value
		}
		if origins {
			listed.Items[i].Created, listed.Items[i].Lease = item.Item.Creation(), item.Lease
		}
	}
	if m.More != nil && (m.More.Count || m.More.CountOnly) {
		listed.Counted, listed.Count = true, uint64(page.Count)
	}
	return listed
}

// showsOrigins reports whether items say when they were created, and their lease: the client
// understands it, and the cluster has a history.
func (c *conn) showsOrigins() bool {
	return c.second && c.door.server.Machine().Level() >= kv.LevelHistory
}

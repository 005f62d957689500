package kvserver

import (
	"context"
	"sync"
	"time"

	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/machine"
)

// clerkReads are reads that came on one connection so close together that they
// share one read index and one lock of the store.
type clerkReads struct {
	conn  *clerkConn
	reads []clerkRead
	keys  []byte // of all gets, one behind the other
	// lookups are what the gets read, in their order; made when they are served.
	lookups []machine.Lookup
	// linearizable: one of them needs a read index.
	linearizable bool
	minRevision  uint64 // that the store must have reached
	begun        time.Time
}

// clerkRead is one of them and what it saw.
type clerkRead struct {
	number uint32
	keyEnd int             // the key of a get ends here in keys
	list   *clerkwire.List // nil: a get
}

var clerkReadsPool = sync.Pool{New: func() any { return new(clerkReads) }}

func newClerkReads(c *clerkConn) *clerkReads {
	g := clerkReadsPool.Get().(*clerkReads)
	g.conn, g.begun = c, time.Now()
	return g
}

// release ends the use of g.
func (g *clerkReads) release() {
	const retained = 4096
	if cap(g.reads) > retained || cap(g.keys) > retained*16 {
		return
	}
	clear(g.reads)
	clear(g.lookups)
	*g = clerkReads{reads: g.reads[:0], keys: g.keys[:0], lookups: g.lookups[:0]}
	clerkReadsPool.Put(g)
}

func (g *clerkReads) need(c clerkwire.Consistency, minRevision uint64) {
	g.linearizable = g.linearizable || c == clerkwire.Linearizable
	g.minRevision = max(g.minRevision, minRevision)
}

func (g *clerkReads) addGet(number uint32, m clerkwire.Get) {
	g.need(m.Consistency, m.MinRevision)
	g.keys = append(g.keys, m.Key...)
	g.reads = append(g.reads, clerkRead{number: number, keyEnd: len(g.keys)})
}

func (g *clerkReads) addList(number uint32, m clerkwire.List) {
	g.need(m.Consistency, m.MinRevision)
	g.reads = append(g.reads, clerkRead{number: number, keyEnd: len(g.keys), list: &m})
}

// serve answers all reads, which were let in.
func (g *clerkReads) serve() {
	defer g.release()
	s := g.conn.server
	err := g.await()
	if err == nil && !g.conn.out.AwaitRoom(clerkOutBytes) {
		err = failure.Stopping // the connection has ended and nobody will see it
	}
	if err != nil {
		for i := range g.reads {
			s.reads.leave(0)
			g.conn.refuse(g.reads[i].number, s.clerkRefusal(err))
		}
		return
	}
	revision := g.readGets()
	pending := g.conn.out.Begin()
	gets := 0
	for i := range g.reads {
		if r := &g.reads[i]; r.list == nil {
			read := &g.lookups[gets]
			gets++
			pending = clerkwire.AppendFrame(pending, clerkwire.KindGot, r.number, clerkwire.Got{
				Found: read.Found, Revision: read.Item.Revision, Version: read.Item.Version, Store: revision, Value: read.Item.Value,
			})
		}
	}
	g.conn.out.End(pending)
	for i := range g.reads {
		s.reads.leave(0)
		if r := &g.reads[i]; r.list != nil {
			answerClerk(g.conn, clerkwire.KindListed, r.number, s.clerkPage(r.list))
			g.conn.out.AwaitRoom(clerkOutBytes)
		}
	}
	g.conn.leave(gets)
	s.config.Metrics.read(g.linearizable, len(g.reads))
	s.config.Metrics.clerkReads(g.reads, time.Since(g.begun))
}

// serveAlone serves reads that have to wait: for a revision, or for room.
func (g *clerkReads) serveAlone() {
	s := g.conn.server
	ctx, cancel := context.WithTimeout(s.machine.Lifetime(), s.config.RequestTimeout)
	defer cancel()
	err := s.awaitRevision(ctx, g.minRevision)
	if err == nil && !s.reads.wait(ctx, 0) {
		err = s.refusedEntry(ctx, &s.reads, "reads")
	}
	if err != nil {
		g.conn.refuse(g.reads[0].number, s.clerkRefusal(err))
		g.release()
		return
	}
	g.serve()
}

// await waits until the store shows all that the reads must see.
func (g *clerkReads) await() error {
	s := g.conn.server
	if s.machine.Stopping() {
		return failure.NodeStopping(nil)
	}
	if err := s.machine.Quarantined(); err != nil || !g.linearizable {
		return err
	}
	ctx, cancel := context.WithTimeout(s.machine.Lifetime(), s.config.RequestTimeout)
	defer cancel()
	return s.awaitLinearizable(ctx)
}

// readGets reads the keys of all gets as they are at one moment, and returns the
// store's revision then.
func (g *clerkReads) readGets() (revision uint64) {
	begin := 0
	for i := range g.reads {
		r := &g.reads[i]
		if r.list == nil {
			g.lookups = append(g.lookups, machine.Lookup{Key: g.keys[begin:r.keyEnd]})
		}
		begin = r.keyEnd
	}
	return g.conn.server.machine.GetAll(g.lookups)
}

// clerkPage reads one page.
func (s *Server) clerkPage(m *clerkwire.List) clerkwire.Listed {
	limit := clerkwire.MaxListed
	if m.Limit > 0 {
		limit = int(min(m.Limit, clerkwire.MaxListed))
	}
	page := s.machine.List(machine.Query{
		Prefix: string(m.Prefix), After: string(m.After), KeysOnly: m.KeysOnly,
		Limit: limit, MaxBytes: clerkwire.MaxListedBytes, ItemBytes: clerkwire.Item{}.Bytes(),
	})
	listed := clerkwire.Listed{Store: page.Revision, More: page.More, Items: make([]clerkwire.Item, len(page.Items))}
	for i, item := range page.Items {
		listed.Items[i] = clerkwire.Item{Key: []byte(item.Key), Revision: item.Item.Revision, Version: item.Item.Version}
		if !m.KeysOnly {
			listed.Items[i].Value = item.Item.Value
		}
	}
	return listed
}

package clerkd

import (
	"bytes"
	"cmp"
	"fmt"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// reader reads the requests of one connection and sets them going. It
// belongs to the goroutine that reads.
type reader struct {
	conn   *conn
	door   *Door
	server *kvserver.Server
	frames *clerkwire.FrameReader
	// reads came since the last time there was nothing to read, by their
	// consistency: those that take what there is wait for nobody.
	reads [clerkwire.Stale + 1]*reads
}

// run reads until the connection ends or what comes is not the protocol.
func (r *reader) run() {
	for r.step() {
		if !r.frames.Waiting() {
			r.serveReads()
		}
	}
	r.serveReads() // admitted reads must be served even at the end
}

// serveReads sets the reads going that have gathered.
func (r *reader) serveReads() {
	for i, g := range r.reads {
		if g != nil {
			r.reads[i] = nil
			r.door.work.Go(g.serve)
		}
	}
}

// step takes in one request. It reports false at the end.
func (r *reader) step() bool {
	h, err := r.frames.Next()
	if err != nil {
		return false
	}
	if kinds[h.Kind].silent {
		return kinds[h.Kind].serve(r, h)
	}
	ok, away := r.conn.enter()
	if !ok {
		return false
	}
	if away {
		return r.turnAway(h, failure.NodeStopping(nil))
	}
	if err := r.limited(h); err != nil {
		return r.turnAway(h, err)
	}
	return kinds[h.Kind].serve(r, h)
}

// turnAway refuses a request before it counts for any limit, and passes over its body. It
// reports false at the end.
func (r *reader) turnAway(h clerkwire.Header, err error) bool {
	reply(r.conn, clerkwire.KindRefused, h.Number, r.refusal(h, subject{}, err))
	return r.frames.Skip(h) == nil
}

// refuse refuses a request, which is about a key or a prefix or "".
func (r *reader) refuse(h clerkwire.Header, key string, err error) {
	r.refuseAbout(h, subject{key: key}, err)
}

func (r *reader) refuseAbout(h clerkwire.Header, about subject, err error) {
	r.conn.refuse(h.Number, r.refusal(h, about, err))
}

// refusal notes that a request is refused, and returns what its client is told.
func (r *reader) refusal(h clerkwire.Header, about subject, err error) clerkwire.Refused {
	refused := r.door.refusal(err)
	r.door.noteRefusal(r.conn.who.Load(), h.Kind, about.refusedBy(err), &refused)
	return refused
}

// malformed refuses a request whose frame was in order and whose body is not.
func (r *reader) malformed(number uint32, err error) {
	r.conn.refuse(number, r.door.refusal(failure.Of(failure.BadRequest, err, "%s", err.Error())))
}

// write takes in a put, append or delete. Limits that depend only on the size are
// checked before the body is read.
func (r *reader) write(h clerkwire.Header, op kv.Op) bool {
	return r.withLarge(h, func(body []byte) {
		w := write{conn: r.conn, header: h, op: op, size: int64(h.Length), begun: time.Now(), who: r.conn.who.Load()}
		if err := w.message.Parse(body); err != nil {
			r.malformed(h.Number, err)
			return
		}
		w.previous = w.message.More.Previous
		r.take(w)
	})
}

// take proposes a write, or lets it wait. Its bytes are the connection's.
func (r *reader) take(w write) {
	switch {
	case !r.door.admit(&w):
	case r.server.Enter(w.class, w.size):
		w.propose()
	default:
		w.message.Key, w.message.Value = bytes.Clone(w.message.Key), bytes.Clone(w.message.Value)
		w.wait()
	}
}

// withLarge reads a body that may not fit in the connection's own buffer, if there is
// memory for it.
func (r *reader) withLarge(h clerkwire.Header, serve func(body []byte)) bool {
	bodies := r.server.Bodies()
	// Small bodies are in the connection's own buffer.
	held := int64(0)
	if h.Length > clerkwire.SmallBytes {
		held = int64(h.Length)
	}
	if !bodies.Take(held, 0) {
		r.refuse(h, "", r.server.NoMemory())
		return r.frames.Skip(h) == nil
	}
	defer bodies.Give(held)
	body, err := r.frames.Body(h)
	if err != nil {
		return false
	}
	serve(body)
	return true
}

// open takes in a request to open a session.
func (r *reader) open(h clerkwire.Header, body []byte) {
	if err := new(clerkwire.Empty).Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	w := write{conn: r.conn, header: h, op: kv.OpOpenSession, begun: time.Now(), who: r.conn.who.Load()}
	switch {
	case !r.door.admit(&w):
	case r.server.Enter(w.class, 0):
		w.propose()
	default:
		w.wait()
	}
}

// get takes in a read of one key.
func (r *reader) get(h clerkwire.Header, body []byte) {
	var m clerkwire.Get
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	if err := kvserver.CheckKey(m.Key, "has"); err != nil {
		r.refuse(h, "", err)
		return
	}
	who, by := r.conn.who.Load(), r.server.Gate().Table()
	if err := r.server.Allow(who, kinds[h.Kind].right, auth.OneKey(string(m.Key))); err != nil {
		r.refuse(h, string(m.Key), err)
		return
	}
	var noted *act // the audit has lines for few reads, and mostly for none
	if r.server.Gate().Audit().ReadsToo() {
		var err error
		key := string(m.Key)
		if noted, err = r.door.beginRead(who, subject{key: key}, func() []auth.Range { return []auth.Range{auth.OneKey(key)} }); err != nil {
			r.refuse(h, key, err)
			return
		}
	}
	if m.Pinned.Set {
		r.door.work.Go(r.pinnedGet(h, string(m.Key), m.Pinned.At, who, noted))
		return
	}
	if m.MinRevision == 0 && r.server.Enter(kvserver.Reads, 0) {
		r.gather(m.Consistency).addGet(h.Number, m, who, by, noted)
		return
	}
	g := newReads(r.conn)
	g.addGet(h.Number, m, who, by, noted)
	r.door.work.Go(g.serveAlone)
}

// list takes in a request for a page.
func (r *reader) list(h clerkwire.Header, body []byte) {
	var m clerkwire.List
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	who := r.conn.who.Load()
	q := queryOf(&m)
	if err := r.server.Allow(who, kinds[h.Kind].right, q.Range()); err != nil {
		r.refuseAbout(h, r.door.aboutList(&q), err)
		return
	}
	m.Prefix, m.After = bytes.Clone(m.Prefix), bytes.Clone(m.After)
	if m.More != nil && len(m.More.To) > 0 && q.To <= q.From {
		r.malformed(h.Number, fmt.Errorf("a range that ends at %.40q, which does not stand behind its beginning, %.40q", q.To, q.From))
		return
	}
	noted, err := r.door.beginRead(who, r.door.aboutList(&q), func() []auth.Range { return []auth.Range{q.Range()} })
	if err != nil {
		r.refuse(h, cmp.Or(q.Prefix, q.From), err)
		return
	}
	if m.More != nil && m.More.Pinned.Set {
		r.door.work.Go(r.pinnedList(h, m, q, who, noted))
		return
	}
	g := newReads(r.conn)
	g.addList(h.Number, m, who, noted)
	r.door.work.Go(g.serveAlone)
}

// gather returns the reads to which one more may be added. A read index that is
// asked for after all of them came is good for all of them. Reads that wait for
// a revision or for room, perhaps in vain, and pages go by themselves.
func (r *reader) gather(c clerkwire.Consistency) *reads {
	if r.reads[c] == nil {
		r.reads[c] = newReads(r.conn)
	}
	return r.reads[c]
}

package kvserver

import (
	"bytes"
	"time"

	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// clerkReader reads the requests of one connection and sets them going. It
// belongs to the goroutine that reads.
type clerkReader struct {
	conn   *clerkConn
	server *Server
	frames *clerkwire.FrameReader
	// reads came since the last time there was nothing to read, by their
	// consistency: those that take what there is wait for nobody.
	reads [clerkwire.Stale + 1]*clerkReads
}

// run reads until the connection ends or what comes is not the protocol.
func (r *clerkReader) run() {
	for r.step() {
		if !r.frames.Waiting() {
			r.serveReads()
		}
	}
	r.serveReads() // who was let in must leave
}

// serveReads sets the reads going that have gathered.
func (r *clerkReader) serveReads() {
	for i, g := range r.reads {
		if g != nil {
			r.reads[i] = nil
			r.server.clerks.work.Go(g.serve)
		}
	}
}

// step takes in one request. It reports false at the end.
func (r *clerkReader) step() bool {
	h, err := r.frames.Next()
	if err != nil {
		return false
	}
	ok, away := r.conn.enter()
	if !ok {
		return false
	}
	if away {
		r.refuse(h.Number, failure.NodeStopping(nil))
		return r.frames.Skip(h) == nil
	}
	switch h.Kind {
	case clerkwire.KindPut:
		return r.write(h, kv.OpPut)
	case clerkwire.KindAppend:
		return r.write(h, kv.OpAppend)
	case clerkwire.KindDelete:
		return r.write(h, kv.OpDelete)
	}
	body, err := r.frames.Body(h)
	if err != nil {
		return false
	}
	switch h.Kind {
	case clerkwire.KindOpen:
		r.open(h, body)
	case clerkwire.KindGet:
		r.get(h, body)
	default: // KindList: there is no other request
		r.list(h, body)
	}
	return true
}

func (r *clerkReader) refuse(number uint32, err error) {
	r.conn.refuse(number, r.server.clerkRefusal(err))
}

// malformed refuses a request whose frame was in order and whose body is not.
func (r *clerkReader) malformed(number uint32, err error) {
	r.refuse(number, failure.Of(failure.BadRequest, err, "%s", err.Error()))
}

// write takes in a put, append or delete. What its size can decide is decided
// before the body is read.
func (r *clerkReader) write(h clerkwire.Header, op kv.Op) bool {
	s := r.server
	// Small bodies are in the connection's own buffer.
	held := int64(0)
	if h.Length > clerkwire.SmallBytes {
		held = int64(h.Length)
	}
	if !s.bodies.take(held, 0) {
		r.refuse(h.Number, s.noMemory())
		return r.frames.Skip(h) == nil
	}
	defer s.bodies.give(held)
	body, err := r.frames.Body(h)
	if err != nil {
		return false
	}
	w := clerkWrite{conn: r.conn, header: h, op: op, size: int64(h.Length), begun: time.Now()}
	err = w.message.Parse(body)
	switch {
	case err != nil:
		r.malformed(h.Number, err)
	case !s.clerkAdmit(&w):
	case w.admission.enter(w.size):
		w.propose()
	default:
		w.message.Key, w.message.Value = bytes.Clone(w.message.Key), bytes.Clone(w.message.Value)
		w.wait()
	}
	return true
}

// open takes in a request to open a session.
func (r *clerkReader) open(h clerkwire.Header, body []byte) {
	if err := new(clerkwire.Empty).Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	w := clerkWrite{conn: r.conn, header: h, op: kv.OpOpenSession, begun: time.Now()}
	switch {
	case !r.server.clerkAdmit(&w):
	case w.admission.enter(0):
		w.propose()
	default:
		w.wait()
	}
}

// get takes in a read of one key.
func (r *clerkReader) get(h clerkwire.Header, body []byte) {
	var m clerkwire.Get
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	if err := checkClerkKey(m.Key); err != nil {
		r.refuse(h.Number, err)
		return
	}
	if m.MinRevision == 0 && r.server.reads.enter(0) {
		r.gather(m.Consistency).addGet(h.Number, m)
		return
	}
	g := newClerkReads(r.conn)
	g.addGet(h.Number, m)
	r.server.clerks.work.Go(g.serveAlone)
}

// list takes in a request for a page.
func (r *clerkReader) list(h clerkwire.Header, body []byte) {
	var m clerkwire.List
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	m.Prefix, m.After = bytes.Clone(m.Prefix), bytes.Clone(m.After)
	g := newClerkReads(r.conn)
	g.addList(h.Number, m)
	r.server.clerks.work.Go(g.serveAlone)
}

// gather returns the reads to which one more may be added. A read index that is
// asked for after all of them came is good for all of them. Reads that wait for
// a revision or for room, perhaps in vain, and pages go by themselves.
func (r *clerkReader) gather(c clerkwire.Consistency) *clerkReads {
	if r.reads[c] == nil {
		r.reads[c] = newClerkReads(r.conn)
	}
	return r.reads[c]
}

package kvserver

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/kvserver/failure"
)

// connections bounds the connections of a client port. Where all places are
// taken, connections whose clients keep the server waiting make room for new
// ones: those on which a request has begun and does not come to its end first,
// then those that nobody uses. Connections whose requests are being served are
// never closed for others.
type connections struct {
	server *Server
	begun  time.Time
	// most is the number of places; the last loopbackPlaces of them are for
	// connections from this machine, so that its operator is never locked out.
	// mostPerIP bounds the connections from one address that is not loopback;
	// 0: no bound.
	most, mostPerIP int

	count atomic.Int64 // of all, for who does not hold the lock

	mu    sync.Mutex // guards the fields below
	all   map[*clientConn]bool
	perIP map[netip.Addr]int
	// evicted and refused count connections since the start.
	evicted, refused uint64

	gate      gate
	farewells atomic.Int64 // connections that are being told that there is no room
	crowded   throttle     // of the warning that file descriptors are short
}

const (
	loopbackPlaces = 64
	// evictionAge is how long a connection must have kept the server waiting
	// before it makes room for another: crowds of honest clients that come at
	// once must not drive each other out.
	evictionAge = time.Second
	// mostFarewells bounds the refused connections to which the refusal is sent
	// with care, and so does an eighth of the places; others are just closed.
	mostFarewells = 64
)

func newConnections(s *Server) *connections {
	return &connections{
		server: s, begun: time.Now(), most: s.config.MaxConnections, mostPerIP: s.config.MaxConnectionsPerIP,
		gate: newGate(), all: map[*clientConn]bool{}, perIP: map[netip.Addr]int{},
	}
}

// Listener makes the client port out of a listener: the same connections, but
// bounded in number (Config.MaxConnections) and watched, so that clients that
// keep the server waiting lose theirs when there are too many. It is to be
// served by an http.Server that NewHTTPServer made.
func (s *Server) Listener(l net.Listener) net.Listener { return newClientListener(l, s.conns) }

// phase is whom a connection is waiting for.
type phase int32

const (
	phaseReceiving phase = iota // the client, in the middle of a request or before its first
	phaseServing                // this server
	phaseIdle                   // the client, between two requests
)

// take gives a connection a place, or returns nil.
func (cs *connections) take(conn net.Conn) *clientConn {
	ip := addressOf(conn)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.mostPerIP > 0 && !ip.IsLoopback() && cs.perIP[ip] >= cs.mostPerIP {
		cs.refused++
		return nil
	}
	places := cs.most
	if !ip.IsLoopback() {
		places -= min(loopbackPlaces, cs.most/2)
	}
	if len(cs.all) >= places && !cs.evictLocked() {
		cs.refused++
		return nil
	}
	c := &clientConn{Conn: conn, conns: cs, ip: ip, recording: true, haste: rand.Float64()}
	c.enter(phaseReceiving)
	cs.all[c] = true
	cs.count.Store(int64(len(cs.all)))
	cs.perIP[ip]++
	return c
}

// evictLocked closes some connections whose clients keep the server waiting and
// reports whether there were any: one in sixteen at once, so that looking for
// them costs little for each.
func (cs *connections) evictLocked() bool {
	type candidate struct {
		conn  *clientConn
		since int64
	}
	for _, waitsFor := range []phase{phaseReceiving, phaseIdle} {
		var candidates []candidate
		before := cs.now() - int64(evictionAge)
		for c := range cs.all {
			if since := c.since.Load(); phase(c.phase.Load()) == waitsFor && since < before && !c.atGate.Load() {
				candidates = append(candidates, candidate{c, since})
			}
		}
		if len(candidates) == 0 {
			continue
		}
		slices.SortFunc(candidates, func(a, b candidate) int { return int(min(max(a.since-b.since, -1), 1)) })
		for _, c := range candidates[:max(1, min(len(candidates), len(cs.all)/16))] {
			cs.forgetLocked(c.conn)
			cs.evicted++
			c.conn.Conn.Close()
		}
		return true
	}
	return false
}

// refuse tells a client that there is no room, as far as that costs nothing.
func (cs *connections) refuse(conn net.Conn) {
	if cs.farewells.Add(1) > int64(max(1, min(mostFarewells, cs.most/8))) {
		cs.farewells.Add(-1)
		conn.Close()
		return
	}
	go func() {
		defer cs.farewells.Add(-1)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		err := failure.Of(failure.Overloaded, nil, "too many connections (limit %d, --max-connections; %d from one address, --max-connections-per-ip, 0 for no limit); close some, or connect to another node", cs.most, cs.mostPerIP)
		if _, err := conn.Write(cs.server.rawProblem(err)); err != nil {
			return
		}
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		// What the client is still sending would reset the connection before the
		// answer is read.
		_, _ = io.CopyN(io.Discard, conn, 64<<10)
	}()
}

func (cs *connections) forget(c *clientConn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.forgetLocked(c)
}

// forgetLocked frees a connection's place, once.
func (cs *connections) forgetLocked(c *clientConn) {
	if !cs.all[c] {
		return
	}
	delete(cs.all, c)
	cs.count.Store(int64(len(cs.all)))
	if cs.perIP[c.ip]--; cs.perIP[c.ip] == 0 {
		delete(cs.perIP, c.ip)
	}
}

// counts returns the number of connections now, and of those that were closed
// for others or refused since the start.
func (cs *connections) counts() (now int, evicted, refused uint64) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.all), cs.evicted, cs.refused
}

func (cs *connections) now() int64 { return int64(time.Since(cs.begun)) }

func addressOf(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// clientConn is a connection of the client port.
type clientConn struct {
	net.Conn
	conns  *connections
	ip     netip.Addr
	phase  atomic.Int32
	inside atomic.Bool  // of the gate
	atGate atomic.Bool  // inside it or waiting to be: it is the server that keeps the client waiting
	since  atomic.Int64 // when it entered the phase, in the time of connections.now
	haste  float64      // see hasten; below 1

	mu        sync.Mutex // guards the fields below
	recording bool
	record    []byte // what came since the last request ended, up to the end of the next one's header
}

// crumb is a piece of a body, in bytes, that is read past the gate.
const crumb = 64

// mostRecorded bounds the record: net/http reads a little past its own limit.
const mostRecorded = maxHeaderBytes + 8<<10

func (c *clientConn) enter(p phase) {
	c.since.Store(c.conns.now())
	c.phase.Store(int32(p))
}

func (c *clientConn) Close() error {
	c.leaveGate()
	c.conns.forget(c)
	return c.Conn.Close()
}

// CloseWrite lets net/http end a connection without a reset.
func (c *clientConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// SetReadDeadline hastens the end of the time for a header.
func (c *clientConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	inHeader := c.recording && c.phase.Load() == int32(phaseReceiving)
	c.mu.Unlock()
	if inHeader && !t.IsZero() {
		t = t.Add(-c.hasten(time.Until(t)))
	}
	return c.Conn.SetReadDeadline(t)
}

// hasten returns what this connection gets less than so much time: up to half of
// it, drawn when it came. Thousands of slow clients that come at one moment would
// otherwise be ended at one moment, and come back at one moment, and for as long
// as that takes nobody else would be served as usual.
//
// Where places are short it gets a third of the rest. Else time is given freely:
// to end a connection and to take the one that comes in its place costs about
// what half a minute of a byte a second does.
func (c *clientConn) hasten(d time.Duration) time.Duration {
	if c == nil || d <= 0 {
		return 0
	}
	left := d - time.Duration(c.haste*float64(d)/2)
	if c.conns.short() {
		left /= 3
	}
	return d - left
}

// short reports whether more than three in four places are taken.
func (cs *connections) short() bool { return cs.count.Load()*4 > int64(cs.most)*3 }

func (c *clientConn) Read(p []byte) (int, error) {
	c.leaveGate() // more is needed before there is anything to do
	n, err := c.Conn.Read(p)
	if n > 0 && c.phase.Load() != int32(phaseServing) {
		if c.phase.Load() == int32(phaseIdle) {
			c.enter(phaseReceiving)
		}
		if c.note(p[:n]) && len(p) > 1 { // net/http reads single bytes beside a handler, to learn of the client's end
			c.enterGate()
		}
	}
	return n, err
}

// note keeps the header of the request that is coming, and reports whether what
// has come gives the server more to do than to read on. A part of a header does
// not, and a crumb of a body hardly ever: thousands of clients that send such at
// the same moment are not to queue at the gate for it.
func (c *clientConn) note(p []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.recording {
		return len(p) > crumb
	}
	searched := max(len(c.record)-3, 0)
	c.record = append(c.record, p[:min(len(p), mostRecorded-len(c.record))]...)
	c.recording = len(c.record) < mostRecorded && !bytes.Contains(c.record[searched:], []byte("\r\n\r\n"))
	return !c.recording
}

// Write sends an answer. Those that net/http gives by itself, before any handler
// has seen the request, become problem documents like all others.
func (c *clientConn) Write(p []byte) (int, error) {
	c.leaveGate()
	if c.phase.Load() != int32(phaseServing) {
		if err := netHTTPRefusal(p); err != nil {
			_, writeErr := c.Conn.Write(c.conns.server.rawProblem(err))
			return len(p), writeErr
		}
	}
	return c.Conn.Write(p)
}

// serving says that the server has what it needs of the client to go on.
func (c *clientConn) serving() {
	if c != nil && c.phase.Load() != int32(phaseServing) {
		c.enter(phaseServing)
	}
}

// connKey is the key of the clientConn in a request's context.
type connKey struct{}

func connOf(r *http.Request) *clientConn {
	c, _ := r.Context().Value(connKey{}).(*clientConn)
	return c
}

// keepConn and noteState are hooks of http.Server.
func keepConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

func noteState(conn net.Conn, state http.ConnState) {
	c, ours := conn.(*clientConn)
	if !ours {
		return
	}
	switch state {
	case http.StateIdle:
		c.enter(phaseIdle)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.recording, c.record = true, c.record[:0]
		if cap(c.record) > 4<<10 { // an idle connection is to be cheap
			c.record = nil
		}
	case http.StateHijacked:
		c.leaveGate()
		c.enter(phaseServing)
	}
}

package client

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// server is one server as a Clerk knows it: an address, and the connections to
// it that were needed so far.
type server struct {
	clerk   *Clerk
	index   int
	address string
	slots   []slot
	turn    atomic.Uint32
	node    atomic.Pointer[string] // its name; nil until a greeting has named it
	misses  atomic.Int32           // attempts to meet it that failed since it was met
	missed  atomic.Int64           // when the last of them failed, Unix time in ms
	seed    bool                   // the caller has named it; it is never forgotten
	gone    atomic.Bool            // the cluster does not name it any more; see refresh.go
}

// slot holds one connection. The first call that finds none starts to dial; later
// calls wait for the same attempt.
type slot struct {
	present atomic.Pointer[conn]

	mu   sync.Mutex // guards the field below
	dial *dialling  // nil: no attempt is pending
}

// dialling is an attempt at a connection.
type dialling struct {
	done chan struct{} // closed at its end; then the two below are set
	conn *conn
	err  *Error
}

func newServer(c *Clerk, index int, address string) *server {
	return &server{clerk: c, index: index, address: address, slots: make([]slot, c.config.Connections)}
}

// connection returns a connection on which a call can be made. If it returns an
// error, nothing was sent. If both results are nil, ctx has ended.
func (s *server) connection(ctx context.Context) (*conn, *Error) {
	slot := &s.slots[int(s.turn.Add(1))%len(s.slots)]
	if c := slot.present.Load(); c != nil && c.usable() {
		return c, nil
	}
	d := s.join(slot)
	select {
	case <-d.done:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, nil
	}
}

// join returns the pending attempt at the slot's connection, or starts one.
func (s *server) join(slot *slot) *dialling {
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if slot.dial != nil {
		return slot.dial
	}
	d := &dialling{done: make(chan struct{})}
	if c := slot.present.Load(); c != nil && c.usable() { // it came meanwhile
		d.conn = c
		close(d.done)
		return d
	}
	slot.dial = d
	if !s.clerk.start(func() { s.connect(slot, d) }) {
		slot.dial = nil
		d.err = unreachable(s.address, ErrClosed)
		close(d.done)
	}
	return d
}

// connect is the goroutine of one connection, from dialling to its end.
func (s *server) connect(slot *slot, d *dialling) {
	c, frames, err := s.open()
	if err == nil {
		slot.present.Store(c)
		s.misses.Store(0)
	} else {
		s.missed.Store(time.Now().UnixMilli())
		s.misses.Add(1)
	}
	d.conn, d.err = c, err
	slot.mu.Lock()
	slot.dial = nil
	slot.mu.Unlock()
	close(d.done)
	if err != nil {
		return
	}
	unhook := atEnd(s.clerk.lifetime, func() { c.fail(ErrClosed) })
	c.run(frames)
	unhook()
	slot.present.CompareAndSwap(c, nil)
}

// open dials the server and exchanges greetings with it. A token that opens nothing may
// just have been replaced by another one, so it is asked for twice.
func (s *server) open() (*conn, *clerkwire.FrameReader, *Error) {
	protocol := clerkwire.Protocol2
	c, frames, err := s.openOnce(protocol)
	if err != nil && errors.Is(err, errOldServer) {
		protocol = clerkwire.Protocol
		c, frames, err = s.openOnce(protocol)
	}
	if err != nil && err.Code == api.CodeUnauthenticated && s.clerk.config.Token != nil {
		return s.openOnce(protocol)
	}
	return c, frames, err
}

// openOnce is one attempt, by one of the protocols.
func (s *server) openOnce(protocol string) (*conn, *clerkwire.FrameReader, *Error) {
	ctx, cancel := context.WithTimeout(s.clerk.lifetime, s.clerk.config.DialTimeout)
	defer cancel()
	token, failed := s.clerk.token(ctx, s.address)
	if failed != nil {
		return nil, nil, failed
	}
	raw, unhook, failed := s.dial(ctx)
	if failed != nil {
		return nil, nil, failed
	}
	c, frames, failed := open(raw, s.address, token, protocol, s.clerk.config.AttemptTimeout)
	if failed != nil {
		failed.final = failed.final || s.clerk.turnedDown(failed.cause)
	}
	if !unhook() && failed == nil {
		failed = unreachable(s.address, errSilent)
	}
	if failed == nil {
		failed = s.clerk.met(s, c.from)
	}
	if failed != nil {
		raw.Close()
		return nil, nil, failed
	}
	c.configured = s.clerk.configured
	return c, frames, nil
}

// dial connects to the server, by TLS if the Clerk speaks that. The connection is closed
// when ctx ends, unless unhook is called before; see atEnd.
func (s *server) dial(ctx context.Context) (conn net.Conn, unhook func() bool, failed *Error) {
	raw, err := s.clerk.config.Dial(ctx, s.address)
	if err != nil {
		return nil, nil, unreachable(s.address, err)
	}
	unhook = atEnd(ctx, func() { raw.Close() })
	if s.clerk.config.TLS == nil {
		return raw, unhook, nil
	}
	secret, err := secured(raw, s.address, s.clerk.config.TLS)
	if err != nil {
		if !unhook() {
			err = errSilent
		}
		raw.Close()
		failed := unreachable(s.address, err)
		failed.final = unverified(err) || s.clerk.turnedDown(err) // to ask once more does not help
		return nil, nil, failed
	}
	return secret, unhook, nil
}

// atEnd calls do when ctx ends, unless unhook is called before. unhook reports
// whether it was in time. If not, it has waited until do returned, so that a
// closed Clerk leaves no goroutine behind.
func atEnd(ctx context.Context, do func()) (unhook func() bool) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		do()
	})
	return func() bool {
		if stop() {
			return true
		}
		<-done
		return false
	}
}

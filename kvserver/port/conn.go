package port

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
)

// phase is the state of a connection: which side keeps the other waiting. See the
// package comment.
type phase int32

const (
	phaseReceiving phase = iota // the client, in the middle of a request or before its first
	phaseServing                // this server
	phaseIdle                   // the client, between two requests
)

// Conn is a connection of the client port. A nil *Conn stands for one that has no
// port, as in tests without a network; its methods do nothing then.
type Conn struct {
	net.Conn                        // what requests are read from: raw, or TLS on it
	raw      net.Conn               // as it was accepted
	severed  sync.Once              // closes gone
	gone     chan struct{}          // closed when raw was closed from this side; nil where the port speaks no TLS
	secured  bool                   // the first Read has made Conn what it is
	secret   atomic.Pointer[secret] // nil: it does not speak TLS, or not yet
	port     *Port
	ip       netip.Addr
	// stranger: it counts among Port.strangers. Port.mu is held where it changes.
	stranger atomic.Bool
	phase    atomic.Int32
	inside   atomic.Bool  // of the gate
	atGate   atomic.Bool  // inside it or waiting to be: it is the server that keeps the client waiting
	since    atomic.Int64 // when it entered the phase, in the time of Port.now
	haste    float64      // see hasten; below 1
	queued   queued       // at the gate

	owner  atomic.Uint64 // whose connection it is, see Belong and Lodge; 0: nobody was let in on it
	closed atomic.Bool   // Close was called

	mu        sync.Mutex // guards the fields below
	drop      func()     // counts the connection out of those of its owner; nil: it has none
	recording bool
	record    []byte // what came since the last request ended, up to the end of the next one's header
}

func (c *Conn) enter(p phase) {
	c.since.Store(c.port.now())
	c.phase.Store(int32(p))
}

// Close closes the connection and frees its place.
func (c *Conn) Close() error {
	c.closed.Store(true)
	c.LeaveGate()
	c.port.forget(c)
	c.disown()
	return c.closeBelow()
}

// sever closes the connection as it was accepted, and wakes its reader wherever that waits.
func (c *Conn) sever() error {
	if c.gone != nil {
		c.severed.Do(func() { close(c.gone) })
	}
	return c.raw.Close()
}

// Belongs reports whether the connection belongs to an owner, of whom numbers above 0 are
// names. One without a port belongs to everybody.
func (c *Conn) Belongs(to uint64) bool { return c == nil || c.owner.Load() == to }

// Belong makes the connection that of an owner that has proved its identity. It is no
// stranger's any more. take counts it in among those of the owner, and drop, which it
// returns, out again when the connection ends or gets another owner. An error of take is
// returned; the connection is then as it was.
func (c *Conn) Belong(to uint64, take func() (drop func(), err error)) error {
	if err := c.give(to, take); err != nil {
		return err
	}
	c.port.known(c)
	return nil
}

// Lodge is Belong for a connection that has no owner, on which a caller was let in that has
// not proved its identity: it is counted in once, and stays a stranger's.
func (c *Conn) Lodge(to uint64, take func() (drop func(), err error)) error {
	if c == nil || c.owner.Load() != 0 {
		return nil
	}
	return c.give(to, take)
}

// give counts the connection in for an owner, and out for the one before.
func (c *Conn) give(to uint64, take func() (drop func(), err error)) error {
	drop, err := take()
	if err != nil {
		return err
	}
	c.disown()
	c.mu.Lock()
	c.drop = drop
	c.mu.Unlock()
	c.owner.Store(to)
	if c.closed.Load() { // meanwhile
		c.disown()
	}
	return nil
}

// disown counts the connection out of those of its owner.
func (c *Conn) disown() {
	c.mu.Lock()
	drop := c.drop
	c.drop = nil
	c.mu.Unlock()
	if drop != nil {
		drop()
	}
}

// CloseWrite lets net/http end a connection without a reset.
func (c *Conn) CloseWrite() error {
	if s := c.secret.Load(); s != nil {
		return s.conn.CloseWrite()
	}
	if half, ok := c.raw.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// RemoteAddr returns the client's address.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// Read notes what comes of a request; see gate and note.
func (c *Conn) Read(p []byte) (int, error) {
	c.LeaveGate() // more is needed before there is anything to do
	if !c.secured {
		c.secured = true
		if c.port.config.TLS != nil {
			if err := c.secure(); err != nil {
				c.sever()
				return 0, err
			}
		}
	}
	n, err := c.Conn.Read(p)
	if n > 0 && c.phase.Load() != int32(phaseServing) {
		if c.phase.Load() == int32(phaseIdle) {
			c.enter(phaseReceiving)
		}
		if c.note(p[:n]) && len(p) > 1 { // during a handler net/http reads single bytes, to learn of the client's end
			c.enterGate()
		}
	}
	return n, err
}

// Write sends an answer. Those that net/http gives by itself, before any handler
// has seen the request, become problem documents like all others.
func (c *Conn) Write(p []byte) (int, error) {
	c.LeaveGate()
	if c.phase.Load() != int32(phaseServing) {
		if err := netHTTPRefusal(p); err != nil {
			_, writeErr := c.Conn.Write(c.port.config.Problem(err))
			return len(p), writeErr
		}
	}
	return c.Conn.Write(p)
}

// Serving says that the server has what it needs of the client to go on.
func (c *Conn) Serving() {
	if c != nil && c.phase.Load() != int32(phaseServing) {
		c.enter(phaseServing)
	}
}

// connKey is the key of the Conn in a request's context.
type connKey struct{}

// Of returns the connection of a request, nil if it did not come through a Port.
func Of(r *http.Request) *Conn {
	c, _ := r.Context().Value(connKey{}).(*Conn)
	return c
}

// keepConn and noteState are hooks of http.Server.
func keepConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

func noteState(conn net.Conn, state http.ConnState) {
	c, ours := conn.(*Conn)
	if !ours {
		return
	}
	switch state {
	case http.StateIdle:
		c.enter(phaseIdle)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.recording, c.record = true, c.record[:0]
		if cap(c.record) > 4<<10 { // keep idle connections cheap
			c.record = nil
		}
	case http.StateHijacked:
		c.LeaveGate()
		c.enter(phaseServing)
	}
}

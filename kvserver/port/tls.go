package port

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/raft/certs"
)

// TLS stands between the limits of connections and the reading of headers:
//
//	TCP → limits of connections → TLS → the record of headers → net/http
//
// So a stranger costs a place before it costs a handshake, and what judges the framing of
// a request sees the bytes that net/http sees. The handshake is made by the first Read.

// Secure says how a port speaks TLS.
type Secure struct {
	// Terms are those of certs.ClientListener, by the sets in Store.
	Terms *tls.Config
	Store *certs.Store
	// Required turns away connections that do not speak TLS. Otherwise the first byte of
	// a connection decides.
	Required bool
}

// handshakeLimit bounds the time from the first look at a connection to the end of its
// handshake; see Conn.spread.
const handshakeLimit = 5 * time.Second

// handshakes bounds how many handshakes are computed at one time: half as many as there
// are processors, so that strangers that come by the thousand leave the rest to consensus.
type handshakes chan struct{}

func newHandshakes() handshakes { return make(handshakes, max(1, runtime.GOMAXPROCS(0)/2)) }

// source is the bytes of a connection below TLS. During the handshake it holds a place of
// handshakes while a part of the other side's is being worked on, and none while it waits
// for the next.
type source struct {
	net.Conn
	turn    handshakes
	gone    <-chan struct{} // see Conn.gone
	early   []byte          // read before the handshake began
	inner   bool            // a handshake is pending
	holds   bool
	closing atomic.Bool
}

// Read gives the place back while it waits for bytes. A connection that ends while it waits
// for a place is woken: nobody computes its handshake any more.
func (s *source) Read(p []byte) (n int, err error) {
	if len(s.early) > 0 {
		n = copy(p, s.early)
		s.early = s.early[n:]
		return n, nil
	}
	if !s.inner {
		return s.Conn.Read(p)
	}
	s.leave()
	n, err = s.Conn.Read(p)
	if n == 0 {
		return 0, err
	}
	select {
	case s.turn <- struct{}{}:
		s.holds = true
	case <-s.gone:
	}
	select {
	case <-s.gone: // perhaps at the same moment as the turn came
		s.leave()
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (s *source) leave() {
	if s.holds {
		s.holds = false
		<-s.turn
	}
}

// farewellLimit bounds the time in which the other side is told that a connection ends.
// Go would take five seconds for a client that reads nothing.
const farewellLimit = 20 * time.Millisecond

// SetWriteDeadline sets a deadline, and an earlier one for the farewell of TLS.
func (s *source) SetWriteDeadline(t time.Time) error {
	if s.closing.Load() {
		t = time.Now().Add(farewellLimit)
	}
	return s.Conn.SetWriteDeadline(t)
}

// secret is a connection that has passed the handshake of TLS.
type secret struct {
	conn     *tls.Conn
	below    *source
	standing *certs.Standing // nil: the client showed no certificate
}

// Secret reports whether the connection speaks TLS.
func (c *Conn) Secret() bool { return c != nil && c.secret.Load() != nil }

// closeBelow closes a connection, and says so by TLS if it speaks that.
func (c *Conn) closeBelow() error {
	s := c.secret.Swap(nil)
	if s == nil {
		return c.sever()
	}
	s.standing.Forget()
	s.below.closing.Store(true)
	return s.conn.Close()
}

// secure makes a connection one of TLS, or leaves it as it is, by its first byte. It is
// called by the first Read. An error means that the connection has ended.
func (c *Conn) secure() error {
	p, terms := c.port, c.port.config.TLS
	limit := c.spread(handshakeLimit)
	late := time.AfterFunc(limit, func() { c.sever() }) // no deadline: that is net/http's to set
	defer func() { late.Stop() }()
	if !terms.Required {
		late.Stop() // a client in clear may connect ahead of its first request
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(c.raw, first); err != nil {
		if terms.Required {
			terms.Store.Count(certs.ResultSilent)
		}
		return err
	}
	if first[0] != certs.RecordHandshake {
		if terms.Required {
			terms.Store.Count(certs.ResultClear)
			return c.refuseClear(first[0])
		}
		c.Conn = &source{Conn: c.raw, early: first}
		return nil
	}
	if !terms.Required {
		late.Reset(limit)
	}
	below := &source{Conn: c.raw, turn: p.handshakes, gone: c.gone, early: first, inner: true}
	conn := tls.Server(below, terms.Terms)
	err := conn.Handshake()
	below.leave()
	below.inner = false
	result, err := certs.Explain(err)
	terms.Store.Count(result)
	if err != nil {
		p.noteFailedHandshake(c.raw, result, err)
		return err
	}
	standing, err := terms.Store.Track(conn.ConnectionState(), x509.ExtKeyUsageClientAuth, func(why error) {
		p.config.Logger.Warn("a client's connection ends: its certificate is not good any more", "remote", c.raw.RemoteAddr().String(), "cause", why)
		c.sever()
	})
	if err != nil {
		return err
	}
	c.Conn = conn
	c.secret.Store(&secret{conn, below, standing})
	return nil
}

// noteFailedHandshake logs why a client's handshake failed. Clients may fail at any rate,
// and the log tells it now and then.
func (p *Port) noteFailedHandshake(raw net.Conn, result certs.Result, err error) {
	if result == certs.ResultSilent {
		p.config.Logger.Debug("a handshake of TLS did not end", "remote", raw.RemoteAddr().String(), "error", err)
		return
	}
	p.failed.Warn("handshakes of TLS with clients fail; raftkv_tls_handshakes_total counts them", "remote", raw.RemoteAddr().String(), "result", string(result), "cause", err)
}

// errClear ends a connection in clear to a port that takes none.
var errClear = errors.New("a client without TLS was turned away")

// refuseClear tells a client of HTTP that this port speaks TLS.
func (c *Conn) refuseClear(first byte) error {
	if first < 'A' || first > 'Z' { // it is no method
		return errClear
	}
	problem := c.port.config.Problem(failure.Of(failure.BadRequest, nil, "this port speaks TLS only; write https:// in place of http://"))
	_ = c.raw.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.raw.Write(problem); err != nil {
		return errClear
	}
	if half, ok := c.raw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	// What the client is still sending would reset the connection before the answer is
	// read.
	_, _ = io.CopyN(io.Discard, c.raw, 64<<10)
	return errClear
}

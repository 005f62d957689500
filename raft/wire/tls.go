package wire

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"raftkv/raft/certs"
	"raftkv/raft/core"
	"raftkv/raft/direct"
)

// TLS stands below the frames. A peer shows a certificate that names one server, and that
// server must be the one that its hello names and the one that was dialled, before the
// Handler hears of anything. All of it happens within the time for the hellos.

// Secure says how connections with peers speak TLS.
type Secure struct {
	Store    *certs.Store
	Identity certs.Identity
	// Dials says that connections to peers are dialled with TLS, Requires that those in
	// clear are turned away. Without Requires the first byte of a connection decides, so
	// that servers can be moved to TLS one by one.
	Dials, Requires bool
}

// line is a connection with a peer, in clear or with TLS. What travels through is settled
// before the hellos, by the goroutine that owns the connection then; only Close and
// RemoteAddr may be called by others before that.
type line struct {
	net.Conn          // raw, or TLS on it
	raw      net.Conn // as it was dialled or accepted
	named    string   // the server that the other side's certificate names
	secret   bool
	standing atomic.Pointer[certs.Standing]
}

// line prepares a fresh connection for TLS, if there is any.
func (t *Transport) line(conn net.Conn) net.Conn {
	conn = direct.Of(conn)
	if t.config.TLS == nil {
		return conn
	}
	return &line{Conn: conn, raw: conn}
}

// tcpOf returns the TCP connection below all else, nil if there is none.
func tcpOf(conn net.Conn) *net.TCPConn {
	if l, ok := conn.(*line); ok {
		conn = l.raw
	}
	return direct.TCP(conn)
}

// Close ends the connection without a farewell of TLS, for which it might have to wait.
// Frames have lengths, so nobody takes the end of the connection for the end of one.
func (l *line) Close() error {
	l.standing.Load().Forget()
	return l.raw.Close()
}

// RemoteAddr returns the other side's address.
func (l *line) RemoteAddr() net.Addr { return l.raw.RemoteAddr() }

// prefixed is a connection of which the first byte was read ahead.
type prefixed struct {
	net.Conn
	early []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.early) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.early)
	p.early = p.early[n:]
	return n, nil
}

// secureInbound makes an accepted connection one of TLS, or leaves it as it is, by its
// first byte.
func (t *Transport) secureInbound(conn net.Conn) error {
	l, ok := conn.(*line)
	if !ok {
		return nil
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(l.raw, first); err != nil {
		return err
	}
	from := &prefixed{l.raw, first}
	s := t.config.TLS
	if first[0] == certs.RecordHandshake {
		err := t.handshake(l, tls.Server(from, certs.PeerListener(s.Store, s.Identity)), x509.ExtKeyUsageClientAuth)
		if err == nil {
			t.mu.Lock()
			t.doorstep.proved(l)
			t.mu.Unlock()
		}
		return err
	}
	if s.Requires {
		s.Store.Count(certs.ResultClear)
		// A server of this program understands the alert and says what is wrong. Nothing
		// else is said: whoever speaks in clear hears no name of ours.
		_, _ = l.raw.Write(certs.ClearAlert)
		linger(l.raw)
		return &rejection{reason: ReasonIdentity, detail: "the other side speaks in clear, and this server takes peers with TLS only; move all servers to --peer-tls prefer before any to require"}
	}
	l.Conn = from
	return nil
}

// secureOutbound makes a connection that we dialled one of TLS, if we dial with TLS. The
// other side must be the server to; None stands for whichever server it is, which then
// must be the sender of its hello (see bound).
func (t *Transport) secureOutbound(conn net.Conn, to core.ID) error {
	l, ok := conn.(*line)
	if s := t.config.TLS; ok && s.Dials {
		return t.handshake(l, tls.Client(l.raw, certs.PeerDialer(s.Store, s.Identity, string(to))), x509.ExtKeyUsageServerAuth)
	}
	return nil
}

// handshake makes the handshake on a connection whose deadline is set. usage is the one
// that the other side's certificate was judged for. An error that says more than that the
// connection broke is a *rejection.
func (t *Transport) handshake(l *line, conn *tls.Conn, usage x509.ExtKeyUsage) error {
	s := t.config.TLS
	result, err := certs.Explain(conn.Handshake())
	if usage == x509.ExtKeyUsageClientAuth {
		s.Store.Count(result)
	}
	if err != nil {
		if result == certs.ResultSilent {
			return err
		}
		if usage == x509.ExtKeyUsageClientAuth {
			linger(l.raw)
		}
		return &rejection{reason: ReasonIdentity, detail: err.Error()}
	}
	state := conn.ConnectionState()
	if l.named, err = s.Identity.Of(state.PeerCertificates[0]); err != nil { // it was asked before
		return &rejection{reason: ReasonIdentity, detail: err.Error()}
	}
	standing, err := s.Store.Track(state, usage, func(why error) { t.distrust(l, why) })
	if err != nil {
		return &rejection{reason: ReasonIdentity, detail: err.Error()}
	}
	l.Conn, l.secret = conn, true
	l.standing.Store(standing)
	return nil
}

// linger reads what the other side is still sending. To close a connection with unread
// bytes would reset it, and may destroy the alert that says what was wrong.
func linger(raw net.Conn) {
	const (
		moment  = 500 * time.Millisecond
		maxRest = 64 << 10
	)
	_ = raw.SetDeadline(time.Now().Add(moment))
	if half, ok := raw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		_, _ = io.CopyN(io.Discard, raw, maxRest)
	}
}

// bound refuses a hello whose sender is another server than the one that the certificate
// of its connection names.
func (t *Transport) bound(conn net.Conn, h *hello) error {
	l, ok := conn.(*line)
	if !ok || !l.secret || t.config.TLS.Identity.Any() || core.ID(l.named) == h.From {
		return nil
	}
	return &rejection{reason: ReasonIdentity, detail: fmt.Sprintf("the hello is of server %q, and the certificate of its connection is that of server %q", h.From, l.named)}
}

// distrust ends a connection whose other side has shown a certificate that is not good
// any more.
func (t *Transport) distrust(l *line, why error) {
	t.mu.Lock()
	end := t.conns[l]
	t.mu.Unlock()
	if end != nil {
		end(fmt.Errorf("%w: %w", errUntrusted, why))
	}
}

// beginsTLS reports whether the bytes that were no frame are a record of TLS: the
// beginning of a handshake, or an alert.
func (f *frameReader) beginsTLS() bool {
	first, err := f.r.Peek(1)
	if err != nil || first[0] != certs.RecordHandshake && first[0] != certs.RecordAlert {
		return false // before waiting for bytes that may never come
	}
	word, err := f.r.Peek(2)
	return err == nil && word[1] == 3
}

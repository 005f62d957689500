package wire

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"raftkv/raft/certs"
	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/levels"
	"raftkv/raft/retransmit"
)

// Sizes of the read buffers. Peers send requests, which are often large, and
// answers, which are always small.
const (
	requestBuffer = 32 << 10
	answerBuffer  = 4 << 10
)

// stranger is a connection before the hellos have been exchanged.
type stranger struct {
	conn    net.Conn
	purpose kind         // the kind of hello, which names the purpose of the connection
	asked   bool         // our hello named no goal; see Announce
	old     bool         // the other side speaks an earlier version
	use     identity.Use // which process of the peer it is with
	frames  *frameReader
	decoder *decoder
	encoder *encoder
}

// newStranger prepares a fresh connection and bounds the time for the hellos.
func (t *Transport) newStranger(conn net.Conn, purpose kind, buffer int) (*stranger, error) {
	if tcp := tcpOf(conn); tcp != nil {
		err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
		})
		if err != nil {
			return nil, fmt.Errorf("setting keep-alive: %w", err)
		}
		if err := retransmit.Bound(tcp); err != nil {
			return nil, fmt.Errorf("bounding the waits of TCP: %w", err)
		}
	}
	if err := conn.SetDeadline(time.Now().Add(t.config.HelloTimeout)); err != nil {
		return nil, err
	}
	return &stranger{
		conn:    conn,
		purpose: purpose,
		frames:  newFrameReader(conn, buffer),
		decoder: newDecoder(),
		encoder: newEncoder(),
	}, nil
}

// introduce exchanges hellos on a connection that we dialled: ours comes first.
func (t *Transport) introduce(conn net.Conn, p *peer, purpose kind) (*stranger, error) {
	s, err := t.newStranger(conn, purpose, answerBuffer)
	if err != nil {
		return nil, err
	}
	if err := t.secureOutbound(conn, p.id); err != nil {
		return nil, err
	}
	own := t.ownHello(p.id)
	if err := s.say(own); err != nil {
		return nil, err
	}
	allowed := greetingFrames
	if purpose == kindTransferHello {
		allowed = transferGreetingFrames
	}
	h, err := s.hear(allowed)
	if errors.Is(err, errTLS) {
		err = &rejection{reason: ReasonIdentity, detail: fmt.Sprintf("the peer at %s speaks TLS only; give this server --peer-tls and a certificate", p.address())}
	}
	if errors.Is(err, errHTTP) {
		err = &rejection{reason: ReasonMalformed, detail: fmt.Sprintf("an HTTP server answers at %s: --cluster wants the addresses of the peer ports, not those of --http", p.address())}
	}
	if err == nil {
		err = t.judge(&h, func(id core.ID) bool { return id == p.id })
	}
	if err == nil {
		err = t.acquaint(s, p, &h)
	}
	if err != nil {
		return nil, err
	}
	s.asked = own.Rejoined && own.Term == 0
	t.takesBack(p)
	if !s.asked && !t.maybeStray(&h) {
		t.announced(p)
	}
	return s, conn.SetDeadline(time.Time{})
}

// receive is the first half of the exchange on an accepted connection: it reads the
// other side's hello, and sends a refusal if that does not fit. A hello that cannot
// be read gets no refusal, since its sender would not understand one. The second half
// is greetBack.
func (t *Transport) receive(conn net.Conn) (*stranger, *peer, error) {
	s, err := t.newStranger(conn, kindHello, requestBuffer)
	if err != nil {
		return nil, nil, err
	}
	if err := t.secureInbound(conn); err != nil {
		return nil, nil, err
	}
	h, err := s.hear(strangerFrames)
	if errors.Is(err, errTLS) {
		_, _ = conn.Write(certs.ClearAlert)
		linger(conn)
		err = &rejection{reason: ReasonMalformed, detail: "the other side speaks TLS, and --peer-tls of this server is off; start it with accept"}
	}
	if errors.Is(err, errHTTP) {
		s.answerHTTP()
		return nil, nil, &rejection{reason: ReasonMalformed, detail: "an HTTP client speaks to the peer port; clients use the port of --http"}
	}
	if err == nil {
		err = t.bound(conn, &h)
	}
	if err == nil && h.To == core.None {
		return nil, nil, t.answerAnybody(s, &h)
	}
	var p *peer
	if err == nil {
		err = t.judge(&h, func(core.ID) bool {
			p = t.expect(&h)
			return p != nil
		})
	}
	if err == nil {
		err = t.acquaint(s, p, &h)
	}
	if err != nil {
		var no *rejection
		if errors.As(err, &no) && no.reason != ReasonMalformed {
			// The rejection is what matters. If the other side cannot be told, that is not
			// worth an error of its own.
			_, _ = conn.Write(t.refusalFor(s, no, h.From))
		}
		return nil, nil, err
	}
	return s, p, nil
}

// refusalFor returns the refusal in the form that the other side understands.
func (t *Transport) refusalFor(s *stranger, no *rejection, to core.ID) []byte {
	if s.old {
		return s.encoder.oldRefusal(nil)
	}
	return s.encoder.refusal(nil, no, t.ownHello(to))
}

// acquaint takes note of a peer's hello. The peer's data directory must be the one
// that it had before.
func (t *Transport) acquaint(s *stranger, p *peer, h *hello) error {
	l, err := h.life()
	if err == nil {
		err = t.fits(p, l, h)
	}
	if err == nil {
		err = t.hearUID(p, h.uid(), true)
	}
	if err == nil {
		err = t.meetLife(p, l, h)
	}
	if err != nil {
		return err
	}
	s.use = l.Use()
	p.greeted(*h)
	return nil
}

// greetBack answers a hello. The connection is then established.
func (s *stranger) greetBack(h *hello) error {
	if err := s.say(h); err != nil {
		return err
	}
	return s.conn.SetDeadline(time.Time{})
}

func (t *Transport) ownHello(to core.ID) *hello {
	l, uid, standing := packLife(t.config.Life), t.UID(), t.standing()
	h := &hello{
		Magic:       magic,
		Version:     version,
		ClusterID:   t.config.ClusterID,
		From:        t.config.ID,
		To:          to,
		ClientAddr:  t.config.ClientAddr,
		Incarnation: l.incarnation,
		Boot:        t.config.Life.Boot,
		Nonces:      l.nonces,
		Rejoined:    t.config.Life.Rejoined,
		UID:         uid[:],
		Bootstrap:   t.bootstrap[:],
		LevelMin:    uint64(t.levels.Min),
		LevelMax:    uint64(t.levels.Max),
		Addresses:   packedBytes{},
		ClientTLS:   t.config.ClientTLS,
		Build:       t.config.Build,
		Term:        standing.Term,
		Last:        standing.Last,
		Commit:      standing.Commit,
	}
	if now := t.now(); now.level >= levels.Members {
		h.Generation, h.ConfigVer, h.Addresses = now.generation, now.version, packAddresses(t.config.Addresses)
	}
	return h
}

// say writes our hello.
func (s *stranger) say(h *hello) error {
	_, err := s.conn.Write(s.encoder.hello(nil, s.purpose, h))
	return err
}

// hear reads the other side's hello, which names the purpose of the connection.
// The error is a *refusedError, a *rejection of what came, or that of the
// connection.
func (s *stranger) hear(allowed limits) (hello, error) {
	k, body, err := s.frames.next(allowed)
	if errors.Is(err, errMalformed) {
		if s.frames.beginsHTTP() {
			return hello{}, errHTTP
		}
		if s.frames.beginsTLS() {
			return hello{}, errTLS
		}
		return hello{}, &rejection{reason: ReasonMalformed, detail: err.Error()}
	}
	if err != nil {
		return hello{}, err
	}
	if k == kindRefusal {
		r, err := s.decoder.refusal(body)
		if err != nil {
			return hello{}, &rejection{reason: ReasonMalformed, detail: err.Error()}
		}
		return hello{}, r
	}
	s.purpose = k
	h, err := s.decoder.hello(k, body)
	var no *rejection
	s.old = errors.As(err, &no) && no.reason == ReasonVersion && no.older
	return h, err
}

// errHTTP and errTLS mean that the other side speaks another protocol.
var (
	errHTTP = errors.New("the other side speaks HTTP")
	errTLS  = errors.New("the other side speaks TLS")
)

// beginsHTTP reports whether the bytes that were no frame are the beginning of a
// request or an answer of HTTP.
func (f *frameReader) beginsHTTP() bool {
	const shortest = 4
	if first, err := f.r.Peek(1); err != nil || first[0] < 'A' || first[0] > 'Z' {
		return false // before waiting for bytes that may never come
	}
	word, err := f.r.Peek(shortest)
	if err != nil {
		return false
	}
	switch string(word) {
	case "HTTP", "GET ", "HEAD", "POST", "PUT ", "DELE", "CONN", "OPTI", "TRAC", "PATC", "PRI ":
		return true
	}
	return false
}

// answerHTTP tells an HTTP client that it has the wrong port. It then reads the rest
// of the request, since closing a connection with unread bytes may destroy the
// answer.
func (s *stranger) answerHTTP() {
	const (
		moment   = time.Second
		maxRest  = 64 << 10
		sentence = "this is a peer port; clients use the port of --http\n"
	)
	_ = s.conn.SetDeadline(time.Now().Add(moment))
	_, err := fmt.Fprintf(s.conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(sentence), sentence)
	if tcp := tcpOf(s.conn); err == nil && tcp != nil {
		_ = tcp.CloseWrite()
		_, _ = io.CopyN(io.Discard, s.frames.r, maxRest)
	}
}

// turnedDown counts and logs an accepted connection that was not established.
func (t *Transport) turnedDown(conn net.Conn, err error) {
	reason := ReasonSilent
	var no *rejection
	var refused *refusedError
	switch {
	case errors.As(err, &no):
		reason = no.reason
	case errors.As(err, &refused):
		reason = ReasonMalformed // only the accepting side refuses
	}
	t.rejected[reason].Add(1)
	t.noteRejected(reason)
	level := slog.LevelWarn
	if errors.Is(err, io.EOF) { // a probe that connects and closes
		level = slog.LevelDebug
	}
	t.log.note(level, "rejected "+string(reason), "a connection was turned down",
		"remote", conn.RemoteAddr().String(), "reason", string(reason), "cause", err.Error())
}

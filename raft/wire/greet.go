package wire

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"raftkv/raft/core"
)

// The read buffers. What peers send us are requests, often large; what comes
// back to us are answers, always small.
const (
	requestBuffer = 32 << 10
	answerBuffer  = 4 << 10
)

// stranger is a connection before the hellos were exchanged.
type stranger struct {
	conn    net.Conn
	purpose kind // of hello: what the connection is for
	use     use  // which process of the peer it is with
	frames  *frameReader
	decoder *decoder
	encoder *encoder
}

// newStranger prepares a fresh connection and bounds the time for the hellos.
func (t *Transport) newStranger(conn net.Conn, purpose kind, buffer int) (*stranger, error) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
		})
		if err != nil {
			return nil, fmt.Errorf("setting keep-alive: %w", err)
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

// introduce is the dialling side: we say hello first, then the peer does.
func (t *Transport) introduce(conn net.Conn, p *peer, purpose kind) (*stranger, error) {
	s, err := t.newStranger(conn, purpose, answerBuffer)
	if err != nil {
		return nil, err
	}
	if err := s.say(t.ownHello(p.id)); err != nil {
		return nil, err
	}
	allowed := greetingFrames
	if purpose == kindTransferHello {
		allowed = transferGreetingFrames
	}
	h, err := s.hear(allowed)
	if err == nil {
		err = h.judge(t.config.ClusterID, t.config.ID, func(id core.ID) bool { return id == p.id })
	}
	if err == nil {
		err = t.acquaint(s, p, &h)
	}
	if err != nil {
		return nil, err
	}
	return s, conn.SetDeadline(time.Time{})
}

// receive is the first half of the accepting side: the other side says hello
// first, and gets a refusal if it does not fit. A hello that cannot be read gets
// nothing, since whoever sent it would not understand a refusal. The second
// half is greetBack.
func (t *Transport) receive(conn net.Conn) (*stranger, *peer, error) {
	s, err := t.newStranger(conn, kindHello, requestBuffer)
	if err != nil {
		return nil, nil, err
	}
	h, err := s.hear(strangerFrames)
	if err == nil {
		err = h.judge(t.config.ClusterID, t.config.ID, func(id core.ID) bool { return t.peers[id] != nil })
	}
	p := t.peers[h.From]
	if err == nil {
		err = t.acquaint(s, p, &h)
	}
	if err != nil {
		var no *rejection
		if errors.As(err, &no) && no.reason != ReasonMalformed {
			// The rejection is what matters; that it could not be told is not news.
			_, _ = conn.Write(s.encoder.refusal(nil, no.reason))
		}
		return nil, nil, err
	}
	return s, p, nil
}

// acquaint takes note of a peer's hello, whose data directory must be the one that
// it had.
func (t *Transport) acquaint(s *stranger, p *peer, h *hello) error {
	l, err := h.life()
	if err == nil {
		err = t.meetLife(p, l)
	}
	if err != nil {
		return err
	}
	s.use = l.use()
	p.greeted(*h)
	return nil
}

// greetBack answers a hello and lets the connection stand.
func (s *stranger) greetBack(h *hello) error {
	if err := s.say(h); err != nil {
		return err
	}
	return s.conn.SetDeadline(time.Time{})
}

func (t *Transport) ownHello(to core.ID) *hello {
	l := t.config.Life.pack()
	return &hello{
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
	}
}

// say writes our hello.
func (s *stranger) say(h *hello) error {
	_, err := s.conn.Write(s.encoder.hello(nil, s.purpose, h))
	return err
}

// hear reads the other side's hello, which says what the connection is for.
// The error is a *refusedError, a *rejection of what came, or that of the
// connection.
func (s *stranger) hear(allowed limits) (hello, error) {
	k, body, err := s.frames.next(allowed)
	if errors.Is(err, errMalformed) {
		return hello{}, &rejection{ReasonMalformed, err.Error()}
	}
	if err != nil {
		return hello{}, err
	}
	if k == kindRefusal {
		r, err := s.decoder.refusal(body)
		if err != nil {
			return hello{}, &rejection{ReasonMalformed, err.Error()}
		}
		return hello{}, &refusedError{r}
	}
	s.purpose = k
	return s.decoder.hello(body)
}

// turnedDown counts and logs why a connection that was accepted did not come
// to stand.
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
	t.journal.note(slog.LevelWarn, "rejected "+string(reason), "a connection was turned down",
		"remote", conn.RemoteAddr().String(), "reason", string(reason), "cause", err.Error())
}

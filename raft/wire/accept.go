package wire

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"raftkv/raft/identity"
)

// acceptPause is the time for which the acceptor rests after an error such as "too
// many open files", which passes when other files are closed.
const acceptPause = 50 * time.Millisecond

// accept is the acceptor goroutine.
func (t *Transport) accept() {
	for {
		conn, err := t.config.Listener.Accept()
		switch {
		case err == nil:
			t.admit(conn)
		case t.ctx.Err() != nil:
			return
		case errors.Is(err, net.ErrClosed):
			t.log.note(slog.LevelError, "listener", "the listener was closed from outside; peers cannot connect to this server any more")
			return
		default:
			t.log.note(slog.LevelError, "accept", "a connection could not be accepted", "cause", err.Error())
			select {
			case <-time.After(acceptPause):
			case <-t.ctx.Done():
				return
			}
		}
	}
}

// doorstep is the accepted connections on which no valid hello has come yet.
type doorstep struct {
	strangers int
	unproved  []net.Conn        // those of them that have shown no good certificate, the oldest first
	gaveWay   map[net.Conn]bool // no strangers any more, and their goroutines do not know it yet
	lastWay   time.Time         // when the last one gave way
}

// wayPause is the least time between two strangers that give way. It bounds the handshakes
// that strangers can make us compute by coming again and again, and leaves one that has just
// come the time for its own.
const wayPause = 5 * time.Millisecond

// enter gives a fresh connection one of limit places. Where all are taken, the oldest that has
// proved nothing gives way: a peer says hello within milliseconds, and whoever holds places
// in silence would keep out every peer that comes. It returns that one, if any, and whether
// there is a place.
func (d *doorstep) enter(conn net.Conn, limit int, now time.Time) (gone net.Conn, ok bool) {
	switch {
	case d.strangers < limit:
		d.strangers++
	case len(d.unproved) == 0 || now.Sub(d.lastWay) < wayPause:
		return nil, false
	default:
		gone, d.unproved = d.unproved[0], d.unproved[1:]
		d.gaveWay[gone], d.lastWay = true, now
	}
	d.unproved = append(d.unproved, conn)
	return gone, true
}

// proved notes that a stranger has shown the certificate of a peer: it gives way to nobody.
func (d *doorstep) proved(conn net.Conn) {
	d.unproved = slices.DeleteFunc(d.unproved, func(c net.Conn) bool { return c == conn })
}

// leave is the opposite of enter. It reports whether the stranger had given way.
func (d *doorstep) leave(conn net.Conn) (gaveWay bool) {
	if d.gaveWay[conn] {
		delete(d.gaveWay, conn)
		return true
	}
	d.proved(conn)
	d.strangers--
	return false
}

// admit gives an accepted connection its reader, unless too many others are
// still waiting to say hello.
func (t *Transport) admit(conn net.Conn) {
	conn = t.line(conn)
	t.mu.Lock()
	gone, ok := t.doorstep.enter(conn, t.config.MaxStrangers, time.Now())
	t.mu.Unlock()
	if !ok {
		conn.Close()
		t.turnedDown(conn, errCrowded)
		return
	}
	if gone != nil {
		gone.Close()
	}
	t.work.Go(func() { t.serve(conn) })
}

var errCrowded = &rejection{reason: ReasonCrowded, detail: "too many connections have not yet said hello"}

// serve is the reader goroutine of an accepted connection, from the hello to
// the end.
func (t *Transport) serve(conn net.Conn) {
	s, p := t.meet(conn)
	if s == nil {
		return
	}
	if s.purpose == kindTransferHello {
		t.receiveSnapshot(s, p)
		return
	}
	in := t.establish(s, p)
	if in == nil {
		return
	}
	t.work.Go(in.write)
	in.read()
	t.retire(in)
}

// meet reads the hello on an accepted connection. If the hello is turned down, it
// closes the connection and returns nil.
func (t *Transport) meet(conn net.Conn) (*stranger, *peer) {
	if !t.track(conn, func(error) { conn.Close() }) {
		t.noLongerStranger(conn)
		return nil, nil
	}
	s, p, err := t.receive(conn)
	if t.noLongerStranger(conn) {
		err = errCrowded
	}
	if err != nil {
		conn.Close()
		t.forget(conn)
		if t.ctx.Err() == nil && !errors.Is(err, errAnswered) {
			t.turnedDown(conn, err)
		}
		return nil, nil
	}
	return s, p
}

// establish answers the hello of a connection for requests. If that fails, it
// closes the connection and returns nil.
func (t *Transport) establish(s *stranger, p *peer) *inbound {
	conn := s.conn
	s.frames.conn, s.frames.stall = conn, t.config.StallTimeout
	in := newInbound(t, p, conn, s.frames, s.decoder)
	in.use = s.use
	old, ok := t.install(in, s.use)
	if !ok {
		return nil
	}
	// Our hello is sent after the installation. So a peer that has heard it and dials
	// once more is installed later, and its new connection is not replaced by this one.
	if err := s.greetBack(t.ownHello(p.id)); err != nil {
		in.fail(fmt.Errorf("%w: %w", errLeftEarly, err))
	} else {
		p.accepts.Add(1)
		t.config.Noted(Note{Kind: NoteAccepted, Peer: p.id, Boot: s.use.Boot})
		p.nudge() // the peer is there, so our own connection to it should be, too
		t.log.note(slog.LevelInfo, "accepted "+string(p.id), "a peer connected", "peer", string(p.id), "remote", conn.RemoteAddr().String())
	}
	if old != nil {
		// The peer has given the old connection up. Until the old reader has handed over
		// the request it is holding, a request of the new connection could overtake it.
		old.fail(errReplaced)
		<-old.ended
	}
	return in
}

// noLongerStranger gives back the place of an accepted connection. It reports whether that
// had given way to another one already.
func (t *Transport) noLongerStranger(conn net.Conn) (gaveWay bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.doorstep.leave(conn)
}

// install makes in the peer's connection and returns the one it replaces. If Close
// has already begun, or a later process of the peer was met meanwhile, it ends in
// and returns false.
func (t *Transport) install(in *inbound, u identity.Use) (old *inbound, ok bool) {
	if !t.track(in.conn, in.fail) {
		return nil, false
	}
	t.mu.Lock()
	stands := in.peer.stands(u)
	if stands {
		old, in.peer.in = in.peer.in, in
	}
	t.mu.Unlock()
	if !stands {
		in.fail(errReplaced)
	}
	return old, stands
}

// retire forgets a connection whose reader has ended. Until then a newer
// connection must find it, to wait for that end.
func (t *Transport) retire(in *inbound) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if in.peer.in == in {
		in.peer.in = nil
	}
}

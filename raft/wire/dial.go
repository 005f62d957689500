package wire

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"
)

// dial is the dialler goroutine of one peer. As long as the peer is one, it keeps a
// connection open, whether there is anything to send or not; otherwise the first
// election after a start would wait for one.
func (t *Transport) dial(p *peer) {
	pause := backoff{min: t.config.BackoffMin, max: t.config.BackoffMax}
	for p.ctx.Err() == nil {
		out, err := t.connect(p)
		if err == nil {
			pause.reset()
			t.run(out)
		} else if p.ctx.Err() == nil {
			t.failedToConnect(p, err)
		}
		t.rest(p, pause.next())
	}
}

// connect makes one attempt to connect.
func (t *Transport) connect(p *peer) (*outbound, error) {
	ctx, cancel := context.WithTimeout(p.ctx, t.config.DialTimeout)
	defer cancel()
	conn, err := t.config.Dial(ctx, p.nextAddress())
	if err != nil {
		return nil, err
	}
	conn = t.line(conn)
	if !t.track(conn, func(error) { conn.Close() }) {
		return nil, errTransportClosed
	}
	s, err := t.introduce(conn, p, kindHello)
	if err != nil {
		conn.Close()
		t.forget(conn)
		return nil, err
	}
	out := newOutbound(t, p, conn, s.frames, s.decoder)
	out.use, out.asked = s.use, s.asked
	if !t.track(conn, out.fail) {
		return nil, errTransportClosed
	}
	return out, nil
}

// run lets a connection be used until it ends.
func (t *Transport) run(out *outbound) {
	p := out.peer
	t.mu.Lock()
	var cause error
	switch {
	case !p.stands(out.use):
		cause = errReplaced
	case t.announcing && out.asked:
		cause = errAnnouncing // the peer has not heard the announcement yet
	default:
		p.out.Store(out)
	}
	t.mu.Unlock()
	if cause != nil {
		out.fail(cause)
		return
	}
	p.connects.Add(1)
	t.config.Noted(Note{Kind: NoteConnected, Peer: p.id, Boot: out.use.Boot})
	t.log.note(slog.LevelInfo, "connected "+string(p.id), "connected to a peer", "peer", string(p.id), "address", p.address())
	t.work.Go(out.write)
	t.work.Go(out.read)
	<-out.dead
	p.out.Store(nil)
}

// rest waits for the time of the next attempt: until the pause is over or the peer
// connects to us, which shows that it is there.
func (t *Transport) rest(p *peer, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.wake:
	case <-p.ctx.Done():
	}
}

// failedToConnect counts and logs an attempt that failed.
func (t *Transport) failedToConnect(p *peer, err error) {
	p.dialFailures.Add(1)
	if lookup := (*net.DNSError)(nil); errors.As(err, &lookup) {
		p.lookupFailures.Add(1)
	}
	t.config.Noted(Note{Kind: NoteUnreachable, Why: whyUnreachable(err), Peer: p.id})
	var no *rejection
	var refused *refusedError
	switch {
	case errors.As(err, &no):
		t.rejected[no.reason].Add(1)
	case errors.As(err, &refused):
		t.refused(p, refused)
	}
	level, what := slog.LevelWarn, "a peer cannot be reached"
	if !t.now().stays(p) { // it ends as soon as it knows, and nobody need look for it
		level, what = slog.LevelInfo, "a peer that was removed, or is about to be, cannot be reached any more"
	}
	t.log.note(level, "dial "+string(p.id), what,
		"peer", string(p.id), "address", p.address(), "cause", err.Error())
}

// backoff computes the pauses between attempts. Each is twice as long as the one
// before, up to max, and half of it is random, so that servers that failed together
// do not try again together.
type backoff struct {
	min, max time.Duration
	last     time.Duration
}

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, b.min), b.max)
	half := b.last / 2
	return b.last - rand.N(half+1)
}

func (b *backoff) reset() { b.last = 0 }

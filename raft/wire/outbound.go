package wire

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// minLinkRate is the rate of the slowest link that must not be taken for a dead one,
// in bytes per second: 1 Mbit/s.
const minLinkRate = 128 << 10

// burstBytes is the length at which the writer stops gathering frames.
const burstBytes = 256 << 10

// pending is a call that has no answer yet.
type pending struct {
	call  core.Call
	done  func(core.Call, core.Reply)
	kind  kind // of the request
	bytes int  // upper bound of its frame's length
}

// outbound is a connection that we dialled: requests leave on it and their
// answers come back, both in order except for those of overtake.go.
type outbound struct {
	t    *Transport
	peer *peer
	conn net.Conn
	dead chan struct{} // closed by fail
	use  identity.Use  // which process of the peer it is with

	asked bool // our hello named no goal; see Announce

	frames  *frameReader // the reader's
	decoder *decoder     // the reader's

	mu    sync.Mutex
	work  sync.Cond // a call was queued, or the connection failed
	cause error     // why it failed; nil while it stands
	calls fifo[pending]
	older int        // index in calls of the call that the next answer is for
	taken int        // number of calls, the oldest ones, that are with the writer or the peer
	bytes int64      // sum over calls
	since time.Time  // when the oldest taken call became that
	news  *statement // to be told before the next request
	told  statement  // what the peer has heard last
	armed bool       // a read deadline is set, after which the oldest taken call is looked at
}

func newOutbound(t *Transport, p *peer, conn net.Conn, frames *frameReader, d *decoder) *outbound {
	c := &outbound{t: t, peer: p, conn: conn, dead: make(chan struct{}), frames: frames, decoder: d}
	c.work.L = &c.mu
	return c
}

// send queues a call. It returns false, and has no effect, if there is no room for
// the call or the connection has failed.
func (c *outbound) send(p pending) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return false
	}
	full := c.calls.len() >= c.t.config.MaxCalls || c.bytes+int64(p.bytes) > c.t.config.MaxCallBytes
	if full && c.calls.len() > 0 {
		return false
	}
	c.calls.push(p)
	c.bytes += int64(p.bytes)
	c.work.Signal()
	return true
}

// tell queues a statement about our disk, unless the peer has heard it.
func (c *outbound) tell(s statement) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil && s != c.told {
		c.told, c.news = s, &s
		c.work.Signal()
	}
}

// fail ends the connection, the first time it is called: every call without an
// answer is lost. No lock may be held.
func (c *outbound) fail(cause error) {
	c.mu.Lock()
	if c.cause != nil {
		c.mu.Unlock()
		return
	}
	c.cause = cause
	lost := c.calls.drain()
	c.taken, c.bytes = 0, 0
	c.work.Broadcast()
	c.mu.Unlock()

	c.conn.Close()
	close(c.dead)
	// A suspicion is urgent, and the lost calls may be many.
	c.t.ended(c.peer, c.conn, "outbound", cause)
	for _, p := range lost {
		c.peer.lose(p.call, p.done)
	}
}

// load returns whether the connection stands, and the number and bytes of the calls
// without an answer.
func (c *outbound) load() (stands bool, calls int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause == nil, c.calls.len(), c.bytes
}

// write is the writer goroutine. Everything that is queued leaves in one write.
func (c *outbound) write() {
	e := newEncoder()
	var requests []core.Request
	var out []byte
	for {
		var news *statement
		requests, news = c.take(requests[:0])
		frames := len(requests)
		if frames == 0 && news == nil {
			return
		}
		out = out[:0]
		if news != nil {
			out = e.standing(out, news.Standing, news.uid)
			frames++
		}
		for _, request := range requests {
			framed, err := e.request(out, request)
			if err != nil {
				// Send measured it and let it pass.
				panic("wire: a queued request has no frame: " + err.Error())
			}
			out = framed
		}
		if err := writeAll(c.conn, out, c.t.config.StallTimeout); err != nil {
			c.fail(err)
			return
		}
		c.peer.sent(frames, len(out))
		clear(requests)
		if cap(out) > retainedBytes {
			out = nil
		}
	}
}

// take waits for calls that are still to be written, or a statement, and appends
// the requests to dst, up to about one burst. It returns nothing when the
// connection failed.
func (c *outbound) take(dst []core.Request) (requests []core.Request, news *statement) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.cause == nil && c.taken == c.calls.len() && c.news == nil {
		c.work.Wait()
	}
	if c.cause != nil {
		return dst[:0], nil
	}
	news, c.news = c.news, nil
	if c.taken == c.calls.len() {
		return dst[:0], news
	}
	now := time.Now()
	if c.taken == 0 {
		c.since = now
	}
	for size := 0; c.taken < c.calls.len() && size < burstBytes; c.taken++ {
		p := c.calls.at(c.taken)
		dst = append(dst, p.call.Request)
		size += p.bytes
	}
	if !c.armed {
		c.armed = true
		c.setDeadline(c.deadline())
	}
	return dst, news
}

// read is the reader goroutine: it matches answers with calls.
func (c *outbound) read() {
	for {
		k, body, err := c.frames.next(answerFrames)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if c.rearm(time.Now()) {
				continue
			}
			err = errCallTimeout
		}
		if err != nil {
			c.fail(err)
			return
		}
		if k == kindOvertakes {
			err = c.overtaken(body)
		} else {
			err = c.answered(k, body)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

// answered ends the call whose answer came: the oldest one, unless the answer
// overtakes others.
func (c *outbound) answered(k kind, body []byte) error {
	want, any := c.awaited()
	if !any {
		return malformed("an answer of kind 0x%02x, and no call waits for one", uint8(k))
	}
	if k != want && k != kindNoReply {
		return malformed("an answer of kind 0x%02x where 0x%02x was due", uint8(k), uint8(want))
	}
	reply, err := c.decoder.reply(k, body)
	if err != nil {
		return err
	}
	c.peer.received(headerBytes + len(body))
	p, ok := c.pop()
	if !ok {
		return nil // fail has taken all calls and told them so
	}
	if reply == nil || c.t.muted.Load() {
		c.peer.lose(p.call, p.done)
		return nil
	}
	p.done(p.call, reply)
	return nil
}

// awaited returns the kind of answer that must come next, if any may come.
func (c *outbound) awaited() (want kind, any bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil || c.taken == 0 {
		return 0, false
	}
	return c.calls.at(c.older).kind.answer(), true
}

// pop takes out the call whose answer came. The goroutine that takes a call out ends
// it, so that each ends once.
func (c *outbound) pop() (pending, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return pending{}, false
	}
	p := c.calls.remove(c.older)
	c.taken--
	c.bytes -= int64(p.bytes)
	if c.older == 0 {
		c.since = time.Now()
	}
	c.older = 0
	return p, true
}

// rearm is called when the read deadline has passed, and reports whether reading
// goes on. One deadline serves many calls, because setting one for each would cost
// more than the call. It is set when there was none. When it passes, the call that is
// then the oldest is checked for having waited too long.
func (c *outbound) rearm(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return false
	}
	if c.taken == 0 {
		c.armed = false
		c.setDeadline(time.Time{})
		return true
	}
	deadline := c.deadline()
	if !now.Before(deadline) {
		return false
	}
	c.setDeadline(deadline)
	return true
}

// deadline returns the time at which the oldest taken call has waited too long.
// There must be such a call. The calls before it are answered, so only its own frame
// may have to be sent before its answer can come.
func (c *outbound) deadline() time.Time {
	transfer := time.Duration(c.calls.at(0).bytes) * time.Second / minLinkRate
	return c.since.Add(c.t.config.CallTimeout + transfer)
}

// setDeadline sets the read deadline under the lock, so that two settings
// cannot overtake each other. It touches a timer, not the network; if the
// connection is already closed, the reader finds out by itself.
func (c *outbound) setDeadline(deadline time.Time) {
	_ = c.conn.SetReadDeadline(deadline)
}

// writeAll writes b in pieces, each of which must leave within stall.
func writeAll(conn net.Conn, b []byte, stall time.Duration) error {
	for len(b) > 0 {
		if err := conn.SetWriteDeadline(time.Now().Add(stall)); err != nil {
			return err
		}
		n := min(len(b), pieceBytes)
		if _, err := conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

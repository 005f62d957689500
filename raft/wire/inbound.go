package wire

import (
	"fmt"
	"net"
	"sync"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// slot is the place of a request's answer in the order of the answers.
type slot struct {
	kind  kind // of the answer
	bytes int  // of the request's frame
	lane  lane // the order that it must keep
	given bool // answer was called
	reply core.Reply
}

// inbound is a connection that a peer dialled: the peer's requests come in on it and
// our answers leave, both in order except for those of overtake.go.
type inbound struct {
	t     *Transport
	peer  *peer
	conn  net.Conn
	use   identity.Use  // which process of the peer it is with
	ended chan struct{} // closed when no more requests will be handed over

	frames  *frameReader // the reader's
	decoder *decoder     // the reader's

	mu    sync.Mutex
	work  sync.Cond // the oldest slot was filled, or the connection failed
	room  sync.Cond // slots became fewer, or the connection failed
	cause error     // why it failed; nil while it stands
	slots fifo[*slot]
	bytes int64 // sum over slots
}

func newInbound(t *Transport, p *peer, conn net.Conn, frames *frameReader, d *decoder) *inbound {
	c := &inbound{t: t, peer: p, conn: conn, ended: make(chan struct{}), frames: frames, decoder: d}
	c.work.L = &c.mu
	c.room.L = &c.mu
	return c
}

// fail ends the connection, the first time it is called. Later answers are dropped.
// No lock may be held.
func (c *inbound) fail(cause error) {
	c.mu.Lock()
	if c.cause != nil {
		c.mu.Unlock()
		return
	}
	c.cause = cause
	c.slots.drain()
	c.bytes = 0
	c.work.Broadcast()
	c.room.Broadcast()
	c.mu.Unlock()

	c.conn.Close()
	c.t.ended(c.peer, c.conn, "inbound", cause)
}

// load returns whether the connection stands, and the number of requests without an
// answer.
func (c *inbound) load() (stands bool, held int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause == nil, c.slots.len()
}

// read is the reader goroutine: it hands requests over in order. While too many
// have no answer it does not read, and finally the peer's writes wait.
func (c *inbound) read() {
	defer close(c.ended)
	for c.waitForRoom() {
		k, body, err := c.frames.next(requestFrames)
		if err != nil {
			c.fail(err)
			return
		}
		if k == kindStanding {
			if err := c.hearStanding(body); err != nil {
				c.fail(err)
				return
			}
			continue
		}
		request, err := c.decoder.request(k, body)
		if err != nil {
			c.fail(err)
			return
		}
		frameBytes := headerBytes + len(body)
		c.peer.received(frameBytes)
		s := &slot{kind: k.answer(), bytes: frameBytes, lane: laneOf(request)}
		if !c.open(s) {
			return
		}
		if c.t.muted.Load() {
			c.answer(s, nil)
			continue
		}
		c.t.handler.Receive(c.peer.id, request, func(reply core.Reply) { c.answer(s, reply) })
	}
}

// hearStanding takes note of a peer's standing.
func (c *inbound) hearStanding(body []byte) error {
	standing, uid, err := c.decoder.standing(body)
	if err != nil {
		return err
	}
	c.peer.received(headerBytes + len(body))
	return c.t.hearStanding(c.peer, c.use, standing, uid)
}

// waitForRoom waits until one more request may be taken in. It returns false
// when the connection failed.
func (c *inbound) waitForRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.cause == nil && (c.slots.len() >= c.t.config.MaxRequests || c.bytes >= c.t.config.MaxRequestBytes) {
		c.room.Wait()
	}
	return c.cause == nil
}

// open adds a slot after the others. It returns false when the connection failed.
func (c *inbound) open(s *slot) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return false
	}
	c.slots.push(s)
	c.bytes += int64(s.bytes)
	return true
}

// answer fills a slot; nil means that there is no answer to this request. It wakes
// the writer only if the answer may leave now.
func (c *inbound) answer(s *slot, reply core.Reply) {
	if k := replyKind(reply); k != s.kind && k != kindNoReply {
		panic(fmt.Sprintf("wire: a %T is not the answer to a request whose answer has kind 0x%02x", reply, uint8(s.kind)))
	}
	if c.t.muted.Load() {
		reply = nil // a muted server promises nothing
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.given {
		panic(fmt.Sprintf("wire: a request of %q was answered twice; the second answer would be taken for that of another", c.peer.id))
	}
	s.given, s.reply = true, reply
	if s.lane == lanePrompt || c.slots.len() > 0 && *c.slots.at(0) == s {
		c.work.Signal()
	}
}

// write is the writer goroutine. All answers that may leave now leave in one write.
func (c *inbound) write() {
	e := newEncoder()
	var replies []departing
	var out []byte
	for {
		var more bool
		if replies, more = c.take(replies[:0]); !more {
			return
		}
		out = out[:0]
		frames := len(replies)
		for _, reply := range replies {
			out = e.answer(out, reply)
			if reply.older > 0 {
				frames++
			}
		}
		if err := writeAll(c.conn, out, c.t.config.StallTimeout); err != nil {
			c.fail(err)
			return
		}
		c.peer.sent(frames, len(out))
		clear(replies)
	}
}

// take waits until answers may leave and appends them to dst. It returns false
// when the connection failed.
func (c *inbound) take(dst []departing) ([]departing, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.cause == nil {
		if dst = c.gather(dst); len(dst) > 0 {
			c.room.Signal()
			return dst, true
		}
		c.work.Wait()
	}
	return dst, false
}

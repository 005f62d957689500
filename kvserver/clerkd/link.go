package clerkd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// link is a connection to another node on which commands are forwarded. Its queue
// holds calls, not bytes: a call whose time ends in the queue is taken out, and it is
// certain that nothing of it has left. One goroutine writes, one reads.
type link struct {
	conn          net.Conn
	frames        *clerkwire.FrameReader
	node, address string
	closing       atomic.Bool // no more calls are taken

	mu      sync.Mutex // guards the fields below and the calls' states; not held while writing
	work    sync.Cond  // there is something to write, or an end
	queue   []*linkCall
	sent    map[uint32]*linkCall // by number; without an answer
	last    uint32               // number of the last call
	answers uint64               // that came so far
	failed  error                // why the link has ended; nil while it stands
}

// linkCall is one command on a link. Whoever takes it out of the queue or the map of
// those sent decides how it ends; then done has room for one word of it.
type linkCall struct {
	message clerkwire.Forward
	number  uint32
	state   callState
	leftAt  time.Time
	heard   uint64 // answers on the link when the call left

	done   chan struct{}
	answer kvserver.Forwarded
	err    error // instead of an answer
}

// callState says how far a call has come.
type callState uint8

const (
	callQueued callState = iota // nothing of it has left this node
	callSent                    // it may have reached the other
	callEnded                   // it has its answer, or has none
)

const (
	// batchBytes is about how many bytes leave in one write.
	batchBytes = 64 << 10
	// silenceLimit is how long a call waits, while nothing comes at all, before its
	// end casts doubt on the link.
	silenceLimit = time.Second
)

var (
	// errNotSent says that nothing of a command has left this node.
	errNotSent  = errors.New("the connection ended before the command was sent")
	errDrained  = errors.New("the other node takes no more commands on the connection")
	errSilent   = errors.New("nothing came on the connection for too long")
	errNoAnswer = errors.New("no answer came")
)

// newLink returns a link on a connection that has been greeted.
func newLink(conn net.Conn, early *bufio.Reader, node, address string) *link {
	l := &link{
		conn: conn, frames: clerkwire.NewFrameReader(conn, early, clerkwire.ForwardAnswers),
		node: node, address: address, sent: map[uint32]*linkCall{},
	}
	l.work.L = &l.mu
	return l
}

// run moves frames until the connection ends.
func (l *link) run() {
	var writing sync.WaitGroup
	writing.Go(func() { l.fail(l.write()) })
	l.fail(l.read())
	writing.Wait()
}

// carry sends a command and waits for its answer, until ctx ends at most. errNotSent
// says that it has not left and never will; every other error is for the client.
func (l *link) carry(ctx context.Context, m clerkwire.Forward) (kvserver.Forwarded, error) {
	c := &linkCall{message: m, done: make(chan struct{}, 1)}
	if !l.push(c) {
		return kvserver.Forwarded{}, errNotSent
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		switch l.withdraw(c) {
		case callQueued:
			return kvserver.Forwarded{}, errNotSent
		case callSent:
			return kvserver.Forwarded{}, failure.AnswerLost(ctx, l.node, errNoAnswer)
		}
		<-c.done // it ended at the same moment
	}
	if lost := (*lostError)(nil); errors.As(c.err, &lost) {
		return kvserver.Forwarded{}, failure.AnswerLost(ctx, l.node, lost.cause)
	}
	return c.answer, c.err
}

// lostError says that the link ended while a call had left and had no answer.
type lostError struct{ cause error }

func (e *lostError) Error() string {
	return "the connection ended before the answer came: " + e.cause.Error()
}

// push puts a call into the queue. It reports false if the link takes none.
func (l *link) push(c *linkCall) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing.Load() {
		return false
	}
	l.queue = append(l.queue, c)
	if len(l.queue) == 1 {
		l.work.Signal()
	}
	return true
}

// withdraw ends a call whose time is over, and returns how far it had come.
func (l *link) withdraw(c *linkCall) callState {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := c.state
	c.state = callEnded
	switch was {
	case callQueued:
		at := slices.Index(l.queue, c)
		l.queue = slices.Delete(l.queue, at, at+1)
	case callSent:
		delete(l.sent, c.number)
		if c.heard == l.answers && time.Since(c.leftAt) >= silenceLimit {
			// The other node may have gone without a word, and TCP may take minutes
			// to notice.
			l.awayLocked()
		}
		l.drainLocked(errSilent)
	}
	return was
}

// write sends what is in the queue until the link ends.
func (l *link) write() error {
	var out []byte
	for {
		var more bool
		if out, more = l.take(out[:0]); !more {
			return nil
		}
		if err := l.conn.SetWriteDeadline(time.Now().Add(clerkwire.StallTimeout)); err != nil {
			return err
		}
		if _, err := l.conn.Write(out); err != nil {
			return err
		}
	}
}

// take waits for calls and adds their frames to out; they count as sent. All that
// come during one write leave in the next. It reports false at the end of the link.
func (l *link) take(out []byte) (frames []byte, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && l.failed == nil {
		l.work.Wait()
		// Requests that are about to add a call do so before this goroutine runs
		// again, and all leave in one write.
		l.mu.Unlock()
		runtime.Gosched()
		l.mu.Lock()
	}
	if l.failed != nil {
		return out, false
	}
	now, n := time.Now(), 0
	for n < len(l.queue) && len(out) < batchBytes {
		c := l.queue[n]
		c.number, c.state, c.leftAt, c.heard = l.nextNumber(), callSent, now, l.answers
		l.sent[c.number] = c
		out = clerkwire.AppendFrame(out, clerkwire.KindForward, c.number, c.message)
		n++
	}
	l.queue = slices.Delete(l.queue, 0, n)
	return out, true
}

// nextNumber returns a number that no call without an answer has.
func (l *link) nextNumber() uint32 {
	l.last++
	for l.sent[l.last] != nil { // after four billion calls
		l.last++
	}
	return l.last
}

// read takes answers until the connection ends, and returns why it ended.
func (l *link) read() error {
	for {
		h, err := l.frames.Next()
		if err != nil {
			return err
		}
		body, err := l.frames.Body(h)
		if err != nil {
			return err
		}
		if h.Kind == clerkwire.KindGoodbye {
			l.sendAway()
			continue
		}
		c := l.pop(h.Number)
		if c == nil {
			continue // nobody waits for it any more
		}
		if err := c.take(l.node, h.Kind, body); err != nil {
			c.err = &lostError{err}
			c.done <- struct{}{}
			return err
		}
		c.done <- struct{}{}
	}
}

// pop takes out a call that has its answer; nil if nobody waits for it any more.
func (l *link) pop(number uint32) *linkCall {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers++
	c := l.sent[number]
	if c != nil {
		c.state = callEnded
		delete(l.sent, number)
	}
	l.drainLocked(errDrained)
	return c
}

// take reads the answer to a call. The error says that it is none.
func (c *linkCall) take(node string, kind clerkwire.Kind, body []byte) error {
	if kind == clerkwire.KindRefused {
		var m clerkwire.Refused
		if err := m.Parse(body); err != nil {
			return err
		}
		c.refused(node, &m)
		return nil
	}
	var m clerkwire.Forwarded
	if err := m.Parse(body); err != nil {
		return err
	}
	if m.Status > uint64(^kv.Status(0)) {
		return fmt.Errorf("the result has the status %d", m.Status)
	}
	c.answer = kvserver.Forwarded{Node: m.Node, Leader: m.Leader, Term: m.Term, Logged: true, Result: kv.Result{
		Status: kv.Status(m.Status), Revision: m.Revision, Version: m.Version, Length: m.Length,
		Created: m.Created, Deleted: m.Deleted, Replayed: m.Replayed,
	}}
	if status := c.answer.Result.Status; status != kv.StatusOK && status != kv.StatusQueued {
		c.answer.Refusal = kvserver.RefusedThere(c.answer, m.Detail)
	}
	return nil
}

// refused notes that the other node did not take the command, or does not know what
// became of it.
func (c *linkCall) refused(node string, m *clerkwire.Refused) {
	kind := failure.OfAnswer(m.Code, m.Outcome)
	if failure.TriedElsewhere(kind.Header()) {
		c.err = failure.TurnedDown(node, m.Detail)
		return
	}
	kind.Retryable, kind.RetryAfter = m.Retryable, m.RetryAfter
	c.answer = kvserver.Forwarded{Node: m.Node, Leader: m.Leader, Term: m.Term, Refusal: &kvserver.Refusal{
		Kind: kind, Detail: m.Detail, Node: m.Node, Leader: m.Leader, LeaderAddr: m.LeaderAddr, Term: m.Term,
	}}
}

// usable reports whether the link takes calls.
func (l *link) usable() bool { return !l.closing.Load() }

// sendAway makes the link take no more calls. Those that have left go on.
func (l *link) sendAway() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awayLocked()
	l.drainLocked(errDrained)
}

// awayLocked ends the calls that have not left, and takes no more. The link ends with
// the last answer.
func (l *link) awayLocked() {
	l.closing.Store(true)
	for _, c := range l.queue {
		c.state, c.err = callEnded, errNotSent
		c.done <- struct{}{}
	}
	l.queue = nil
}

// drainLocked ends a link that takes no calls and has none.
func (l *link) drainLocked(cause error) {
	if l.closing.Load() && len(l.sent) == 0 {
		l.failLocked(cause)
	}
}

// fail ends the link and all calls on it. Only the first call has an effect.
func (l *link) fail(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failLocked(cause)
}

func (l *link) failLocked(cause error) {
	if l.failed != nil {
		return
	}
	if cause == nil {
		cause = errDrained
	}
	l.failed = cause
	l.awayLocked()
	for number, c := range l.sent { // any order will do
		delete(l.sent, number)
		c.state, c.err = callEnded, &lostError{cause}
		c.done <- struct{}{}
	}
	l.conn.Close() // does not wait
	l.work.Broadcast()
}

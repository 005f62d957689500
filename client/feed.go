package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"raftkv/kvserver/clerkwire"
)

const (
	// maxContent is the most that one change can be, with what else comes with it.
	maxContent = 64 << 20
	// creditStep is how much a caller takes before the server is told.
	creditStep = clerkwire.FirstCredit / 4
)

// errTooMuch says that a server sends more than it was given credit for.
var errTooMuch = errors.New("the server sends more than a watch has room for")

// feed is one watch on one connection: what has come and was not taken yet. That is at
// most the credit that the server has, and one change.
type feed struct {
	conn     *conn // set when the watch is in place, as number is
	number   uint32
	watching clerkwire.Watching
	come     chan struct{} // holds a token when there is something new
	taken    uint64        // of the caller: bytes that the server was not told of

	mu      sync.Mutex // guards the fields below
	partial []byte     // of a content that has not come to its end
	queue   [][]byte   // contents, the eldest first
	held    int        // bytes of both
	ended   *clerkwire.Ended
	failed  error // why the connection ended
}

func newFeed() *feed { return &feed{come: make(chan struct{}, 1)} }

// push adds what came. The error says that it is not what may come.
func (f *feed) push(m *clerkwire.Changes) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held+len(m.Content) > clerkwire.FirstCredit+maxContent {
		return errTooMuch
	}
	f.held += len(m.Content)
	if m.More || len(f.partial) > 0 {
		f.partial = append(f.partial, m.Content...)
	}
	if m.More {
		return nil
	}
	content := f.partial
	if f.partial = nil; content == nil {
		content = bytes.Clone(m.Content)
	}
	f.queue = append(f.queue, content)
	f.note()
	return nil
}

// end notes that nothing more will come: ended, or the failure of the connection.
func (f *feed) end(ended *clerkwire.Ended, failed error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended, f.failed = ended, failed
	f.note()
}

func (f *feed) note() {
	select {
	case f.come <- struct{}{}:
	default: // the caller will look anyway
	}
}

// feedEnd is why a feed brings no more.
type feedEnd struct {
	ended  *clerkwire.Ended // what the server said; nil: the connection was lost
	failed error
}

// next waits for the next content and takes it; its bytes are the caller's. The error is
// that of a context, or nil with the end of the feed, which comes behind its last content.
func (f *feed) next(ctx, lifetime context.Context) (content []byte, end *feedEnd, err error) {
	for {
		if content, end = f.pop(); content != nil || end != nil {
			return content, end, nil
		}
		select {
		case <-f.come:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-lifetime.Done():
			return nil, nil, context.Cause(lifetime)
		}
	}
}

func (f *feed) pop() (content []byte, end *feedEnd) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case len(f.queue) > 0:
		content, f.queue[0] = f.queue[0], nil
		f.queue = f.queue[1:]
		f.held -= len(content)
		return content, nil
	case f.ended != nil || f.failed != nil:
		return nil, &feedEnd{f.ended, f.failed}
	}
	return nil, nil
}

// took notes that the caller has taken n bytes, so that the server may send as
// many.
func (f *feed) took(n int) {
	if f.taken += uint64(n); f.taken >= creditStep {
		f.conn.out.End(clerkwire.AppendFrame(f.conn.out.Begin(), clerkwire.KindCredit, f.number, clerkwire.Credit{Bytes: f.taken}))
		f.taken = 0
	}
}

// leave ends the feed: the caller wants no more of it.
func (f *feed) leave() {
	if f.conn.forget(f.number) {
		f.conn.unwatch(f.number)
	}
}

// unwatch tells the server to end a watch.
func (c *conn) unwatch(number uint32) {
	c.out.End(clerkwire.AppendFrame(c.out.Begin(), clerkwire.KindUnwatch, number, clerkwire.Empty{}))
}

// forget takes out a watch; false if it has ended before.
func (c *conn) forget(number uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, was := c.feeds[number]
	delete(c.feeds, number)
	return was
}

// changes takes what a watch brings. The error says that it is not the protocol.
func (c *conn) changes(number uint32, body []byte) error {
	var m clerkwire.Changes
	if err := m.Parse(body); err != nil {
		return err
	}
	c.mu.Lock()
	f := c.feeds[number]
	c.mu.Unlock()
	if f == nil {
		return nil // a sign of life, or of a watch that nobody wants any more
	}
	return f.push(&m)
}

// endOf takes the end of a watch that was in place. drained says that nothing is pending
// on a connection that takes no more.
func (c *conn) endOf(number uint32, body []byte) (drained bool, err error) {
	ended := new(clerkwire.Ended)
	if err := ended.Parse(body); err != nil {
		return false, fmt.Errorf("the end of a watch: %w", err)
	}
	c.mu.Lock()
	f := c.feeds[number]
	delete(c.feeds, number)
	drained = c.idleLocked() && c.away
	c.mu.Unlock()
	if f != nil {
		f.end(ended, nil)
	}
	return drained, nil
}

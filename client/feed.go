package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"raftkv/kvserver/clerkwire"
)

const (
	// maxContent is the most that one change can be, with what else comes with it.
	maxContent = 64 << 20
	// creditStep is how much a caller takes before the server is told.
	creditStep = clerkwire.FirstCredit / 4
	// sharedRoom is how much may wait for a feed, beside the content that is next, while
	// others of its source are ahead. It is more than a server sends without new credit.
	sharedRoom = 2 * clerkwire.FirstCredit
)

// errTooMuch says that a server sends more than it was given credit for.
var errTooMuch = errors.New("the server sends more than a watch has room for")

// errLate says that others of the same source are too far ahead of a feed.
var errLate = errors.New("the watch takes less than others that follow the same")

// source is one watch at a server, on one connection. Feeds that follow the same share one
// as soon as all of them were brought the same: the server writes each change once then, for
// a thousand feeds.
type source struct {
	conn   *conn
	number uint32
	kin    string // as of its feeds

	feeds []*feed // guarded by conn.mu, and never changed in place

	// Of the reader of the connection:
	partial []byte // of a content that has not come to its end
	brought uint64 // bytes of contents
	// last is the last bookmark that was brought: of what the feeds follow, everything up to
	// there and nothing behind it. It is valid if known is set.
	last  uint64
	known bool

	mu          sync.Mutex // guards the fields below
	taken, told uint64     // bytes: by the feed that takes most, and as the server knows
}

// feed is what one watch was brought and has not taken yet. Alone at its source, that is at
// most the credit that the server has, and one change.
type feed struct {
	watching clerkwire.Watching
	kin      string        // feeds of the same one follow the same, and may share a source; "": this one shares none
	come     chan struct{} // holds a token when there is something new

	mu     sync.Mutex // guards the fields below
	source *source    // of what comes next; set when the watch is in place
	queue  []content  // the eldest first
	held   int        // bytes of it
	ended  *clerkwire.Ended
	failed error // why it brings no more, if the server did not end it
}

// content is notes that came together.
type content struct {
	bytes  []byte
	shared bool // by other feeds
	from   *source
	until  uint64 // what the source has brought, with this
}

// newFeed returns a feed of a kin; see feed.
func newFeed(kin string) *feed { return &feed{kin: kin, come: make(chan struct{}, 1)} }

// push gives the feeds what came. It returns those that are too late to go on here. The error
// says that it is not what may come.
func (s *source) push(m *clerkwire.Changes, feeds []*feed, track bool) (late []*feed, err error) {
	s.mu.Lock()
	held := s.brought - s.taken + uint64(len(s.partial))
	s.mu.Unlock()
	if held+uint64(len(m.Content)) > clerkwire.FirstCredit+maxContent {
		return nil, errTooMuch
	}
	if m.More || len(s.partial) > 0 {
		s.partial = append(s.partial, m.Content...)
	}
	if m.More || len(s.partial)+len(m.Content) == 0 {
		return nil, nil
	}
	c := content{bytes: s.partial, shared: len(feeds) > 1, from: s}
	if s.partial = nil; c.bytes == nil {
		c.bytes = bytes.Clone(m.Content)
	}
	s.brought += uint64(len(c.bytes))
	c.until = s.brought
	if s.known = track && s.known; track {
		s.bookmark(c.bytes)
	}
	for _, f := range feeds {
		if !f.push(c) {
			late = append(late, f)
		}
	}
	return late, nil
}

// bookmark notes the last bookmark of a content.
func (s *source) bookmark(content []byte) {
	notes, n := clerkwire.NewNotes(content), clerkwire.Note{}
	for notes.Next(&n) { // most contents have one
		switch n.Kind {
		case clerkwire.NoteChange, clerkwire.NoteProgress, clerkwire.NoteState:
			s.last, s.known = n.Revision, true
		default: // within a state, or before one
			s.known = false
		}
	}
	s.known = s.known && notes.Err() == nil
}

// even reports whether the feeds of two sources of one kin were brought the same. A content
// that has not come to its end is brought by both.
func (s *source) even(other *source) bool { return s.known && other.known && s.last == other.last }

// credit tells the server that a feed has taken what was brought up to there.
func (s *source) credit(until uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = max(s.taken, until)
	if n := s.taken - s.told; n >= creditStep {
		s.conn.out.End(clerkwire.AppendFrame(s.conn.out.Begin(), clerkwire.KindCredit, s.number, clerkwire.Credit{Bytes: n}))
		s.told = s.taken
	}
}

// push adds what came. It reports false where that has no room, while others of the source
// are ahead: the feed has ended then.
func (f *feed) push(c content) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	fits := !c.shared || len(f.queue) == 0 || f.held-len(f.queue[0].bytes)+len(c.bytes) <= sharedRoom
	if fits {
		f.held += len(c.bytes)
		f.queue = append(f.queue, c)
	} else {
		f.failed = errLate
	}
	f.note()
	return fits
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
func (f *feed) next(ctx, lifetime context.Context) (c content, end *feedEnd, err error) {
	for {
		if c, end = f.pop(); c.bytes != nil || end != nil {
			if c.shared {
				c.bytes = bytes.Clone(c.bytes)
			}
			return c, end, nil
		}
		select {
		case <-f.come:
		case <-ctx.Done():
			return c, nil, context.Cause(ctx)
		case <-lifetime.Done():
			return c, nil, context.Cause(lifetime)
		}
	}
}

func (f *feed) pop() (c content, end *feedEnd) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case len(f.queue) > 0:
		c, f.queue[0] = f.queue[0], content{}
		f.queue = f.queue[1:]
		f.held -= len(c.bytes)
	case f.ended != nil || f.failed != nil:
		end = &feedEnd{f.ended, f.failed}
	}
	return c, end
}

// took notes that the caller has taken a content, so that the server may send as much. What
// came from a source that the feed has left does not concern any server.
func (f *feed) took(c content) {
	if c.from == f.from() {
		c.from.credit(c.until)
	}
}

// from returns the source of what comes next.
func (f *feed) from() *source {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.source
}

// at reports whether what a source has brought lately came to the feed.
func (f *feed) at(s *source) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.source == s && f.failed != errLate
}

// leave ends the feed: the caller wants no more of it.
func (f *feed) leave() { f.from().conn.forget(f) }

// unwatch tells the server to end a watch.
func (c *conn) unwatch(number uint32) {
	c.out.End(clerkwire.AppendFrame(c.out.Begin(), clerkwire.KindUnwatch, number, clerkwire.Empty{}))
}

// placeLocked puts the feed of a watch in place, at a source of its own.
func (c *conn) placeLocked(f *feed, number uint32) {
	s := &source{conn: c, number: number, kin: f.kin, feeds: []*feed{f}}
	f.mu.Lock()
	f.source = s
	f.mu.Unlock()
	c.sources[number] = s
	if s.kin != "" {
		c.kin[s.kin] = append(c.kin[s.kin], s)
	}
}

// removeLocked takes out a source.
func (c *conn) removeLocked(s *source) {
	delete(c.sources, s.number)
	if s.kin == "" {
		return
	}
	left := slices.DeleteFunc(c.kin[s.kin], func(other *source) bool { return other == s })
	if c.kin[s.kin] = left; len(left) == 0 {
		delete(c.kin, s.kin)
	}
}

// forget takes out a feed, and ends the watch at the server with its last one.
func (c *conn) forget(f *feed) {
	c.mu.Lock()
	s := f.from()
	last := c.sources[s.number] == s && len(s.feeds) == 1 && s.feeds[0] == f
	if last {
		c.removeLocked(s)
	} else {
		s.feeds = slices.DeleteFunc(slices.Clone(s.feeds), func(other *feed) bool { return other == f })
	}
	c.mu.Unlock()
	if last {
		c.unwatch(s.number)
	}
}

// changes takes what a watch brings. The error says that it is not the protocol.
func (c *conn) changes(number uint32, body []byte) error {
	var m clerkwire.Changes
	if err := m.Parse(body); err != nil {
		return err
	}
	c.mu.Lock()
	c.heard = c.age
	s := c.sources[number]
	if s == nil {
		c.mu.Unlock()
		return nil // a sign of life, or of a watch that nobody wants any more
	}
	feeds, kin := s.feeds, len(c.kin[s.kin])
	c.mu.Unlock()
	late, err := s.push(&m, feeds, kin > 1)
	for _, f := range late {
		c.forget(f)
	}
	if kin > 1 {
		c.share(s)
	}
	return err
}

// opened notes where the feed of a watch begins that was put in place.
func (c *conn) opened(number uint32, at clerkwire.Watching) {
	c.mu.Lock()
	s := c.sources[number]
	c.mu.Unlock()
	if s != nil && !at.StateFirst {
		s.last, s.known = at.After, true
		c.share(s)
	}
}

// share has sources of one kin whose feeds were brought the same become one: the eldest of
// the kin, or s into that.
func (c *conn) share(s *source) {
	var without []uint32
	var taken *source // all that it has brought was taken, by a feed that moves there
	c.mu.Lock()
	if kin := c.kin[s.kin]; len(kin) > 1 {
		eldest, feeds := kin[0], kin[0].feeds
		left := kin[:1]
		for _, other := range kin[1:] {
			if s != eldest && s != other || !other.even(eldest) {
				left = append(left, other)
				continue
			}
			delete(c.sources, other.number)
			without = append(without, other.number)
			feeds = append(slices.Clip(feeds), other.feeds...)
			for _, f := range other.feeds {
				if f.move(eldest) {
					taken = eldest
				}
			}
		}
		clear(kin[len(left):])
		c.kin[s.kin], eldest.feeds = left, feeds
	}
	c.mu.Unlock()
	if taken != nil {
		taken.credit(taken.brought)
	}
	for _, number := range without {
		c.unwatch(number)
	}
}

// move lets a feed go on at another source, which has brought the same. What the feed has had
// from the one before counts there as taken when it is: others of that source may take nothing,
// and would leave it without credit. move reports whether the feed has taken all by now.
func (f *feed) move(to *source) (taken bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.source = to
	n := len(f.queue)
	if n > 0 {
		f.queue[n-1].from, f.queue[n-1].until = to, to.brought
	}
	return n == 0
}

// endOf takes the end of a watch that was in place. drained says that nothing is pending
// on a connection that takes no more.
func (c *conn) endOf(number uint32, body []byte) (drained bool, err error) {
	ended := new(clerkwire.Ended)
	if err := ended.Parse(body); err != nil {
		return false, fmt.Errorf("the end of a watch: %w", err)
	}
	c.mu.Lock()
	s := c.sources[number]
	var feeds []*feed
	if s != nil {
		c.removeLocked(s)
		feeds = s.feeds
	}
	drained = c.idleLocked() && c.away
	c.mu.Unlock()
	for _, f := range feeds {
		f.end(ended, nil)
	}
	return drained, nil
}

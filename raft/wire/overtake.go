package wire

import (
	"raftkv/raft/core"
)

// Answers leave in the order of the requests, with one exception. The answer to an
// AppendEntries with entries waits for a disk. The answer to a heartbeat, an
// AppendEntries without entries, says "I am here, in this term", and a leader needs
// it however slow that disk is. So it may overtake answers to entries that are not
// ready yet. A frame of kind overtakes comes before it, with the number of older
// calls without an answer. Both sides count alike, since each has the same calls in
// the same order.

// overtakes is the body of the frame before an answer that overtakes others.
type overtakes struct {
	Older uint64 // calls that are older than the one answered, and have no answer yet; not 0
}

var overtakesShape = shape{uintElement}

// departing is an answer on its way out.
type departing struct {
	reply core.Reply
	older int // answers that it overtakes
}

// lane is the rule for the order of an answer.
type lane uint8

const (
	laneStrict  lane = iota // neither overtakes nor is overtaken
	lanePrompt              // may overtake answers to entries
	laneEntries             // may be overtaken by prompt answers
)

// laneOf returns the lane of the answer to a request.
func laneOf(request core.Request) lane {
	switch m, ok := request.(*core.AppendEntries); {
	case !ok:
		return laneStrict
	case len(m.Entries) == 0:
		return lanePrompt
	}
	return laneEntries
}

// answer appends the frames of an answer to dst.
func (e *encoder) answer(dst []byte, out departing) []byte {
	if out.older > 0 {
		dst = e.overtakes(dst, uint64(out.older))
	}
	return e.reply(dst, out.reply)
}

// overtakes decodes the body of a frame of kind overtakes.
func (d *decoder) overtakes(body []byte) (uint64, error) {
	var m overtakes
	if err := d.decode(body, overtakesShape, &m); err != nil {
		return 0, err
	}
	if m.Older == 0 {
		return 0, malformed("a frame says that an answer overtakes others, and names none")
	}
	return m.Older, nil
}

// gather takes out the slots whose answers may leave now and appends them to dst,
// oldest first. The caller holds the lock.
func (c *inbound) gather(dst []departing) []departing {
	for i := 0; i < c.slots.len(); {
		s := *c.slots.at(i)
		switch {
		case s.given && (i == 0 || s.lane == lanePrompt):
			c.slots.remove(i)
			c.bytes -= int64(s.bytes)
			dst = append(dst, departing{s.reply, i})
		case s.lane != laneEntries:
			return dst
		default:
			i++
		}
	}
	return dst
}

// overtaken reads the number of older calls from a frame of kind overtakes. The next
// answer is for the call after these.
func (c *outbound) overtaken(body []byte) error {
	older, err := c.decoder.overtakes(body)
	if err != nil {
		return err
	}
	c.peer.received(headerBytes + len(body))
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.cause != nil:
		return nil // all calls have ended
	case c.older > 0:
		return malformed("an answer overtakes others twice")
	case older >= uint64(c.taken):
		return malformed("an answer overtakes %d others of %d calls", older, c.taken)
	}
	c.older = int(older)
	for i := range c.older + 1 {
		want := laneEntries
		if i == c.older {
			want = lanePrompt
		}
		if laneOf(c.calls.at(i).call.Request) != want {
			return malformed("an answer overtakes %d others, and these calls do not permit it", older)
		}
	}
	return nil
}

// fifo is a queue of calls or slots whose elements can be looked at, and taken out,
// by position. The zero value is empty.
type fifo[T any] struct {
	items []T
	first int // items[:first] have been taken out
}

func (q *fifo[T]) len() int { return len(q.items) - q.first }

// at returns the i-th oldest element.
func (q *fifo[T]) at(i int) *T { return &q.items[q.first+i] }

func (q *fifo[T]) push(item T) {
	// Moving down once half of the array is free makes push O(1) on average
	// and keeps the array below twice the longest queue.
	if len(q.items) == cap(q.items) && q.first > len(q.items)/2 {
		n := copy(q.items, q.items[q.first:])
		clear(q.items[n:])
		q.items, q.first = q.items[:n], 0
	}
	q.items = append(q.items, item)
}

// pop takes out the oldest element, of which there must be one.
func (q *fifo[T]) pop() T {
	item := q.items[q.first]
	var none T
	q.items[q.first] = none // the item may point to a large request
	q.first++
	if q.first == len(q.items) {
		q.items, q.first = q.items[:0], 0
	}
	return item
}

// remove takes out the element at position i, which must exist, and moves the older
// ones by one place.
func (q *fifo[T]) remove(i int) T {
	older := q.items[q.first : q.first+i+1]
	item := older[i]
	copy(older[1:], older[:i])
	older[0] = item
	return q.pop()
}

// drain takes out everything, oldest first.
func (q *fifo[T]) drain() []T {
	items := q.items[q.first:]
	q.items, q.first = nil, 0
	return items
}

package node

import "sync"

// inbox gathers everything that concerns the loop, in one order. Posting never
// blocks; the loop takes all events at once.
type inbox struct {
	mu     sync.Mutex // guards events and closed; held only for their few lines
	events []event
	closed bool
	bell   chan struct{} // holds a token while events may be waiting
}

func newInbox() *inbox { return &inbox{bell: make(chan struct{}, 1)} }

// post adds an event. The result is false if the loop has ended and will not look at
// the event.
func (b *inbox) post(e event) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	b.events = append(b.events, e)
	first := len(b.events) == 1
	b.mu.Unlock()
	if first {
		select {
		case b.bell <- struct{}{}:
		default:
		}
	}
	return true
}

// take returns the waiting events and leaves spare, which must be empty, in their
// place.
func (b *inbox) take(spare []event) []event {
	b.mu.Lock()
	defer b.mu.Unlock()
	events := b.events
	b.events = spare
	return events
}

// close makes post refuse further events and returns those that were still waiting.
func (b *inbox) close() []event {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	events := b.events
	b.events = nil
	return events
}

// Package requests keeps the way of requests that somebody may ask about: those that were
// slow, those that a node refused for want of room or of a leader, and those whose outcome
// is unknown.
//
// The mental model is a guest book with a page for each request that did not go as usual.
// The newest pages stay, and a page is found by the request's name. Nothing of a request
// stands in it but numbers and that name: no key, value, token or address.
package requests

import (
	"sync"
	"time"

	"raftkv/kvserver/api"
)

// Capacity is how many requests a Book keeps: with names of 64 bytes, less than 1 MiB.
const Capacity = 4096

// A request is slow against what is usual on its node: slowFactor times the median, and
// slowLeast at least.
const (
	slowFactor = 8
	slowLeast  = 20 * time.Millisecond
	// step is by how much a duration moves the median, and learning how many durations
	// move it by much more: it begins at the first.
	step, learningStep, learning = 1.004, 1.1, 200
)

// Book keeps requests. All methods are safe for concurrent use.
type Book struct {
	mu    sync.Mutex // guards the fields below
	pages []api.RequestTrail
	next  int // where the next page goes, once there are Capacity

	usual sync.Mutex // guards the fields below; nobody waits for it
	// median of reads is at 0, that of writes at 1.
	median [2]time.Duration
	seen   [2]int
}

// Slow notes how long a request took that went well, and reports whether it was slow.
func (b *Book) Slow(writes bool, took time.Duration) bool {
	if !b.usual.TryLock() {
		return false // one of many will do
	}
	defer b.usual.Unlock()
	at := 0
	if writes {
		at = 1
	}
	median := &b.median[at]
	slow := *median > 0 && took >= slowLeast && took >= slowFactor**median
	by := step
	if b.seen[at] < learning {
		b.seen[at]++
		by = learningStep
	}
	switch {
	case *median == 0:
		*median = max(took, 1)
	case took > *median:
		*median = time.Duration(float64(*median)*by) + 1
	case took < *median:
		*median = max(time.Duration(float64(*median)/by), 1)
	}
	return slow
}

// Keep keeps a request. The oldest one gives way.
func (b *Book) Keep(t api.RequestTrail) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pages) < Capacity {
		b.pages = append(b.pages, t)
		return
	}
	b.pages[b.next] = t
	b.next = (b.next + 1) % Capacity
}

// Of returns the requests of a name, oldest first: a client may use a name several times.
func (b *Book) Of(id string) (found []api.RequestTrail) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.pages {
		if t := &b.pages[(b.next+i)%len(b.pages)]; t.ID == id {
			found = append(found, *t)
		}
	}
	return found
}

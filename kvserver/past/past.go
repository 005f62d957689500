// Package past reads a store as it was at an earlier revision.
//
// # Mental model
//
// The history of a store holds, for every change, what each key had before it. So the
// first event of a key behind a revision has the key's item as it was then; a key without
// such an event has not changed since, and is live as it was.
//
//	revision R          first event of the key behind R        now
//	────┼──────────────────────────┼──────────────────────────────┼──►
//	    └── its Prev is the answer ┘         no event: the live item is
//
// A [View] shows the live keys of a frozen store under an overlay of such items. It makes
// the overlay in windows, of the next keys that have changed, so that it holds no more of
// them at a time than a few thousand, however many there are, and a page costs one window.
// Everything here only reads, from copies that do not change: no lock is held, and the
// answer is the same on every node whose history reaches so far.
//
// # What it does not know
//
// Which revision may be asked for, waiting, rights, and HTTP.
package past

import (
	"container/heap"
	"slices"
	"strings"

	"raftkv/kvserver/kv"
)

// Key is what a key has at one moment.
type Key struct {
	Item  kv.Item
	Lease int64 // to which it is tied; 0: none
	Found bool  // there is such a key
}

// Get returns what a key had at a revision, which the history must reach. now is what it
// had when the history was copied. The cost is in proportion to the changes since.
func Get(h *kv.History, key string, now Key, revision uint64) Key {
	h.Scan(revision, func(e *kv.Event) bool {
		if e.Key != key || e.OfLock() {
			return true
		}
		now = Key{Item: e.Prev, Lease: e.PrevLease, Found: e.Existed()}
		return false
	})
	return now
}

// View is a store as it was at a revision. It belongs to one goroutine.
type View struct {
	live     *kv.View
	history  kv.History
	revision uint64
	now      window // the part that AscendRange shows
	// size is how many keys the first window of a walk has; each has twice as many as the
	// one before, up to maxSize.
	size, maxSize int
	// scans counts walks over the history, held is how many changes a window held at most.
	scans, held int
}

// Sizes of windows, in changed keys. A page of few items needs one small window. Many
// windows in which nothing was then cost a walk over the history each, some 3 ms for
// 300,000 changes, so they grow; the largest takes about 1 MiB.
const (
	firstWindow = 256
	largeWindow = 8192
)

// At returns a frozen store as it was at a revision, which its history must reach.
func At(v *kv.View, revision uint64) *View {
	return &View{live: v, history: v.History(), revision: revision, size: firstWindow, maxSize: largeWindow}
}

// Revision returns the revision that the view shows.
func (p *View) Revision() uint64 { return p.revision }

// LeaseOf returns the lease that a key was tied to, 0 if it was none. It must be the key
// that AscendRange shows right now.
func (p *View) LeaseOf(key string) int64 {
	if e := p.now.of[key]; e != nil {
		return e.PrevLease
	}
	return p.live.LeaseOf(key)
}

// AscendRange calls fn for the keys from one on that are less than to, in the order of
// their bytes, until fn returns false. An empty to is no end.
func (p *View) AscendRange(from, to string, fn func(key string, item kv.Item) bool) {
	for size := p.size; ; size = min(2*size, p.maxSize) {
		p.now = p.window(from, to, size)
		if !p.walk(from, fn) || p.now.end == to {
			p.now = window{}
			return
		}
		from = p.now.end
	}
}

// window is the overlay for the keys from one on that are less than end.
type window struct {
	end     string               // "": no end
	changed []*kv.Event          // the first event of each key behind the revision, in the order of the keys
	of      map[string]*kv.Event // the same
}

// window returns the overlay for the keys from one on that are less than to, or for a part
// of them at the beginning: no more than size keys that have changed.
func (p *View) window(from, to string, size int) window {
	w := window{end: to, of: map[string]*kv.Event{}}
	last := (*byKey)(&w.changed)
	p.scans++
	p.history.Scan(p.revision, func(e *kv.Event) bool {
		if e.Key < from || w.end != "" && e.Key >= w.end || e.OfLock() {
			return true
		}
		if _, later := w.of[e.Key]; later {
			return true
		}
		w.of[e.Key] = e
		heap.Push(last, e)
		if len(w.changed) > size {
			// The last key goes to the next window. The end only comes nearer, so of every key
			// before it the first event was seen.
			w.end = heap.Pop(last).(*kv.Event).Key
			delete(w.of, w.end)
		}
		return true
	})
	p.held = max(p.held, len(w.changed))
	slices.SortFunc(w.changed, func(a, b *kv.Event) int { return strings.Compare(a.Key, b.Key) })
	return w
}

// walk is AscendRange for the keys of the window. It reports whether fn wants more.
func (p *View) walk(from string, fn func(key string, item kv.Item) bool) bool {
	rest := p.now.changed
	// before calls fn for the keys of the overlay up to one that is live.
	before := func(key string) bool {
		for ; len(rest) > 0 && rest[0].Key <= key; rest = rest[1:] {
			if e := rest[0]; e.Existed() && !fn(e.Key, e.Prev) {
				return false
			}
		}
		return true
	}
	more := true
	p.live.AscendRange(from, p.now.end, func(key string, item kv.Item) bool {
		if more = before(key); !more {
			return false
		}
		if p.now.of[key] != nil {
			return true
		}
		more = fn(key, item)
		return more
	})
	for ; more && len(rest) > 0; rest = rest[1:] {
		if e := rest[0]; e.Existed() {
			more = fn(e.Key, e.Prev)
		}
	}
	return more
}

// byKey is a heap with the event of the greatest key in front.
type byKey []*kv.Event

func (h byKey) Len() int           { return len(h) }
func (h byKey) Less(i, j int) bool { return h[i].Key > h[j].Key }
func (h byKey) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byKey) Push(e any)        { *h = append(*h, e.(*kv.Event)) }
func (h *byKey) Pop() any {
	n := len(*h) - 1
	e := (*h)[n]
	*h = (*h)[:n]
	return e
}

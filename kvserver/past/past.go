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
// A [View] of a range is the live keys of a frozen store under an overlay of such items.
// Everything here only reads, from copies that do not change: no lock is held, and the
// answer is the same on every node whose history reaches so far.
//
// # What it does not know
//
// Which revision may be asked for, waiting, rights, and HTTP.
package past

import (
	"sort"

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

// View is the keys of a range as they were at a revision. Any number of goroutines may
// read it.
type View struct {
	live     *kv.View
	revision uint64
	keys     []string           // that have changed since, in the order of their bytes
	was      map[string]kv.Item // what they had; version 0: there was no such key
	tied     map[string]int64   // the leases that they were tied to
}

// At returns the keys of a frozen store from one on that are less than to, as they were at
// a revision, which the store's history must reach. An empty to is no end.
func At(v *kv.View, from, to string, revision uint64) *View {
	p := &View{live: v, revision: revision, was: map[string]kv.Item{}, tied: map[string]int64{}}
	h := v.History()
	h.Scan(revision, func(e *kv.Event) bool {
		if e.OfLock() || e.Key < from || to != "" && e.Key >= to {
			return true
		}
		if _, later := p.was[e.Key]; !later {
			p.was[e.Key], p.tied[e.Key] = e.Prev, e.PrevLease
			p.keys = append(p.keys, e.Key)
		}
		return true
	})
	sort.Strings(p.keys)
	return p
}

// LeaseOf returns the lease that a key was tied to, 0 if it was none.
func (p *View) LeaseOf(key string) int64 {
	if id, changed := p.tied[key]; changed {
		return id
	}
	return p.live.LeaseOf(key)
}

// Revision returns the revision that the view shows.
func (p *View) Revision() uint64 { return p.revision }

// AscendRange calls fn for the keys from one on that are less than to, in the order of
// their bytes, until fn returns false. The range must lie in that of At.
func (p *View) AscendRange(from, to string, fn func(key string, item kv.Item) bool) {
	at := sort.SearchStrings(p.keys, from)
	end := len(p.keys)
	if to != "" {
		end = max(at, sort.SearchStrings(p.keys, to))
	}
	// before calls fn for the keys of the overlay up to one that is live.
	before := func(key string) bool {
		for ; at < end && p.keys[at] <= key; at++ {
			if was := p.was[p.keys[at]]; was.Version != 0 && !fn(p.keys[at], was) {
				return false
			}
		}
		return true
	}
	more := true
	p.live.AscendRange(from, to, func(key string, item kv.Item) bool {
		if more = before(key); !more {
			return false
		}
		if _, changed := p.was[key]; changed {
			return true
		}
		more = fn(key, item)
		return more
	})
	for ; more && at < end; at++ {
		if was := p.was[p.keys[at]]; was.Version != 0 {
			more = fn(p.keys[at], was)
		}
	}
}

package kv

import (
	"slices"
	"strings"

	"github.com/tidwall/btree"
)

// Item is a key's value and history.
type Item struct {
	// Value never changes once it was handed out and must not be changed.
	Value []byte
	// Revision is the number of the store's change that made this value.
	Revision uint64
	// Version counts the key's changes since it was created, from 1.
	Version uint64
	// checksum is the CRC32C of Value, which an append continues.
	checksum uint32
}

// View is the state of a store at one index of the log. The methods only read:
// any number of goroutines may call them at the same time, on a frozen View
// always, on a Store's own as long as nobody calls Apply, Advance or Freeze
// meanwhile.
type View struct {
	applied  uint64
	revision uint64
	logTime  uint64
	stamped  stamp // the last command that had a stamp
	bytes    int
	sum      uint64 // of the hashes of all that follows, see Digest
	items    *btree.Map[string, Item]
	sessions *btree.Map[uint64, session]
	lanes    *btree.BTreeG[lane]
	records  recordQueue
}

// Get returns what is stored under key.
func (v *View) Get(key []byte) (Item, bool) {
	item, ok := v.items.Get(string(key))
	return item.clipped(), ok
}

// Revision counts the changes of the store: each write that changes something
// takes the next number, and numbers are never used again.
func (v *View) Revision() uint64 { return v.revision }

// AppliedIndex is the index of the log up to which this state goes.
func (v *View) AppliedIndex() uint64 { return v.applied }

// stamp is what a server's clock showed, in one life of that server.
type stamp struct{ origin, time uint64 }

// LogTime is the time that the commands so far took, in milliseconds, as the
// clocks of the servers that proposed them have measured it. It only rises, never
// faster than those clocks, and by MaxTimeStep at most from one command to the
// next: an outage of any length counts for no more than that.
func (v *View) LogTime() uint64 { return v.logTime }

// Len is the number of keys.
func (v *View) Len() int { return v.items.Len() }

// Bytes is the length of all keys and values together. What they occupy in
// memory is more.
func (v *View) Bytes() int { return v.bytes }

// Sessions is the number of open sessions.
func (v *View) Sessions() int { return v.sessions.Len() }

// IdempotencyRecords is the number of requests that are remembered by their
// idempotency keys.
func (v *View) IdempotencyRecords() int { return v.records.len() }

// Ascend calls fn for the keys that are greater than after and begin with
// prefix, in the order of their bytes, until fn returns false. An empty after
// starts with the first key.
func (v *View) Ascend(after, prefix string, fn func(key string, item Item) bool) {
	v.items.Ascend(max(after, prefix), func(key string, item Item) bool {
		if key == after {
			return true
		}
		if !strings.HasPrefix(key, prefix) {
			// Keys with the prefix stand side by side. Below them are only those
			// between an after that is smaller and the prefix, and Ascend began
			// at the greater of the two.
			return false
		}
		return fn(key, item.clipped())
	})
}

// state is the View inside a Store. The name keeps the field out of reach: a
// plain copy of it would share its trees with the store, which Freeze's do not.
type state = View

// clipped hides the spare capacity behind a value. An append to the key may
// fill it in later; who cannot see it cannot be disturbed, see grow.
func (i Item) clipped() Item {
	i.Value = slices.Clip(i.Value)
	return i
}

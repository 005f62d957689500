package kv

import (
	"slices"
	"strings"

	"github.com/tidwall/btree"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/lease"
	"raftkv/kvserver/lock"
)

// Item is a key's value and history.
type Item struct {
	// Value never changes once it was handed out and must not be changed.
	Value []byte
	// Revision is the number of the store's change that made this value.
	Revision uint64
	// Version counts the key's changes since it was created, from 1.
	Version uint64
	// Created is the revision of the change that created the key; 0 if that was before
	// the store had a history. See Creation.
	Created uint64
	// checksum is the CRC32C of Value, which an append continues.
	checksum uint32
}

// View is the state of a store at one index of the log. The methods only read:
// any number of goroutines may call them at the same time. On a frozen View that
// is always so; on a Store's own View, Apply, Advance or Freeze must not run
// meanwhile.
type View struct {
	applied  uint64
	revision uint64
	logTime  uint64
	stamped  stamp // the last command that had a stamp
	bytes    int
	level    uint64
	// compacted is the first revision behind what the history has dropped, -1 if that
	// is nothing. historyLimit is how many bytes it may be charged with.
	compacted    int64
	historyLimit uint64
	sum          uint64 // of the hashes of all that follows, see Digest
	items        table
	sessions     *btree.Map[uint64, session]
	lanes        *btree.BTreeG[lane]
	records      recordQueue
	answers      answers
	history      history
	leases       lease.Table // its Sum counts in the digest with sum, as does that of locks
	locks        lock.Table
	auth         *auth.Table // never changes; nil: nobody has set anything
}

// Get returns the item under key.
func (v *View) Get(key []byte) (Item, bool) {
	item, ok := v.items.get(key)
	return item.clipped(), ok
}

// GetTied is Get with the lease that the key is tied to, 0 if it is none.
func (v *View) GetTied(key []byte) (item Item, lease int64, found bool) {
	at, found := v.items.find(key, keyHash(key))
	if !found {
		return Item{}, 0, false
	}
	row := v.items.rows.at(at)
	return row.Item.clipped(), v.leases.Tie(row.key).Lease, true
}

// Revision counts the changes of the store: each write that changes something
// takes the next number, and numbers are never used again.
func (v *View) Revision() uint64 { return v.revision }

// AppliedIndex returns the index of the log up to which this state goes.
func (v *View) AppliedIndex() uint64 { return v.applied }

// stamp is a reading of a server's clock, in one incarnation of that server.
type stamp struct{ origin, time uint64 }

// LogTime returns the time that the commands so far took, in milliseconds, as
// measured by the clocks of the servers that proposed them. It only rises, never
// faster than those clocks. It rises by at most maxTimeStep from one command to
// the next, so an outage of any length counts for no more than that.
func (v *View) LogTime() uint64 { return v.logTime }

// Len returns the number of keys.
func (v *View) Len() int { return v.items.len() }

// Bytes returns the length of all keys and values together. They occupy more in
// memory.
func (v *View) Bytes() int { return v.bytes }

// Sessions returns the number of open sessions.
func (v *View) Sessions() int { return v.sessions.Len() }

// IdempotencyRecords returns the number of requests that are remembered by their
// idempotency keys.
func (v *View) IdempotencyRecords() int { return v.records.len() }

// Ascend calls fn for the keys that are greater than after and begin with
// prefix, in the order of their bytes, until fn returns false. An empty after
// starts with the first key.
func (v *View) Ascend(after, prefix string, fn func(key string, item Item) bool) {
	v.items.ascend(max(after, prefix), func(key string, item Item) bool {
		if key == after {
			return true
		}
		if !strings.HasPrefix(key, prefix) {
			// Keys with the prefix are adjacent. Ascend began at the greater of after
			// and the prefix, so this key lies behind them.
			return false
		}
		return fn(key, item.clipped())
	})
}

// AscendRange calls fn for the keys from one on that are less than to, in the order of
// their bytes, until fn returns false. An empty to is no end.
func (v *View) AscendRange(from, to string, fn func(key string, item Item) bool) {
	v.items.ascend(from, func(key string, item Item) bool {
		return (to == "" || key < to) && fn(key, item.clipped())
	})
}

// state is the View inside a Store. The name keeps the field unexported: a plain
// copy of it would share its trees with the store, and Freeze's copies do not.
type state = View

// Creation returns the revision of the change that created the key, as clients see it:
// 1 if it was before the store had a history.
func (i Item) Creation() uint64 { return max(1, i.Created) }

// clipped hides the spare capacity behind a value. An append to the key may fill
// it in later. A reader that cannot see it cannot be disturbed; see grow.
func (i Item) clipped() Item {
	i.Value = slices.Clip(i.Value)
	return i
}

package lock

import (
	"cmp"
	"slices"

	"github.com/tidwall/btree"
)

// Limits that every server applies; they are part of the state machine's rules.
const (
	// MaxNameBytes is the length of the longest name of a lock; the shortest has 1 byte.
	MaxNameBytes = 256
	// MaxValueBytes is the length of the longest value that a holder publishes.
	MaxValueBytes = 1024
	// MaxLimit is how many holders a lock may have at most.
	MaxLimit = 1024
	// MaxDelay is how long a place stays free at most, in milliseconds of lease time.
	MaxDelay = 60_000
)

// Limits bound a table; tests take smaller ones.
type Limits struct {
	Locks   int
	Places  int // of all locks: holders, and places that stay free for a delay
	Queue   int // of one lock
	Waiting int // in all queues
}

// Standard is what servers use.
var Standard = Limits{Locks: 65_536, Places: 131_072, Queue: 1024, Waiting: 65_536}

// Holder is a lease that holds a lock.
type Holder struct {
	Token uint64 // the revision of the grant
	Lease int64
	// Delay is how long the place stays free, in milliseconds, if this ends without a
	// release.
	Delay uint64
	Value []byte // that the holder publishes; it never changes
}

// Waiter is a lease that waits for a lock.
type Waiter struct {
	Since uint64 // the index in the log at which it began, no two the same
	Lease int64
	Delay uint64 // of the holder that it becomes
	Value []byte
}

// Lock is one lock. A Lock that was handed out does not change.
type Lock struct {
	Limit   int
	Holders []Holder // in the order of their tokens
	Queue   []Waiter // the next one first
	// Delays are the lease times at which places that stay free are free again, rising.
	Delays []uint64
}

// places is how many of the lock's places are taken.
func (l *Lock) places() int { return len(l.Holders) + len(l.Delays) }

// HolderOf returns the place of a lease among the holders, or -1.
func (l *Lock) HolderOf(lease int64) int {
	return slices.IndexFunc(l.Holders, func(h Holder) bool { return h.Lease == lease })
}

// Waits reports whether a lease is in the queue.
func (l *Lock) Waits(lease int64) bool { return l.waiterOf(lease) >= 0 }

// waiterOf returns the place of a lease in the queue, or -1.
func (l *Lock) waiterOf(lease int64) int {
	return slices.IndexFunc(l.Queue, func(w Waiter) bool { return w.Lease == lease })
}

// HeldBy reports whether a token holds the lock.
func (l *Lock) HeldBy(token uint64) bool { return l.withToken(token) >= 0 }

// withToken returns the place of the holder with a token, or -1.
func (l *Lock) withToken(token uint64) int {
	return slices.IndexFunc(l.Holders, func(h Holder) bool { return h.Token == token })
}

// Hashes make the hashes of things in the digest of a state.
type Hashes struct {
	Lock   func(name string, limit int) uint64
	Holder func(name string, h *Holder) uint64
	Waiter func(name string, w *Waiter) uint64
	Delay  func(name string, until uint64) uint64
}

// use is a lock that a lease holds or waits for.
type use struct {
	lease int64
	name  string
}

// delay is a place of a lock that is free again at a lease time. Equal ones are one.
type delay struct {
	until uint64
	name  string
}

// Table is the locks of a store. It is not safe for concurrent use: changes need
// exclusive use; reading methods may share it.
type Table struct {
	// Sum is that of the hashes of all locks, holders, waiters and delays. Only the table
	// changes it.
	Sum uint64

	limits  Limits
	hashes  Hashes
	locks   *btree.Map[string, Lock]
	held    int // holders
	delayed int // places that stay free
	waiting int // in all queues
	// uses and delays follow from locks. A frozen table has neither.
	uses   *btree.BTreeG[use]
	delays *btree.BTreeG[delay]
}

// New returns an empty table.
func New(limits Limits, hashes Hashes) Table {
	options := btree.Options{NoLocks: true}
	return Table{
		limits: limits, hashes: hashes, locks: btree.NewMap[string, Lock](0),
		uses: btree.NewBTreeGOptions(func(a, b use) bool {
			return cmp.Or(cmp.Compare(a.lease, b.lease), cmp.Compare(a.name, b.name)) < 0
		}, options),
		delays: btree.NewBTreeGOptions(func(a, b delay) bool {
			return cmp.Or(cmp.Compare(a.until, b.until), cmp.Compare(a.name, b.name)) < 0
		}, options),
	}
}

// Freeze returns a copy that only reads, and cannot tell which locks a lease has or which
// delay ends next. Its cost does not depend on the size of the table.
func (t *Table) Freeze() Table {
	frozen := *t
	frozen.locks = t.locks.Copy()
	frozen.uses, frozen.delays = nil, nil
	return frozen
}

// Len returns the number of locks.
func (t *Table) Len() int { return t.locks.Len() }

// Held returns the number of holders of all locks.
func (t *Table) Held() int { return t.held }

// Waiting returns how many wait for a lock.
func (t *Table) Waiting() int { return t.waiting }

// Get returns a lock.
func (t *Table) Get(name string) (Lock, bool) { return t.locks.Get(name) }

// Holds reports whether a token holds a lock now.
func (t *Table) Holds(name string, token uint64) bool {
	l, _ := t.locks.Get(name)
	return l.HeldBy(token)
}

// Ascend calls fn for the locks whose names are at least from, in the order of their
// bytes, until fn returns false.
func (t *Table) Ascend(from string, fn func(name string, l Lock) bool) { t.locks.Ascend(from, fn) }

// Of returns the names of the locks that a lease holds or waits for, in the order of
// their bytes.
func (t *Table) Of(lease int64) (names []string) {
	t.uses.Ascend(use{lease: lease}, func(u use) bool {
		if u.lease == lease {
			names = append(names, u.name)
		}
		return u.lease == lease
	})
	return names
}

// Due returns the first lease time at which places of a lock are free again, and that
// lock.
func (t *Table) Due() (until uint64, name string, found bool) {
	d, found := t.delays.Min()
	return d.until, d.name, found
}

// SumOf returns what a lock is in the sum of a table.
func SumOf(hashes Hashes, name string, l *Lock) (sum uint64) {
	sum = hashes.Lock(name, l.Limit)
	for i := range l.Holders {
		sum += hashes.Holder(name, &l.Holders[i])
	}
	for i := range l.Queue {
		sum += hashes.Waiter(name, &l.Queue[i])
	}
	for _, until := range l.Delays {
		sum += hashes.Delay(name, until)
	}
	return sum
}

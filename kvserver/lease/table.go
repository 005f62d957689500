package lease

import (
	"cmp"
	"fmt"

	"github.com/tidwall/btree"
)

// Limits that every server applies; they are part of the state machine's rules. Times
// are milliseconds.
const (
	// MaxStep is how much lease time passes at most from one command to the next, however
	// long nobody could be served between them.
	MaxStep = 1000
	// MinTTL and MaxTTL bound how long a lease, or a key with a deadline of its own, lives
	// without being kept: 1 s to 9·10⁹ s.
	MinTTL = 1000
	MaxTTL = 9_000_000_000 * 1000
	// MaxNoteBytes is the length of the longest note of a lease.
	MaxNoteBytes = 256
	// TieBytes is what a tie counts of the store's quota.
	TieBytes = 64
	// MaxKept is how many leases one command keeps alive at most.
	MaxKept = 1024
	// firstFree is the first id that is given where the log index is taken.
	firstFree = 1 << 62
	// maxTime is far beyond what lease time can come to: 146 million years.
	maxTime = 1 << 62
)

// Limits bound a table, and what one tick ends; tests take smaller ones.
type Limits struct {
	Leases int    // of the table
	Keys   int    // of one lease, and locks
	Bytes  uint64 // of the keys and values of one lease
	// A tick ends at most EndLeases leases and EndKeys keys, but always the first that is
	// due. EndKeys must not be less than Keys.
	EndLeases, EndKeys int
}

// Standard is what servers use.
var Standard = Limits{Leases: 131_072, Keys: 4096, Bytes: 16 << 20, EndLeases: 1000, EndKeys: 4096}

// Lease is what keys can be tied to.
type Lease struct {
	TTL      uint64 // as it was granted
	Deadline uint64 // the lease time at which it is due
	Owner    uint64 // number of the identity that it belongs to; 0: to whoever uses it
	Note     string
}

// Tie says how long a key lives: as long as a lease, or up to a deadline of its own.
// The zero value is a key without an end.
type Tie struct {
	Lease    int64  // 0: none
	Deadline uint64 // 0: none, or that of the lease
}

// Hashes make the hashes of things in the digest of a state.
type Hashes struct {
	Lease func(id int64, l *Lease) uint64
	Tie   func(key string, t Tie) uint64
}

// entry is a lease with what follows from the ties, and from what is counted by CountLock.
type entry struct {
	Lease
	keys  int
	locks int // that it holds or waits for
	bytes uint64
}

// member is a key of a lease.
type member struct {
	lease int64
	key   string
}

// Kind is what can end. The numbers give the order of what is due at one time.
type Kind uint8

// The kinds.
const (
	OfLease Kind = 1
	OfKey   Kind = 2
)

// Due is something that ends at a deadline.
type Due struct {
	Deadline uint64
	Kind     Kind
	Lease    int64  // of OfLease
	Key      string // of OfKey
}

func compareDue(a, b Due) int {
	return cmp.Or(cmp.Compare(a.Deadline, b.Deadline), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Lease, b.Lease), cmp.Compare(a.Key, b.Key))
}

// Table is the leases and ties of a store. It is not safe for concurrent use: changes
// need exclusive use; reading methods may share it.
type Table struct {
	// Sum is that of the hashes of all leases and ties. Only the table changes it.
	Sum uint64
	// Expired and Revoked count the leases that ended in this table since it was made. They
	// are no part of the state.
	Expired, Revoked uint64

	limits Limits
	hashes Hashes
	time   uint64
	free   uint64 // the next id where the log index is taken
	leases *btree.Map[int64, entry]
	ties   *btree.Map[string, Tie]
	// due and members follow from leases and ties. A frozen table has neither.
	due     *btree.BTreeG[Due]
	members *btree.BTreeG[member]
}

// New returns an empty table at time 0.
func New(limits Limits, hashes Hashes) Table {
	if limits.EndKeys < limits.Keys {
		panic(fmt.Sprintf("lease: a tick ends %d keys, and a lease may have %d", limits.EndKeys, limits.Keys))
	}
	options := btree.Options{NoLocks: true}
	return Table{
		limits: limits, hashes: hashes, free: firstFree,
		leases: btree.NewMap[int64, entry](0), ties: btree.NewMap[string, Tie](0),
		due: btree.NewBTreeGOptions(func(a, b Due) bool { return compareDue(a, b) < 0 }, options),
		members: btree.NewBTreeGOptions(func(a, b member) bool {
			return cmp.Or(cmp.Compare(a.lease, b.lease), cmp.Compare(a.key, b.key)) < 0
		}, options),
	}
}

// Freeze returns a copy that only reads, and cannot tell what is due or which keys a
// lease has. Its cost does not depend on the size of the table.
func (t *Table) Freeze() Table {
	frozen := *t
	frozen.leases, frozen.ties = t.leases.Copy(), t.ties.Copy()
	frozen.due, frozen.members = nil, nil
	return frozen
}

// Time returns lease time in milliseconds.
func (t *Table) Time() uint64 { return t.time }

// Free returns the next id that is given where the log index is taken. It is part of
// the state.
func (t *Table) Free() uint64 { return t.free }

// Len returns the number of leases.
func (t *Table) Len() int { return t.leases.Len() }

// Ties returns the number of keys that have an end.
func (t *Table) Ties() int { return t.ties.Len() }

// CanEnd reports whether ticks are needed: something has a deadline.
func (t *Table) CanEnd() bool { return t.leases.Len() > 0 || t.due.Len() > 0 }

// Pass lets lease time pass by what one server's clock measured between two commands,
// in milliseconds, and by at most MaxStep.
func (t *Table) Pass(step uint64) { t.time = min(t.time+min(step, MaxStep), maxTime) }

// Get returns a lease that is alive. What is due and was not ended yet is alive.
func (t *Table) Get(id int64) (Lease, bool) {
	e, found := t.leases.Get(id)
	return e.Lease, found
}

// Count returns how many keys a lease has.
func (t *Table) Count(id int64) int {
	e, _ := t.leases.Get(id)
	return e.keys
}

// Remaining returns how much lease time passes at least before a deadline, after the
// next command: one step may be on its way.
func (t *Table) Remaining(deadline uint64) uint64 {
	return deadline - min(deadline, t.time+MaxStep)
}

// Deadline returns when a key ends that has a tie.
func (t *Table) Deadline(tie Tie) uint64 {
	if tie.Lease == 0 {
		return tie.Deadline
	}
	e, _ := t.leases.Get(tie.Lease)
	return e.Deadline
}

// Ascend calls fn for the leases whose id is at least from, in the order of their ids,
// until fn returns false.
func (t *Table) Ascend(from int64, fn func(id int64, l Lease, keys int) bool) {
	t.leases.Ascend(from, func(id int64, e entry) bool { return fn(id, e.Lease, e.keys) })
}

// Scan calls fn for all leases in the order of their ids, until fn returns false.
func (t *Table) Scan(fn func(id int64, l *Lease) bool) {
	t.leases.Scan(func(id int64, e entry) bool { return fn(id, &e.Lease) })
}

// ScanTies calls fn for all ties in the order of their keys, until fn returns false.
func (t *Table) ScanTies(fn func(key string, tie Tie) bool) { t.ties.Scan(fn) }

// Tie returns the tie of a key, zero if it has none.
func (t *Table) Tie(key string) Tie {
	if t.ties.Len() == 0 {
		return Tie{}
	}
	tie, _ := t.ties.Get(key)
	return tie
}

// Keys returns the keys of a lease in the order of their bytes.
func (t *Table) Keys(id int64) []string {
	e, _ := t.leases.Get(id)
	keys := make([]string, 0, e.keys)
	t.members.Ascend(member{lease: id}, func(m member) bool {
		if m.lease == id {
			keys = append(keys, m.key)
		}
		return m.lease == id
	})
	return keys
}

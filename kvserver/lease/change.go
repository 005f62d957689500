package lease

import "fmt"

// Refusal says why a lease was not granted, or does not take a key. Zero: it was, or
// does.
type Refusal uint8

// The refusals.
const (
	NotFound Refusal = 1 // there is no such lease, or not any more
	Exists   Refusal = 2 // the id that was asked for is a lease that is alive
	Full     Refusal = 3 // the lease has as many keys or bytes as it may
	TooMany  Refusal = 4 // there are as many leases as there may be
)

// Grant grants a lease and returns its id: the one that is asked for, or, if that is 0,
// this number, which belongs to the command: the index in the log, raised where the revision
// was. Where somebody has chosen that one, the next free
// number from 2^62 up takes its place, so no id is given twice.
func (t *Table) Grant(number uint64, asked int64, l Lease) (id int64, refused Refusal) {
	id = asked
	if _, taken := t.leases.Get(id); taken {
		return 0, Exists
	}
	if t.leases.Len() >= t.limits.Leases {
		return 0, TooMany
	}
	if id == 0 {
		id = t.unchosen(number)
	}
	l.Deadline = t.time + l.TTL
	t.put(id, entry{Lease: l})
	return id, 0
}

// unchosen returns the id of a lease that names none.
func (t *Table) unchosen(number uint64) int64 {
	if _, taken := t.leases.Get(int64(number)); !taken {
		return int64(number)
	}
	for {
		id := int64(t.free)
		t.free++
		if _, taken := t.leases.Get(id); !taken {
			return id
		}
	}
}

// put adds a lease.
func (t *Table) put(id int64, e entry) {
	t.leases.Set(id, e)
	t.due.Set(Due{Deadline: e.Deadline, Kind: OfLease, Lease: id})
	t.Sum += t.hashes.Lease(id, &e.Lease)
}

// take removes a lease.
func (t *Table) take(id int64) (e entry, found bool) {
	if e, found = t.leases.Delete(id); found {
		t.due.Delete(Due{Deadline: e.Deadline, Kind: OfLease, Lease: id})
		t.Sum -= t.hashes.Lease(id, &e.Lease)
	}
	return e, found
}

// Keep gives a lease its whole TTL again, counted from now. It reports false if there is
// no such lease: one that has ended never comes back.
func (t *Table) Keep(id int64) (ttl uint64, alive bool) {
	e, alive := t.take(id)
	if !alive {
		return 0, false
	}
	e.Deadline = t.time + e.TTL
	t.put(id, e)
	return e.TTL, true
}

// Renew gives every lease its whole TTL again. It is for a state that begins with a copy
// of another one.
func (t *Table) Renew() {
	var ids []int64
	t.Scan(func(id int64, _ *Lease) bool { ids = append(ids, id); return true })
	for _, id := range ids {
		t.Keep(id)
	}
}

// End removes a lease that has no keys and no locks any more.
func (t *Table) End(id int64) {
	e, found := t.take(id)
	if !found || e.keys > 0 || e.locks > 0 {
		panic(fmt.Sprintf("lease: the lease %d is to end, and has %d keys and %d locks", id, e.keys, e.locks))
	}
}

// TakesLock says whether a lease can hold, or wait for, one more lock. Such a lock counts
// like a key: what ends with a lease is bounded.
func (t *Table) TakesLock(id int64) Refusal {
	e, found := t.leases.Get(id)
	switch {
	case !found:
		return NotFound
	case e.keys+e.locks >= t.limits.Keys:
		return Full
	}
	return 0
}

// CountLock adds to the number of locks that a lease has; more may be negative. The lease must exist.
func (t *Table) CountLock(id int64, more int) {
	e, found := t.leases.Get(id)
	if e.locks += more; !found || e.locks < 0 {
		panic(fmt.Sprintf("lease: the lease %d has %d locks", id, e.locks))
	}
	t.leases.Set(id, e)
}

// Takes says whether a lease can take a key: one that has a tie already, if old is not
// zero. oldBytes and newBytes are those of the key and its value.
func (t *Table) Takes(id int64, old Tie, oldBytes, newBytes int) Refusal {
	e, found := t.leases.Get(id)
	if !found {
		return NotFound
	}
	keys, bytes := e.keys+1, e.bytes+uint64(newBytes)
	if old.Lease == id {
		keys, bytes = keys-1, bytes-uint64(oldBytes)
	}
	if keys+e.locks > t.limits.Keys || bytes > t.limits.Bytes {
		return Full
	}
	return 0
}

// HasRoom reports whether a lease can take keys more keys, and bytes more bytes for all
// that it has then; either may be negative. Keys and locks share one limit.
func (t *Table) HasRoom(id int64, keys, bytes int) bool {
	e, found := t.leases.Get(id)
	return found && (keys <= 0 || e.keys+e.locks+keys <= t.limits.Keys) && (bytes <= 0 || e.bytes+uint64(bytes) <= t.limits.Bytes)
}

// Bind puts one tie of a key in the place of another; either may be zero. oldBytes and
// newBytes are the bytes of the key and its value before and after. A lease that is named
// must exist.
func (t *Table) Bind(key string, old Tie, oldBytes int, tie Tie, newBytes int) {
	if old == (Tie{}) && tie == old {
		return
	}
	if old != tie {
		t.unbind(key, old)
		t.bind(key, tie)
	}
	t.count(old.Lease, old, -1, -oldBytes)
	t.count(tie.Lease, tie, 1, newBytes)
}

func (t *Table) unbind(key string, old Tie) {
	switch {
	case old == (Tie{}):
		return
	case old.Lease != 0:
		t.members.Delete(member{old.Lease, key})
	default:
		t.due.Delete(Due{Deadline: old.Deadline, Kind: OfKey, Key: key})
	}
	t.ties.Delete(key)
	t.Sum -= t.hashes.Tie(key, old)
}

func (t *Table) bind(key string, tie Tie) {
	switch {
	case tie == (Tie{}):
		return
	case tie.Lease != 0:
		t.members.Set(member{tie.Lease, key})
	default:
		t.due.Set(Due{Deadline: tie.Deadline, Kind: OfKey, Key: key})
	}
	t.ties.Set(key, tie)
	t.Sum += t.hashes.Tie(key, tie)
}

// count notes that a lease has more or fewer keys and bytes.
func (t *Table) count(id int64, tie Tie, keys, bytes int) {
	if tie.Lease == 0 {
		return
	}
	e, found := t.leases.Get(id)
	if !found {
		panic(fmt.Sprintf("lease: a key is tied to the lease %d, which is not there", id))
	}
	e.keys += keys
	e.bytes += uint64(bytes)
	t.leases.Set(id, e)
}

// Ended counts what a tick has ended. Locks count as keys.
type Ended struct{ Leases, Keys int }

// Next returns what is due first, and has to end in the tick that has already ended that; ok
// is false if nothing is due, or if the next tick has to end it. In the latter case left
// is true. keys is what counts of it.
func (t *Table) Next(ended Ended) (due Due, keys int, ok, left bool) {
	due, found := t.due.Min()
	if !found || due.Deadline > t.time {
		return Due{}, 0, false, false
	}
	keys = 1
	if due.Kind == OfLease {
		e, _ := t.leases.Get(due.Lease)
		keys = e.keys + e.locks
	}
	if ended != (Ended{}) && (ended.Leases >= t.limits.EndLeases || ended.Keys+keys > t.limits.EndKeys) {
		return due, keys, false, true
	}
	return due, keys, true, false
}

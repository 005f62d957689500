package kv

import (
	"bytes"

	"raftkv/kvserver/lease"
)

// run does what c asks for. It does not check whether that was done before.
func (s *Store) run(c Command) Result {
	if !s.Keeps(c.Guard) {
		return Result{Status: StatusLockLost, Revision: s.revision}
	}
	if c.Op.onLocks() {
		return s.runLock(c)
	}
	if c.Op.onMany() {
		return s.runMany(c)
	}
	if c.Op.onLeases() && c.Op != OpTouch {
		return s.runLease(c)
	}
	if len(c.Key) == 0 || len(c.Key) > MaxKeyBytes {
		return Result{Status: StatusBadKey, Revision: s.revision}
	}
	switch c.Op {
	case OpPut:
		return s.put(c)
	case OpAppend:
		return s.append(c)
	case OpDelete:
		return s.delete(c)
	case OpGet:
		return s.get(c)
	case OpTouch:
		return s.touchKey(c)
	}
	panic("kv: " + c.Op.String() + " is not an operation on a key")
}

func (s *Store) put(c Command) Result {
	at, old := s.look(c.Key)
	length := len(c.Value)
	if c.KeepValue {
		length = len(old.Value)
	}
	ties, refusal, refused := s.judge(&c, old, at, length)
	switch {
	case refused:
		return refusal
	case c.KeepValue:
		return s.set(c.Key, old.Value, old.checksum, old, at, ties).with(&c, old, ties.old.Lease)
	}
	// The command's bytes belong to the log, where a small value may lie inside
	// a large batch; a copy lets both go at their own time.
	return s.set(c.Key, bytes.Clone(c.Value), checksumOf(0, c.Value), old, at, ties).with(&c, old, ties.old.Lease)
}

func (s *Store) append(c Command) Result {
	at, old := s.look(c.Key)
	ties, refusal, refused := s.judge(&c, old, at, len(old.Value)+len(c.Value))
	if refused {
		return refusal
	}
	return s.set(c.Key, grow(old.Value, c.Value), checksumOf(old.checksum, c.Value), old, at, ties).with(&c, old, ties.old.Lease)
}

// ties are what a key was tied to and what it is to be tied to.
type ties struct{ old, new lease.Tie }

// judge returns the answer to a put or append that may not be made, or what it does to
// the key's tie; the value under the key would then have length bytes. The condition goes
// first, because it tells the client most.
func (s *Store) judge(c *Command, old Item, at place, length int) (t ties, refusal Result, refused bool) {
	if !c.Condition.holds(old, at.found) {
		return t, conditionFailed(old), true
	}
	grown := length - len(old.Value)
	if at.found {
		t.old = s.leases.Tie(s.items.rows.at(at.row).key)
	} else {
		grown += len(c.Key)
	}
	t.new, refusal, refused = s.tieOf(c, old, at, t.old, len(c.Key)+length)
	switch {
	case refused:
		return t, refusal, true
	case length > MaxValueBytes, c.MaxLength != 0 && uint64(length) > c.MaxLength:
		return t, Result{Status: StatusTooLong, Revision: s.revision}, true
	}
	refusal, refused = s.overQuota(c.Quota, grown+lease.TieBytes*(tieCount(t.new)-tieCount(t.old)))
	return t, refusal, refused
}

// overQuota returns the answer to a change by which the store would grow by this number of
// bytes, if it may not.
func (s *Store) overQuota(quota uint64, by int) (refusal Result, refused bool) {
	if quota != 0 && by > 0 && uint64(s.used()+by) > quota {
		return Result{Status: StatusQuota, Revision: s.revision}, true
	}
	return Result{}, false
}

// used is what the store counts of a quota, in bytes.
func (s *Store) used() int { return s.bytes + lease.TieBytes*s.leases.Ties() }

func conditionFailed(present Item) Result {
	return Result{Status: StatusConditionFailed, Revision: present.Revision, Version: present.Version}
}

// grow returns old with more at its end, in most cases without copying old. Like
// every append it leaves spare capacity behind the value and fills it in place.
//
// The rule that values never change still holds. Only the store itself can see
// the capacity, and it continues a value only once:
//   - a value that leaves the package is clipped to its length (Item.clipped);
//   - a frozen view holds the same array with the shorter length, and reads no
//     further than that;
//   - the longer value replaces the shorter one in the live tree, so no second
//     append can start from the shorter one. Frozen views are never appended to.
func grow(old, more []byte) []byte { return append(old, more...) }

// place is where a key stands in the table.
type place struct {
	hash  uint64 // of the key
	row   uint32 // if it was found
	found bool
}

// look finds a key and its item, which is zero if there is no such key. The place
// serves the change that follows, so that a change searches once.
func (s *Store) look(key []byte) (at place, item Item) {
	at.hash = keyHash(key)
	if at.row, at.found = s.items.find(key, at.hash); at.found {
		item = s.items.rows.at(at.row).Item
	}
	return at, item
}

// set puts a value with this checksum in place of old.
func (s *Store) set(key, value []byte, checksum uint32, old Item, at place, t ties) Result {
	s.revision++
	s.bytes += len(value) - len(old.Value)
	item := Item{Value: value, Revision: s.revision, Version: old.Version + 1, Created: old.Created, checksum: checksum}
	history := s.level >= LevelHistory
	if history && !at.found {
		item.Created = s.revision
	}
	s.sum += item.hash(at.hash)
	if at.found {
		s.sum -= old.hash(at.hash)
		s.items.replace(at.row, item)
	} else {
		s.bytes += len(key)
		at.row = s.items.insert(string(key), at.hash, item)
	}
	if history {
		key := s.items.rows.at(at.row).key
		s.leases.Bind(key, t.old, len(key)+len(old.Value), t.new, len(key)+len(value))
		s.note(Event{Revision: s.revision, Key: key, Op: EventPut, hash: at.hash, Item: item, Prev: old, Lease: t.new.Lease, PrevLease: t.old.Lease})
	}
	return Result{
		Revision: item.Revision,
		Version:  item.Version,
		Length:   uint64(len(value)),
		Created:  !at.found,
	}
}

func (s *Store) delete(c Command) Result {
	at, old := s.look(c.Key)
	if !c.Condition.holds(old, at.found) {
		return conditionFailed(old)
	}
	var e Event
	if at.found {
		s.revision++
		if e = s.remove(at, old, EventDelete); s.level >= LevelHistory {
			s.note(e)
		}
	}
	return Result{Revision: s.revision, Deleted: at.found}.with(&c, old, e.PrevLease)
}

// remove removes a key that is there, and returns the event of it in the present
// revision.
func (s *Store) remove(at place, old Item, op EventOp) Event {
	key := s.items.rows.at(at.row).key
	tie, size := s.leases.Tie(key), len(key)+len(old.Value)
	s.items.remove(at.row, at.hash)
	s.bytes -= size
	s.sum -= old.hash(at.hash)
	s.leases.Bind(key, tie, size, lease.Tie{}, 0)
	return Event{Revision: s.revision, Key: key, Op: op, hash: at.hash, Prev: old, PrevLease: tie.Lease}
}

func (s *Store) get(c Command) Result {
	item, found := s.Get(c.Key)
	if !found {
		return Result{Status: StatusNotFound, Revision: s.revision}
	}
	return Result{
		Revision: item.Revision,
		Version:  item.Version,
		Length:   uint64(len(item.Value)),
		Value:    item.Value,
	}
}

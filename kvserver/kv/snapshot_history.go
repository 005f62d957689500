package kv

import (
	"fmt"

	"raftkv/kvserver/lease"
	"raftkv/kvserver/lock"
)

// What a payload holds beyond version 3, from LevelHistory on.

func writeState(e *snapshotWriter, v, content *View) {
	writeNumbers(e, v, content)
	e.numbers(v.level, uint64(v.compacted+1), v.leases.Time(), v.historyLimit)
}

func (d *snapshotReader) state(s *Store) {
	d.numbers(s)
	level, compacted := d.number(), d.number()
	leaseTime, limit := d.number(), d.number()
	switch {
	case d.err != nil:
		return
	case level > LevelMax:
		d.unknown(&UnknownError{What: "level", Number: level})
		return
	case level < LevelHistory || s.revision < 1 || s.revision > maxRevision || compacted > s.revision+2 || !s.rules.historyFits(limit):
		d.bad("the level %d, the limit %d of the history and what it forgot cannot stand together", level, limit)
		return
	}
	s.level, s.compacted, s.historyLimit = level, int64(compacted)-1, limit
	d.check(s.leases.Load(leaseTime))
}

// writeHistory writes the events without what follows from the rest: the item behind
// an event is the one before the next event of that key, or the live one.
func writeHistory(e *snapshotWriter, v, content *View) {
	v.history.scan(v.history.first, func(event *Event) bool {
		e.numbers(uint64(event.Op), event.Revision, uint64(len(event.Key)))
		e.text(event.Key)
		if event.OfLock() {
			e.lockEvent(event)
		} else if e.numbers(event.Prev.Version); event.Existed() {
			e.numbers(event.Prev.Revision, event.Prev.Created, uint64(len(event.Prev.Value)))
			e.raw(event.Prev.Value)
			e.numbers(uint64(event.PrevLease))
		}
		if e.to != nil {
			content.sum += event.rehashed().sum()
		}
		return e.err == nil
	})
}

// rehashed returns the event with the checksums of the values that it has now.
func (e *Event) rehashed() *Event {
	again := *e
	again.Prev.checksum = checksumOf(0, e.Prev.Value)
	if again.hash = keyHash(e.Key); e.OfLock() {
		again.hash, again.Item.checksum = lockHash(e.Key), checksumOf(0, e.Item.Value)
	}
	return &again
}

func (d *snapshotReader) history(s *Store) {
	var last Event
	for d.more() {
		e := d.event()
		if d.err != nil {
			return
		}
		if e.Revision == last.Revision {
			e.place = last.place + 1
		}
		if e.Revision < last.Revision || e.Revision > s.revision || e.Revision < 2 || int64(e.Revision) < s.compacted || s.history.len() >= s.rules.events {
			d.bad("an event of revision %d that cannot stand where it stands", e.Revision)
			return
		}
		last = *s.history.push(e)
	}
	if d.err == nil && s.history.charged > s.historyLimit {
		d.bad("a history of %d bytes, where %d are kept", s.history.charged, s.historyLimit)
	}
	d.join(s)
}

// event reads one event, without the item behind it.
func (d *snapshotReader) event() (e Event) {
	op := d.number()
	e.Revision = d.number()
	if op > uint64(eventMax) && d.err == nil {
		d.unknown(&UnknownError{What: "operation of an event", Number: op})
		return e
	}
	if e.Op = EventOp(op); e.OfLock() {
		d.lockEvent(&e)
		return e
	}
	e.Key = string(d.bytes("key", 1, MaxKeyBytes))
	e.Prev.Version = d.number()
	if e.Existed() {
		e.Prev.Revision, e.Prev.Created = d.number(), d.number()
		e.Prev.Value = d.bytes("value", 0, MaxValueBytes)
		e.Prev.checksum = checksumOf(0, e.Prev.Value)
		e.PrevLease = int64(d.number())
	}
	e.hash = keyHash(e.Key)
	switch {
	case d.err != nil:
	case op == 0, e.Op.removes() && !e.Existed(), e.Existed() && (e.Prev.Revision >= e.Revision || e.Prev.Created > e.Prev.Revision):
		d.bad("an event of revision %d that cannot be", e.Revision)
	}
	return e
}

// join gives every event the item behind it, from the last event to the first.
func (d *snapshotReader) join(s *Store) {
	if d.err != nil {
		return
	}
	later := map[string]uint64{} // a key's event that was joined last
	for position := s.history.next; position > s.history.first; {
		position--
		e := s.history.at(position)
		if e.OfLock() {
			s.sum += e.sum()
			continue
		}
		if next, found := later[e.Key]; found {
			e.Item, e.Lease = s.history.at(next).Prev, s.history.at(next).PrevLease
		} else {
			e.Item, _ = s.Get([]byte(e.Key))
			e.Lease = s.leases.Tie(e.Key).Lease
		}
		later[e.Key] = position
		gone := e.Item.Version == 0
		if gone != e.Op.removes() || !gone && e.Item.Revision != e.Revision {
			d.bad("the event of revision %d does not lead to what follows it", e.Revision)
			return
		}
		s.sum += e.sum()
	}
}

// The sections of leases. Ties stand before the leases that they name.

func writeTies(e *snapshotWriter, v, content *View) {
	v.leases.ScanTies(func(key string, t lease.Tie) bool {
		e.numbers(uint64(len(key)))
		e.text(key)
		e.numbers(uint64(t.Lease), t.Deadline)
		if e.to != nil {
			content.leases.Sum += leaseHashes.Tie(key, t)
		}
		return e.err == nil
	})
}

func (d *snapshotReader) ties(s *Store) {
	last := ""
	for d.more() {
		key := string(d.bytes("key", 1, MaxKeyBytes))
		t := lease.Tie{Lease: int64(d.number()), Deadline: d.number()}
		if d.err != nil {
			return
		}
		item, found := s.Get([]byte(key))
		if !found || key <= last {
			d.bad("a tie of the key %.40q that cannot stand where it stands", key)
			return
		}
		last = key
		if err := s.leases.LoadTie(key, t, len(key)+len(item.Value)); err != nil {
			d.bad("%v", err)
		}
	}
}

// writeLeases writes the next id that is given where the log index is taken, and the
// leases.
func writeLeases(e *snapshotWriter, v, content *View) {
	e.numbers(v.leases.Free())
	v.leases.Scan(func(id int64, l *lease.Lease) bool {
		e.numbers(uint64(id), l.TTL, l.Deadline, l.Owner, uint64(len(l.Note)))
		e.text(l.Note)
		if e.to != nil {
			content.leases.Sum += leaseHashes.Lease(id, l)
		}
		return e.err == nil
	})
}

func (d *snapshotReader) leases(s *Store) {
	free := d.number()
	if d.err == nil {
		d.check(s.leases.LoadFree(free))
	}
	first, last := true, int64(0)
	for d.more() {
		id := int64(d.number())
		l := lease.Lease{TTL: d.number(), Deadline: d.number(), Owner: d.number()}
		l.Note = string(d.bytes("note", 0, lease.MaxNoteBytes))
		if d.err != nil {
			return
		}
		if !first && id <= last {
			d.bad("the lease %d stands behind the lease %d", id, last)
			return
		}
		first, last = false, id
		d.check(s.leases.LoadLease(id, l))
	}
	if d.err == nil {
		d.check(s.leases.Complete())
	}
}

// check notes what a table has against a snapshot.
func (d *snapshotReader) check(err error) {
	if err != nil {
		d.bad("%v", err)
	}
}

// lockEvent writes what an event of a lock has behind the name: token and lease of the
// holder, and its value before and behind.
func (e *snapshotWriter) lockEvent(event *Event) {
	holder, id := event.Item, event.Lease
	if event.Op.frees() {
		holder, id = event.Prev, event.PrevLease
	}
	e.numbers(holder.Revision, uint64(id))
	for _, item := range []Item{event.Prev, event.Item} {
		e.numbers(uint64(len(item.Value)))
		e.raw(item.Value)
	}
}

// lockEvent reads an event of a lock behind its revision.
func (d *snapshotReader) lockEvent(e *Event) {
	e.Key = string(d.bytes("name of a lock", 1, lock.MaxNameBytes))
	token, id := d.number(), int64(d.number())
	before, behind := d.bytes("value of a lock", 0, lock.MaxValueBytes), d.bytes("value of a lock", 0, lock.MaxValueBytes)
	if e.hash = lockHash(e.Key); e.Op != EventGranted {
		e.Prev, e.PrevLease = heldItem(lock.Holder{Token: token, Value: before}), id
	}
	if !e.Op.frees() {
		e.Item, e.Lease = heldItem(lock.Holder{Token: token, Value: behind}), id
	}
	if d.err == nil && (id == 0 || token < 2 || token > e.Revision || (token == e.Revision) != (e.Op == EventGranted) ||
		e.Op == EventGranted && len(before) > 0 || e.Op.frees() && len(behind) > 0) {
		d.bad("an event of the lock %.40q at revision %d that cannot be", e.Key, e.Revision)
	}
}

func writeLocks(e *snapshotWriter, v, content *View) {
	v.locks.Ascend("", func(name string, l lock.Lock) bool {
		e.numbers(uint64(len(name)))
		e.text(name)
		e.numbers(uint64(l.Limit), uint64(len(l.Holders)))
		for i := range l.Holders {
			e.use(l.Holders[i].Token, l.Holders[i].Lease, l.Holders[i].Delay, l.Holders[i].Value)
		}
		e.numbers(uint64(len(l.Queue)))
		for i := range l.Queue {
			e.use(l.Queue[i].Since, l.Queue[i].Lease, l.Queue[i].Delay, l.Queue[i].Value)
		}
		e.numbers(uint64(len(l.Delays)))
		e.numbers(l.Delays...)
		if e.to != nil {
			content.locks.Sum += lock.SumOf(lockHashes, name, &l)
		}
		return e.err == nil
	})
}

// use writes a holder, or a lease that waits.
func (e *snapshotWriter) use(number uint64, id int64, delay uint64, value []byte) {
	e.numbers(number, uint64(id), delay, uint64(len(value)))
	e.raw(value)
}

func (d *snapshotReader) use() (number uint64, id int64, delay uint64, value []byte) {
	return d.number(), int64(d.number()), d.number(), d.bytes("value of a lock", 0, lock.MaxValueBytes)
}

func (d *snapshotReader) locks(s *Store) {
	last := ""
	for d.more() {
		name := string(d.bytes("name of a lock", 1, lock.MaxNameBytes))
		l := lock.Lock{Limit: int(min(d.number(), lock.MaxLimit+1))}
		for range min(d.number(), lock.MaxLimit+1) {
			var h lock.Holder
			h.Token, h.Lease, h.Delay, h.Value = d.use()
			l.Holders = append(l.Holders, h)
		}
		for range min(d.number(), uint64(s.rules.locks.Queue)+1) {
			var w lock.Waiter
			w.Since, w.Lease, w.Delay, w.Value = d.use()
			l.Queue = append(l.Queue, w)
		}
		for range min(d.number(), lock.MaxLimit+1) {
			l.Delays = append(l.Delays, d.number())
		}
		if d.err != nil {
			return
		}
		if name <= last {
			d.bad("the lock %.40q cannot stand behind %.40q", name, last)
			return
		}
		last = name
		d.check(s.loadLock(name, l))
	}
}

// loadLock adds a lock of a snapshot.
func (s *Store) loadLock(name string, l lock.Lock) error {
	if err := s.locks.Load(name, l, s.revision, s.applied, s.leases.Time()); err != nil {
		return err
	}
	ids := make([]int64, 0, len(l.Holders)+len(l.Queue))
	for i := range l.Holders {
		ids = append(ids, l.Holders[i].Lease)
	}
	for i := range l.Queue {
		ids = append(ids, l.Queue[i].Lease)
	}
	for _, id := range ids {
		if s.leases.TakesLock(id) != 0 {
			return fmt.Errorf("the lease %d cannot have the lock %.40q", id, name)
		}
		s.leases.CountLock(id, 1)
	}
	return nil
}

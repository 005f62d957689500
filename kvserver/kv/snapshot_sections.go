package kv

import (
	"fmt"

	"raftkv/kvserver/lease"
	"raftkv/kvserver/lock"
)

// Flags of a lane or a record: Created and Deleted of its result, and whether there is
// an answer in the section of those, from LevelHistory on.
const (
	flagCreated  = 1 << 0
	flagDeleted  = 1 << 1
	flagAnswered = 1 << 2
)

func flagsOf(created, deleted, answered bool) uint64 {
	return bit(created)*flagCreated | bit(deleted)*flagDeleted | bit(answered)*flagAnswered
}

func writeNumbers(e *snapshotWriter, v, _ *View) {
	e.numbers(v.applied, v.revision, v.logTime, v.stamped.origin, v.stamped.time)
}

func (d *snapshotReader) numbers(s *Store) {
	s.applied, s.revision, s.logTime = d.number(), d.number(), d.number()
	s.stamped = stamp{origin: d.number(), time: d.number()}
}

func writeItems(e *snapshotWriter, v, content *View) { e.items(v, content, e.item) }

func writeCreatedItems(e *snapshotWriter, v, content *View) { e.items(v, content, e.createdItem) }

func (e *snapshotWriter) items(v, content *View, write func(key string, item Item)) {
	if e.to == nil {
		// To count the bytes needs no order and no checksum over all values.
		v.items.rows.scan(func(_ uint32, r *row) { write(r.key, r.Item) })
		return
	}
	v.items.scan(func(key string, item Item) bool {
		write(key, item)
		item.checksum = checksumOf(0, item.Value)
		content.sum += item.hash(keyHash(key))
		return e.err == nil
	})
}

func (e *snapshotWriter) item(key string, item Item) {
	e.numbers(uint64(len(key)))
	e.text(key)
	e.numbers(uint64(len(item.Value)))
	e.raw(item.Value)
	e.numbers(item.Revision, item.Version)
}

func (e *snapshotWriter) createdItem(key string, item Item) {
	e.item(key, item)
	e.numbers(item.Created)
}

func writeSessions(e *snapshotWriter, v, content *View) { e.sessions(v, content, false) }

func writeOwnedSessions(e *snapshotWriter, v, content *View) { e.sessions(v, content, true) }

func (e *snapshotWriter) sessions(v, content *View, owned bool) {
	v.sessions.Scan(func(id uint64, s session) bool {
		e.numbers(id, s.lastUsed)
		if owned {
			e.numbers(s.owner)
		}
		content.sum += s.hash(id)
		return e.err == nil
	})
}

func (d *snapshotReader) sessions(s *Store) { d.readSessions(s, false) }

func (d *snapshotReader) ownedSessions(s *Store) { d.readSessions(s, true) }

func (d *snapshotReader) readSessions(s *Store, owned bool) {
	last := uint64(0)
	for d.more() {
		id, lastUsed, owner := d.number(), d.number(), uint64(0)
		if owned {
			owner = d.number()
		}
		_, taken := s.recency.Get(lastUsed)
		if d.err == nil && (id <= last || lastUsed < id || lastUsed > s.applied || taken || s.sessions.Len() >= s.rules.sessions) {
			d.bad("session %d cannot have been used last at %d", id, lastUsed)
		}
		if d.err == nil {
			s.setSession(id, session{lastUsed: lastUsed, owner: owner})
		}
		last = id
	}
}

func writeLanes(e *snapshotWriter, v, content *View) {
	v.lanes.Scan(func(l lane) bool {
		e.numbers(l.session, uint64(l.number), uint64(l.status), l.flags(), l.seq, l.revision, l.version, l.length, 0, 0)
		content.sum += l.hash()
		return e.err == nil
	})
}

func (d *snapshotReader) lanes(s *Store) {
	var last lane
	for d.more() {
		l := lane{session: d.number()}
		number, status, flags := d.number(), d.number(), d.number()
		l.seq, l.revision, l.version, l.length = d.number(), d.number(), d.number(), d.number()
		d.zero("shard of a lane")
		d.zero("index of a lane")
		d.outcome("lane", s.level, status, flags)
		l.number = uint32(number)
		_, open := s.sessions.Get(l.session)
		if d.err == nil && (!open || !laneLess(last, l) && s.lanes.Len() > 0 || number >= uint64(s.rules.lanes) || s.lanes.Len() >= s.rules.lanesTotal) {
			d.bad("lane %d of session %d makes no sense", number, l.session)
		}
		l.status = Status(status)
		l.created, l.deleted, l.answered = flags&flagCreated != 0, flags&flagDeleted != 0, flags&flagAnswered != 0
		if d.err == nil {
			s.setLane(lane{}, false, l)
		}
		last = l
	}
}

func writeRecords(e *snapshotWriter, v, content *View) {
	v.records.scan(func(r *record) bool {
		e.raw(r.id[:])
		e.raw(r.fingerprint[:])
		e.numbers(r.time, uint64(r.status), r.flags(), r.revision, r.version, uint64(r.length), r.identity, 0, 0)
		content.sum += r.hash()
		return e.err == nil
	})
}

func (d *snapshotReader) records(s *Store) { d.readRecords(s, false) }

func (d *snapshotReader) ownedRecords(s *Store) { d.readRecords(s, true) }

func (d *snapshotReader) readRecords(s *Store, owned bool) {
	last := uint64(0)
	for d.more() {
		var r record
		copy(r.id[:], d.raw(len(r.id)))
		copy(r.fingerprint[:], d.raw(len(r.fingerprint)))
		time, status, flags := d.number(), d.number(), d.number()
		revision, version, length := d.number(), d.number(), d.number()
		if owned {
			r.identity = d.number()
		} else {
			d.zero("identity of a record")
		}
		d.zero("shard of a record")
		d.zero("index of a record")
		d.outcome("record", s.level, status, flags)
		at, twice := s.recordAt[r.name()]
		if twice && s.level >= LevelHistory {
			// A request for a lock that has left the queue may be made again.
			before := s.records.at(at).status
			twice = before != StatusQueued && before != StatusLockNotFound
		}
		if d.err == nil && (twice || time < last || time > s.logTime || length > MaxValueBytes || s.records.len() >= s.rules.records) {
			d.bad("an idempotency record that cannot stand where it stands")
		}
		if d.err != nil {
			return
		}
		last = time
		r.time, r.status, r.created, r.deleted = time, Status(status), flags&flagCreated != 0, flags&flagDeleted != 0
		r.answered = flags&flagAnswered != 0
		r.revision, r.version, r.length = revision, version, uint32(length)
		s.remember(r)
	}
}

// outcome judges how a remembered call ended.
func (d *snapshotReader) outcome(of string, level, status, flags uint64) {
	if d.err != nil {
		return
	}
	known, highest := flagCreated|flagDeleted, statusMaxBase
	if level >= LevelHistory {
		known, highest = known|flagAnswered, statusMax
	}
	if status > uint64(highest) {
		d.unknown(&UnknownError{What: "status of a " + of, Number: status})
	}
	if flags > uint64(known) {
		d.unknown(&UnknownError{What: "flags of a " + of, Number: flags})
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

package kv

import "raftkv/kvserver/lease"

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
		e.numbers(event.Prev.Version)
		if event.Existed() {
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
	again.hash = keyHash(e.Key)
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
	e.Key = string(d.bytes("key", 1, MaxKeyBytes))
	e.Prev.Version = d.number()
	if e.Existed() {
		e.Prev.Revision, e.Prev.Created = d.number(), d.number()
		e.Prev.Value = d.bytes("value", 0, MaxValueBytes)
		e.Prev.checksum = checksumOf(0, e.Prev.Value)
		e.PrevLease = int64(d.number())
	}
	e.Op, e.hash = EventOp(op), keyHash(e.Key)
	switch {
	case d.err != nil:
	case op > uint64(EventExpire):
		d.unknown(&UnknownError{What: "operation of an event", Number: op})
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

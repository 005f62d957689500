package kv

// What a payload holds beyond version 3, from LevelHistory on.

func writeState(e *snapshotWriter, v, content *View) {
	writeNumbers(e, v, content)
	// The zero is kept for the time of leases.
	e.numbers(v.level, uint64(v.compacted+1), 0, v.historyLimit)
}

func (d *snapshotReader) state(s *Store) {
	d.numbers(s)
	level, compacted := d.number(), d.number()
	d.zero("lease time")
	limit := d.number()
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
	}
	e.Op, e.hash = EventOp(op), keyHash(e.Key)
	switch {
	case d.err != nil:
	case op > uint64(EventDelete):
		d.unknown(&UnknownError{What: "operation of an event", Number: op})
	case op == 0, e.Op == EventDelete && !e.Existed(), e.Existed() && (e.Prev.Revision >= e.Revision || e.Prev.Created > e.Prev.Revision):
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
			e.Item = s.history.at(next).Prev
		} else {
			e.Item, _ = s.Get([]byte(e.Key))
		}
		later[e.Key] = position
		gone := e.Item.Version == 0
		if gone != (e.Op == EventDelete) || !gone && e.Item.Revision != e.Revision {
			d.bad("the event of revision %d does not lead to what follows it", e.Revision)
			return
		}
		s.sum += e.sum()
	}
}

package kv

import (
	"bytes"
	"slices"

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

const (
	// eventsPerJob is how many events one job makes: each has a value to copy and to sum.
	eventsPerJob = 128
	// sumsPerJob is how many joined events one job sums.
	sumsPerJob = 4 * eventChunk
)

// eventLoader loads the section of the history in the way in which itemLoader loads the
// items: it finds the whole events of a window, lets jobs make them, and adds them in
// order. Events of locks, which are few, and what is wrong are read number by number.
type eventLoader struct {
	store *Store
	last  Event
	found []foundEvent
	made  []Event
}

// foundEvent is an event inside of the window.
type foundEvent struct {
	event      Event // without what key and value give
	key, value []byte
}

func (d *snapshotReader) history(s *Store) {
	l := &eventLoader{store: s}
	for d.more() {
		if l.loadWindow(d) {
			continue
		}
		if e := d.event(); d.err == nil {
			l.add(d, &e)
		}
	}
	if d.err == nil && s.history.charged > s.historyLimit {
		d.bad("a history of %d bytes, where %d are kept", s.history.charged, s.historyLimit)
	}
	d.join(s)
}

// loadWindow loads the events of keys at the beginning of the next window. It reports
// false, and has read nothing, if there is none.
func (l *eventLoader) loadWindow(d *snapshotReader) bool {
	window, _ := d.from.Peek(int(min(d.left, int64(d.from.Size())))) // the error comes again
	used := l.find(window)
	if used == 0 {
		return false
	}
	l.made = slices.Grow(l.made[:0], len(l.found))[:len(l.found)]
	d.each((len(l.found)+eventsPerJob-1)/eventsPerJob, l.make)
	d.skip(used)
	for i := range l.made {
		l.add(d, &l.made[i])
	}
	return true
}

// find finds the whole events of keys at the beginning of the window and returns their
// length. It stops at an event of a lock and at one that makes no sense by itself.
func (l *eventLoader) find(window []byte) (used int) {
	l.found = l.found[:0]
	rest := cursor{window}
	for {
		var op, lease uint64
		var f foundEvent
		e := &f.event
		ok := rest.number(&op) && op > 0 && op < uint64(EventGranted) && rest.number(&e.Revision) &&
			rest.bytes(&f.key, 1, MaxKeyBytes) && rest.number(&e.Prev.Version)
		if ok && e.Existed() {
			ok = rest.number(&e.Prev.Revision) && rest.number(&e.Prev.Created) &&
				rest.bytes(&f.value, 0, MaxValueBytes) && rest.number(&lease)
		}
		e.Op, e.PrevLease = EventOp(op), int64(lease)
		if !ok || !e.plausible() {
			return used
		}
		l.found = append(l.found, f)
		used = len(window) - len(rest.b)
	}
}

// plausible reports whether the event of a key can be, for what it says by itself.
func (e *Event) plausible() bool {
	if !e.Existed() {
		return !e.Op.removes()
	}
	return e.Prev.Revision < e.Revision && e.Prev.Created <= e.Prev.Revision
}

// make is a job: it makes eventsPerJob of the events that were found. The window is used
// again, so values are copied; join gives most keys the string of the live one.
func (l *eventLoader) make(job int) {
	first := job * eventsPerJob
	for i := first; i < min(first+eventsPerJob, len(l.found)); i++ {
		f := &l.found[i]
		e := f.event
		e.Key, e.hash = string(f.key), keyHash(f.key)
		if e.Existed() {
			e.Prev.Value = bytes.Clone(f.value)
			e.Prev.checksum = checksumOf(0, f.value)
			e.Prev = e.Prev.clipped()
		}
		l.made[i] = e
	}
}

// add puts the next event into the history, unless it cannot be the next.
func (l *eventLoader) add(d *snapshotReader, e *Event) {
	s := l.store
	if d.err != nil {
		return
	}
	if e.Revision == l.last.Revision {
		e.place = l.last.place + 1
	}
	if e.Revision < l.last.Revision || e.Revision > s.revision || e.Revision < 2 || int64(e.Revision) < s.compacted || s.history.len() >= s.rules.events {
		d.bad("an event of revision %d that cannot stand where it stands", e.Revision)
		return
	}
	l.last = *s.history.push(*e)
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
	case op == 0, !e.plausible():
		d.bad("an event of revision %d that cannot be", e.Revision)
	}
	return e
}

// join gives every event the item behind it, from the last event to the first: that is the
// item before the key's next event, or the live one. An event of a live key then shares
// the string of that.
func (d *snapshotReader) join(s *Store) {
	if d.err != nil {
		return
	}
	j := joiner{store: s, live: make([]uint32, s.items.len()), gone: map[string]uint64{}}
	for position := s.history.next; position > s.history.first; {
		position--
		e := s.history.at(position)
		if e.OfLock() {
			continue
		}
		j.join(e, position)
		gone := e.Item.Version == 0
		if gone != e.Op.removes() || !gone && e.Item.Revision != e.Revision {
			d.bad("the event of revision %d does not lead to what follows it", e.Revision)
			return
		}
	}
	sums := make([]uint64, (s.history.len()+sumsPerJob-1)/sumsPerJob)
	d.each(len(sums), func(job int) {
		first := s.history.first + uint64(job)*sumsPerJob
		end := min(first+sumsPerJob, s.history.next)
		s.history.scan(first, func(e *Event) bool {
			sums[job] += e.sum()
			first++
			return first < end
		})
	})
	for _, sum := range sums {
		s.sum += sum
	}
}

// joiner knows which event of each key was joined last: by the row of a live key, by the
// name of another.
type joiner struct {
	store *Store
	key   []byte            // scratch
	live  []uint32          // by row: how far behind the first event, from 1; 0: there is none
	gone  map[string]uint64 // positions
}

// join gives an event the item behind it.
func (j *joiner) join(e *Event, position uint64) {
	h := &j.store.history
	j.key = append(j.key[:0], e.Key...)
	row, found := j.store.items.find(j.key, e.hash)
	if !found {
		if later, found := j.gone[e.Key]; found {
			e.Item, e.Lease = h.at(later).Prev, h.at(later).PrevLease
		}
		j.gone[e.Key] = position
		return
	}
	live := j.store.items.rows.at(row)
	e.Key = live.key
	if later := j.live[row]; later != 0 {
		next := h.at(h.first + uint64(later) - 1)
		e.Item, e.Lease = next.Prev, next.PrevLease
	} else {
		e.Item, e.Lease = live.Item.clipped(), j.store.leases.Tie(e.Key).Lease
	}
	j.live[row] = uint32(position-h.first) + 1
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

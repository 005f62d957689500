package kv

import (
	"fmt"
	"slices"
	"sort"
)

// MaxHistoryEvents is the maximum number of events that the history keeps.
const MaxHistoryEvents = 1 << 20

// eventCharge is what an event costs of the limit in addition to its key and the
// value before it: about its size in memory.
const eventCharge = 128

// EventOp is what an event did. Values are stored in snapshots: they are only ever
// added to.
type EventOp uint8

// What an event can have done.
const (
	EventPut    EventOp = 1 // the key has a new value
	EventDelete EventOp = 2 // the key is gone
	EventExpire EventOp = 3 // the key is gone: its lease ended, or its own time

	// Of locks, whose name is the event's Key; see Event.OfLock.
	EventGranted     EventOp = 4 // a lease holds the lock
	EventReleased    EventOp = 5 // it holds the lock no longer: it was released
	EventLockExpired EventOp = 6 // its lease expired
	EventLockRevoked EventOp = 7 // its lease was revoked
	EventPublished   EventOp = 8 // the holder's value is another

	eventMax = EventPublished
)

func (o EventOp) String() string {
	switch o {
	case EventPut:
		return "put"
	case EventDelete:
		return "delete"
	case EventExpire:
		return "expire"
	case EventGranted, EventPublished:
		return "granted"
	case EventReleased, EventLockExpired, EventLockRevoked:
		return "released"
	}
	return fmt.Sprintf("event(%d)", uint8(o))
}

// Reason says why a lock was released, or granted again to its holder; "" if that needs no
// reason.
func (o EventOp) Reason() string {
	switch o {
	case EventReleased:
		return "released"
	case EventLockExpired:
		return "expired"
	case EventLockRevoked:
		return "revoked"
	case EventPublished:
		return "published"
	}
	return ""
}

// removes reports whether the key is gone behind the event.
func (o EventOp) removes() bool { return o == EventDelete || o == EventExpire }

// frees reports whether a place of the lock is free behind the event.
func (o EventOp) frees() bool { return o >= EventReleased && o <= EventLockRevoked }

// Event is what one change did to one key or lock. It never changes, and its values must not
// be changed.
type Event struct {
	Revision uint64 // of the change
	Key      string
	Op       EventOp
	place    uint32 // among the events of its change, from 0
	hash     uint64 // of the key
	// Item is the key's item behind the change, zero if the key is gone. Prev is the
	// one before the change, with version 0 if there was no such key.
	Item, Prev Item
	// Lease and PrevLease are what the key was tied to behind and before the change; 0:
	// nothing, or only a time of its own.
	Lease, PrevLease int64
}

// OfLock reports whether the event is about a lock. Key is its name then, and Item and Prev
// are what the holder was behind and before the change: its value, and its token as
// revision; Lease and PrevLease are its lease.
func (e *Event) OfLock() bool { return e.Op >= EventGranted }

// Existed reports whether there was such a key before the change.
func (e *Event) Existed() bool { return e.Prev.Version != 0 }

// charge is what the event costs of the history's limit.
func (e *Event) charge() uint64 {
	return eventCharge + uint64(len(e.Key)) + uint64(len(e.Prev.Value))
}

// sum is the event's hash in the digest.
func (e *Event) sum() uint64 {
	h := hashOf(hashEvent, e.hash, e.Revision, uint64(e.place)<<8|uint64(e.Op), e.Item.hash(0), e.Prev.hash(0))
	if e.Lease != 0 || e.PrevLease != 0 {
		h = mix(mix(h, uint64(e.Lease)), uint64(e.PrevLease))
	}
	return h
}

const (
	// eventChunk is the number of events of a chunk.
	eventChunk = 512
	// chunkCharge closes a chunk early. A chunk holds on to the values of events that
	// were dropped until all of its events are, so a chunk of large values is short.
	chunkCharge = 1 << 20
)

// events is a chunk: events that stand one behind the other.
type events struct {
	first uint64 // position of list[0]
	list  [eventChunk]Event
}

// history holds events in the order in which they happened. An event never changes,
// so a copy of the history is a frozen history: events that the original takes in
// later lie beyond the copy's end. The chunks can be read without the lock of the
// store.
type history struct {
	chunks      []*events
	first, next uint64 // positions of the oldest event and of the next one to come
	charged     uint64 // for all events
	filling     uint64 // charged for the events of the last chunk
}

func (h *history) len() int { return int(h.next - h.first) }

// chunkAt returns the number of the chunk that holds a position. Each put asks for the
// first chunk and the last one, so those are found without a search.
func (h *history) chunkAt(position uint64) int {
	n := len(h.chunks)
	switch {
	case n == 1 || position < h.chunks[1].first:
		return 0
	case position >= h.chunks[n-1].first:
		return n - 1
	}
	return sort.Search(len(h.chunks), func(i int) bool { return h.chunks[i].first > position }) - 1
}

// at returns the event at a position from first to next, which is not itself one.
func (h *history) at(position uint64) *Event {
	c := h.chunks[h.chunkAt(position)]
	return &c.list[position-c.first]
}

// behind returns the position of the first event behind a revision; next, if there is
// none.
func (h *history) behind(revision uint64) uint64 {
	n := sort.Search(h.len(), func(i int) bool { return h.at(h.first+uint64(i)).Revision > revision })
	return h.first + uint64(n)
}

// push adds an event and returns it.
func (h *history) push(e Event) *Event {
	n := len(h.chunks)
	if n == 0 || h.next-h.chunks[n-1].first == eventChunk || h.filling >= chunkCharge {
		h.chunks = append(h.chunks, &events{first: h.next})
		h.filling = 0
		n++
	}
	c := h.chunks[n-1]
	in := &c.list[h.next-c.first]
	*in = e
	h.next++
	h.charged += e.charge()
	h.filling += e.charge()
	return in
}

// pop removes the oldest event.
func (h *history) pop() {
	h.charged -= h.at(h.first).charge()
	h.first++
	if h.first == h.next || len(h.chunks) > 1 && h.first == h.chunks[1].first {
		// A list of its own: the old one would keep the chunk alive, and a frozen
		// history may still read from that.
		h.chunks = slices.Clone(h.chunks[1:])
	}
}

// scan calls fn for the events from a position on, until fn returns false.
func (h *history) scan(from uint64, fn func(e *Event) bool) {
	if from == h.next {
		return
	}
	for i := h.chunkAt(from); i < len(h.chunks); i++ {
		c, end := h.chunks[i], h.next
		if i+1 < len(h.chunks) {
			end = h.chunks[i+1].first
		}
		for ; from < end; from++ {
			if !fn(&c.list[from-c.first]) {
				return
			}
		}
	}
}

// note adds what a change did to a key. The change has one event.
func (s *Store) note(e Event) {
	s.noteMore(e)
	s.trim()
}

// noteMore adds one event of a change that may have several, with its place among them.
// Behind the last one the caller must call trim, which drops whole changes only.
func (s *Store) noteMore(e Event) {
	if s.historyLimit == 0 { // no chunk is made for an event that goes at once
		s.compacted = int64(s.revision) + 1
		return
	}
	e.Item, e.Prev = e.Item.clipped(), e.Prev.clipped()
	s.sum += s.history.push(e).sum()
}

// trim drops the eldest changes while the history is charged with more than it may
// hold. Nothing else but forget drops any, so all servers keep the same ones.
func (s *Store) trim() {
	for s.history.charged > s.historyLimit || s.history.len() > s.rules.events {
		s.dropChange()
		s.compacted = int64(s.revision) + 1
		if s.history.len() > 0 {
			s.compacted = int64(s.history.at(s.history.first).Revision)
		}
	}
}

// dropChange drops the eldest change.
func (s *Store) dropChange() {
	revision := s.history.at(s.history.first).Revision
	for s.history.len() > 0 {
		e := s.history.at(s.history.first)
		if e.Revision != revision {
			return
		}
		s.sum -= e.sum()
		s.history.pop()
	}
}

// dropHistory drops all changes: what comes next is the first that is kept.
func (s *Store) dropHistory() {
	for s.history.len() > 0 {
		s.dropChange()
	}
	s.compacted = int64(s.revision) + 1
}

// forget drops the changes before a revision.
func (s *Store) forget(revision uint64) Result {
	if revision > s.revision || int64(revision) <= s.compacted {
		return Result{Status: StatusNotForgettable, Revision: s.revision}
	}
	for s.history.len() > 0 && s.history.at(s.history.first).Revision < revision {
		s.dropChange()
	}
	s.compacted = int64(revision)
	return Result{Revision: s.revision}
}

// History is a frozen copy of the changes that a store keeps. Any number of
// goroutines may read it at the same time, while the store goes on.
type History struct {
	events    history
	compacted int64
	revision  uint64
	level     uint64
}

// History returns the changes that are kept now. It copies a few numbers.
func (v *View) History() History {
	return History{events: v.history, compacted: v.compacted, revision: v.revision, level: v.level}
}

// Active reports whether the store keeps a history at its level.
func (h *History) Active() bool { return h.level >= LevelHistory }

// Revision returns the revision of the store when the copy was made.
func (h *History) Revision() uint64 { return h.revision }

// Oldest returns the first revision whose change is kept or would be, if there was
// one: it may be one behind Revision.
func (h *History) Oldest() uint64 {
	if h.compacted < 0 {
		return 1
	}
	return uint64(h.compacted)
}

// Reaches reports whether every change behind a revision is kept.
func (h *History) Reaches(revision uint64) bool { return revision+1 >= h.Oldest() }

// Scan calls fn for the events behind a revision, in the order in which they happened,
// until fn returns false. Events of one change have one revision and stand together.
// The history must reach the revision.
func (h *History) Scan(revision uint64, fn func(e *Event) bool) {
	if !h.Reaches(revision) {
		panic(fmt.Sprintf("kv: changes behind revision %d are asked for, and the history begins at %d", revision, h.Oldest()))
	}
	h.events.scan(h.events.behind(revision), fn)
}

// HistoryBytes returns what the kept events are charged with.
// HistoryLimit says how much that may be.
func (v *View) HistoryBytes() uint64 { return v.history.charged }

// HistoryEvents returns the number of events that are kept.
func (v *View) HistoryEvents() int { return v.history.len() }

// HistoryLimit returns how many bytes the history may be charged with.
func (s *Store) HistoryLimit() uint64 { return s.historyLimit }

// HistoryLimit returns how many bytes the history may be charged with.
func (v *View) HistoryLimit() uint64 { return v.historyLimit }

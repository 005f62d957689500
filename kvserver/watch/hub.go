package watch

import (
	"slices"

	"raftkv/kvserver/kv"
)

const (
	// maxDue is how many changes a cursor can have waiting before its owner must read
	// the history itself.
	maxDue = 32
	// PieceChanges is how many changes are looked at in one go.
	PieceChanges = 1000
)

// Hub finds the watches that a change is for. It is not safe for concurrent use.
type Hub struct {
	history  kv.History
	revision uint64 // up to which the cursors were told
	all      []*Cursor
	keys     map[string]*group
	locks    map[string]*group
	prefixes map[string]*group
	// lengths are those of the prefixes, rising, and how many cursors have each. A key
	// can have one prefix of each length.
	lengths []prefixLength
	ranged  group     // that have ranges
	waiting []*Cursor // for the hub to come to a revision
}

type prefixLength struct{ bytes, count int }

// Cursor is the place of one watch in the history. Its fields are the hub's.
type Cursor struct {
	selectors Selectors
	wake      func()
	position  int // in Hub.all
	// at is the place of a cursor that is behind: every change up to there was taken. It
	// is also how far a cursor is ahead of the hub, if it is.
	at     uint64
	behind bool
	due    []uint64 // revisions that match, in order, up to maxDue; nil while there are none
	await  uint64   // wake when the hub has come to it; 0: nothing
	asleep bool     // wake was not called since the last Take
}

// group is cursors that are found together, each once. One leaves it at a cost that does not
// depend on how many there are, for a whole fleet may watch one prefix.
type group struct {
	cursors []*Cursor
	at      map[*Cursor]int // places in cursors; nil while they are few
}

// fewCursors may be looked through.
const fewCursors = 32

func (g *group) place(c *Cursor) int {
	if g.at == nil {
		return slices.Index(g.cursors, c)
	}
	if at, in := g.at[c]; in {
		return at
	}
	return -1
}

func (g *group) add(c *Cursor) {
	if g.place(c) >= 0 {
		return
	}
	g.cursors = append(g.cursors, c)
	switch n := len(g.cursors); {
	case g.at != nil:
		g.at[c] = n - 1
	case n > fewCursors:
		g.at = make(map[*Cursor]int, 2*n)
		for at, c := range g.cursors {
			g.at[c] = at
		}
	}
}

func (g *group) remove(c *Cursor) {
	at, last := g.place(c), len(g.cursors)-1
	if at < 0 {
		return
	}
	moved := g.cursors[last]
	g.cursors[at], g.cursors[last] = moved, nil
	g.cursors = g.cursors[:last]
	if g.at != nil {
		g.at[moved] = at
		delete(g.at, c)
	}
}

// NewHub returns a hub that stands at the end of a history.
func NewHub(h kv.History) *Hub {
	return &Hub{history: h, revision: h.Revision(), keys: map[string]*group{}, locks: map[string]*group{}, prefixes: map[string]*group{}}
}

// Revision returns the revision up to which the cursors were told.
func (h *Hub) Revision() uint64 { return h.revision }

// Len returns the number of cursors.
func (h *Hub) Len() int { return len(h.all) }

// Add adds a cursor behind a revision. wake is called when there may be something to
// take that was not there at the last Take; it must not block, nor call the hub.
func (h *Hub) Add(s Selectors, after uint64, wake func()) *Cursor {
	c := &Cursor{selectors: s, wake: wake, position: len(h.all)}
	h.all = append(h.all, c)
	for _, key := range s.Keys {
		with(h.keys, key, c)
	}
	for _, name := range s.Locks {
		with(h.locks, name, c)
	}
	for _, prefix := range s.Prefixes {
		with(h.prefixes, prefix, c)
		h.countLength(len(prefix), 1)
	}
	if len(s.Ranges) > 0 {
		h.ranged.add(c)
	}
	h.Move(c, after)
	return c
}

// Remove removes a cursor.
func (h *Hub) Remove(c *Cursor) {
	last := len(h.all) - 1
	h.all[last].position = c.position
	h.all[c.position] = h.all[last]
	h.all[last] = nil
	h.all = h.all[:last]
	for _, key := range c.selectors.Keys {
		without(h.keys, key, c)
	}
	for _, name := range c.selectors.Locks {
		without(h.locks, name, c)
	}
	for _, prefix := range c.selectors.Prefixes {
		without(h.prefixes, prefix, c)
		h.countLength(len(prefix), -1)
	}
	h.ranged.remove(c)
	if c.await != 0 {
		h.waiting = slices.DeleteFunc(h.waiting, func(other *Cursor) bool { return other == c })
	}
}

// with puts a cursor among those of a name.
func with(groups map[string]*group, name string, c *Cursor) {
	if groups[name] == nil {
		groups[name] = &group{}
	}
	groups[name].add(c)
}

// without takes a cursor out from among those of a name, if it is there.
func without(groups map[string]*group, name string, c *Cursor) {
	if g := groups[name]; g != nil {
		if g.remove(c); len(g.cursors) == 0 {
			delete(groups, name)
		}
	}
}

func (h *Hub) countLength(bytes, change int) {
	at, found := slices.BinarySearchFunc(h.lengths, bytes, func(l prefixLength, n int) int { return l.bytes - n })
	if !found {
		h.lengths = slices.Insert(h.lengths, at, prefixLength{bytes: bytes})
	}
	h.lengths[at].count += change
	if h.lengths[at].count == 0 {
		h.lengths = slices.Delete(h.lengths, at, at+1)
	}
}

// Advance tells the cursors of the next changes in a newer history, PieceChanges at
// most, and reports whether there are more. Between two calls others may use the hub.
func (h *Hub) Advance(newer kv.History) (more bool) {
	if newer.Revision() < h.history.Revision() { // its caller was overtaken by another
		return h.revision < h.history.Revision()
	}
	h.history = newer
	switch {
	case !newer.Active():
		h.revision = newer.Revision()
		return false
	case !newer.Reaches(h.revision):
		// What lies between is gone, or came with a snapshot: each owner sees for itself
		// whether its place still is in the history.
		h.fallBehind(newer.Revision())
	default:
		h.tell()
	}
	h.rouse()
	return h.revision < newer.Revision()
}

func (h *Hub) tell() {
	changes, last := 0, h.revision
	full := false
	h.history.Scan(h.revision, func(e *kv.Event) bool {
		if e.Revision != last {
			if changes == PieceChanges {
				full = true
				return false
			}
			changes++
			last = e.Revision
		}
		h.match(e)
		return true
	})
	h.revision = last
	if !full {
		h.revision = h.history.Revision() // revisions without an event, if any, come to nobody
	}
}

// match notes a change at the cursors that select the key or lock of one of its events.
func (h *Hub) match(e *kv.Event) {
	if e.OfLock() {
		h.locks[e.Key].note(e.Revision)
		return
	}
	h.keys[e.Key].note(e.Revision)
	for _, l := range h.lengths {
		if l.bytes > len(e.Key) {
			break
		}
		h.prefixes[e.Key[:l.bytes]].note(e.Revision)
	}
	for _, c := range h.ranged.cursors {
		if slices.ContainsFunc(c.selectors.Ranges, func(r Range) bool { return r.holds(e.Key) }) {
			c.note(e.Revision)
		}
	}
}

// note adds a revision to what waits at each cursor of a group, which may be nil.
func (g *group) note(revision uint64) {
	if g == nil {
		return
	}
	for _, c := range g.cursors {
		c.note(revision)
	}
}

// note adds a revision to what waits at a cursor, once.
func (c *Cursor) note(revision uint64) {
	switch {
	case c.behind, revision <= c.at, len(c.due) > 0 && c.due[len(c.due)-1] == revision:
		return
	case len(c.due) == maxDue:
		c.behind, c.at, c.due = true, c.due[0]-1, nil
	default:
		c.due = append(c.due, revision)
	}
	c.rouse()
}

func (c *Cursor) rouse() {
	if c.asleep {
		c.asleep = false
		c.wake()
	}
}

// fallBehind leaves every cursor where it is and moves the hub to a revision.
func (h *Hub) fallBehind(revision uint64) {
	for _, c := range h.all {
		switch {
		case c.behind:
		case len(c.due) > 0:
			c.at = c.due[0] - 1
		default:
			c.at = max(c.at, h.revision)
		}
		c.behind, c.due = c.at < revision, nil
		c.rouse()
	}
	h.revision = revision
}

// rouse wakes the owners that wait for a revision to which the hub has come.
func (h *Hub) rouse() {
	h.waiting = slices.DeleteFunc(h.waiting, func(c *Cursor) bool {
		if c.await > h.revision {
			return false
		}
		c.await = 0
		c.rouse()
		return true
	})
}

// WakeAll wakes every owner, whether it has looked since it was last woken or not.
func (h *Hub) WakeAll() {
	for _, c := range h.all {
		c.asleep = false
		c.wake()
	}
}

// Due is what the owner of a cursor must look at.
type Due struct {
	// Scan: read the history behind UpTo, and say with Move how far that went. Otherwise
	// Revisions are those of the changes that match, up to UpTo.
	Scan      bool
	Revisions []uint64
	UpTo      uint64
	History   kv.History // as of now: that of the hub, or a newer one
}

// Take takes what waits at a cursor.
func (h *Hub) Take(c *Cursor) Due {
	c.asleep = true
	if c.behind {
		return Due{Scan: true, UpTo: c.at, History: h.history}
	}
	d := Due{Revisions: c.due, UpTo: max(c.at, h.revision), History: h.history}
	c.due, c.at = nil, d.UpTo
	return d
}

// Move puts a cursor to another place: every change up to it was taken.
func (h *Hub) Move(c *Cursor, to uint64) {
	c.at, c.behind, c.due = to, to < h.revision, nil
	if c.behind {
		c.rouse()
	}
}

// History returns the history up to which the hub has come, or beyond.
func (h *Hub) History() kv.History { return h.history }

// Await wakes the owner of a cursor when the hub has come to a revision, in addition to
// when something matches.
func (h *Hub) Await(c *Cursor, revision uint64) {
	if revision <= h.revision {
		return
	}
	if c.await == 0 {
		h.waiting = append(h.waiting, c)
	}
	c.await = revision
}

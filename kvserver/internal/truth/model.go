// Package truth says what a store and its history must be after some commands, as
// plainly as it can be said: a map of items and a list of changes. It is for tests,
// which compare the store, its history and what watches deliver with it. It shares
// no code with what it judges.
package truth

import (
	"maps"
	"slices"
	"sort"
	"strings"
)

// Item is a key's value and its numbers.
type Item struct {
	Value                      string
	Revision, Version, Created uint64
	Lease                      int64 // to which the key was tied when this was so; 0: none
}

// Event is what a change did to one key: Item is the key's afterwards and Prev the one
// before, nil for none. What it did to a lock has another Op, and Key is the lock's name;
// Item and Prev are the holder's value with the token as revision.
type Event struct {
	Op         string // put, delete or expire
	Key        string
	Item, Prev *Item
}

// Change is one revision.
type Change struct {
	Revision uint64
	Events   []Event
}

// cost is what an event costs the history.
func (e Event) cost() (n uint64) {
	n = 128 + uint64(len(e.Key))
	if e.Prev != nil {
		n += uint64(len(e.Prev.Value))
	}
	return n
}

// Model is a store. All holds every change since the history began, those that were
// forgotten included.
type Model struct {
	Revision  uint64
	Items     map[string]Item
	All       []Change
	Compacted int64
	Limit     uint64 // of bytes of history
	MaxEvents int
	Active    bool
}

// New returns a store that has no history yet.
func New() *Model {
	return &Model{Items: map[string]Item{}, Compacted: -1, Limit: 128 << 20, MaxEvents: 1 << 20}
}

// Activate begins the history.
func (m *Model) Activate() {
	m.Active = true
	if m.Revision > 0 {
		m.Compacted = int64(m.Revision) + 1
	}
	m.Revision = max(1, m.Revision)
}

// Put sets a key that has no end, or one of its own.
func (m *Model) Put(key, value string) { m.PutTied(key, value, 0) }

// PutTied sets a key that lives with a lease.
func (m *Model) PutTied(key, value string, lease int64) {
	m.change("put", []string{key}, &value, lease)
}

// Append adds to the end of a key's value.
func (m *Model) Append(key, more string) {
	value := m.Items[key].Value + more
	m.change("put", []string{key}, &value, m.Items[key].Lease)
}

// Delete removes a key. Without the key it changes nothing.
func (m *Model) Delete(key string) {
	if _, found := m.Items[key]; found {
		m.change("delete", []string{key}, nil, 0)
	}
}

// Expire removes keys whose time is over, in one change. Without keys it changes nothing.
func (m *Model) Expire(keys ...string) {
	if len(keys) > 0 {
		m.change("expire", keys, nil, 0)
	}
}

// End is Expire with more events, of locks, in the same change.
func (m *Model) End(keys []string, locks []Event) {
	if len(keys)+len(locks) > 0 {
		m.change("expire", keys, nil, 0, locks...)
	}
}

// OfLock reports whether the event is about a lock.
func (e Event) OfLock() bool {
	return !slices.Contains([]string{"put", "delete", "expire"}, e.Op)
}

func (m *Model) change(op string, keys []string, value *string, lease int64, more ...Event) {
	m.Revision++
	c := Change{Revision: m.Revision}
	for _, key := range keys {
		e := Event{Op: op, Key: key}
		old, found := m.Items[key]
		if found {
			e.Prev = &old
		}
		delete(m.Items, key)
		if value != nil {
			item := Item{Value: *value, Revision: m.Revision, Version: old.Version + 1, Created: old.Created, Lease: lease}
			if !found && m.Active {
				item.Created = m.Revision
			}
			e.Item, m.Items[key] = &item, item
		}
		c.Events = append(c.Events, e)
	}
	if c.Events = append(c.Events, more...); m.Active {
		m.All = append(m.All, c)
		m.trim()
	}
}

// SetLimit changes how many bytes of history are kept.
func (m *Model) SetLimit(bytes uint64) {
	m.Limit = bytes
	m.trim()
}

// Forget drops the changes before a revision, and reports whether it may.
func (m *Model) Forget(revision uint64) bool {
	if int64(revision) <= m.Compacted || revision > m.Revision {
		return false
	}
	m.Compacted = int64(revision)
	return true
}

// Kept returns the changes that are not forgotten.
func (m *Model) Kept() []Change {
	return slices.DeleteFunc(slices.Clone(m.All), func(c Change) bool { return int64(c.Revision) < m.Compacted })
}

// Bytes returns what the kept changes cost, and how many events they have.
func (m *Model) Bytes() (bytes uint64, events int) {
	for _, c := range m.Kept() {
		for _, e := range c.Events {
			bytes += e.cost()
			events++
		}
	}
	return bytes, events
}

// trim forgets the eldest changes while there are too many.
func (m *Model) trim() {
	kept := m.Kept()
	bytes, events := m.Bytes()
	for len(kept) > 0 && (bytes > m.Limit || events > m.MaxEvents) {
		for _, e := range kept[0].Events {
			bytes -= e.cost()
			events--
		}
		kept = kept[1:]
		if len(kept) > 0 {
			m.Compacted = int64(kept[0].Revision)
		} else {
			m.Compacted = int64(m.Revision) + 1
		}
	}
}

// Oldest returns the first revision whose change is kept.
func (m *Model) Oldest() uint64 {
	if m.Compacted < 0 {
		return 1
	}
	return uint64(m.Compacted)
}

// Clone returns a copy that later changes do not reach.
func (m *Model) Clone() *Model {
	c := *m
	c.Items, c.All = maps.Clone(m.Items), slices.Clip(m.All)
	return &c
}

// After returns the changes behind a revision, forgotten or not, each with only the
// events whose keys match; a change without any is left out.
func (m *Model) After(revision uint64, match func(key string) bool) []Change {
	return m.Between(revision, m.Revision, match)
}

// Between is After up to a revision.
func (m *Model) Between(revision, upTo uint64, match func(key string) bool) (changes []Change) {
	from := sort.Search(len(m.All), func(i int) bool { return m.All[i].Revision > revision })
	for _, c := range m.All[from:] {
		if c.Revision > upTo {
			break
		}
		events := slices.DeleteFunc(slices.Clone(c.Events), func(e Event) bool { return !match(e.Key) })
		if len(events) > 0 {
			changes = append(changes, Change{c.Revision, events})
		}
	}
	return changes
}

// At returns the matching items as they were at a revision, which must not be before
// the history began.
func (m *Model) At(revision uint64, match func(key string) bool) map[string]Item {
	items := maps.Clone(m.Items)
	for _, c := range slices.Backward(m.All) {
		if c.Revision <= revision {
			break
		}
		for _, e := range c.Events {
			if e.OfLock() {
				continue
			}
			delete(items, e.Key)
			if e.Prev != nil {
				items[e.Key] = *e.Prev
			}
		}
	}
	maps.DeleteFunc(items, func(key string, _ Item) bool { return !match(key) })
	return items
}

// Prefix returns a match of the keys that begin with a text.
func Prefix(prefix string) func(string) bool {
	return func(key string) bool { return strings.HasPrefix(key, prefix) }
}

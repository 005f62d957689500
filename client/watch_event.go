package client

import (
	"errors"
	"fmt"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// WatchKind is what a WatchEvent is.
type WatchKind uint8

// The kinds.
const (
	// Changed: keys or locks have changed; Changes has them.
	Changed WatchKind = 1 + iota
	// Progress: everything up to Revision was brought.
	Progress
	// StateItem: a key of the state, in Item; WithState only. Revision is 0.
	StateItem
	// StateComplete: the items that came are the whole state at Revision.
	StateComplete
	// Reset: forget everything; the state follows. WithState only.
	Reset
	// StateHolder: a holder of a lock, of the state, in Holder; WithState only. Revision is
	// 0.
	StateHolder
)

// WatchEvent is one thing that a watch brings.
type WatchEvent struct {
	Kind WatchKind
	// Revision is a bookmark: AfterRevision goes on behind it. It is 0 at StateItem and
	// Reset.
	Revision uint64
	// Changes are what one change of the store did to keys that are followed, in the
	// order in which it did so. They never come in parts.
	Changes []Change
	Item    Item   // of StateItem
	Holder  Holder // of StateHolder
}

// Values of Change.Op.
const (
	ChangePut    = api.OpPut
	ChangeDelete = api.OpDelete
	ChangeExpire = api.OpExpire // the key is gone: its lease ended, or its own time

	// Of locks.
	ChangeGranted  = api.OpGranted
	ChangeReleased = api.OpReleased
)

// Values of Change.Reason.
const (
	ReasonReleased  = api.ReasonReleased
	ReasonExpired   = api.ReasonExpired
	ReasonRevoked   = api.ReasonRevoked
	ReasonPublished = api.ReasonPublished // of ChangeGranted: the holder has another value
)

// Change is what a change of the store did to one key or lock.
type Change struct {
	Op  string // ChangePut or another one of these
	Key string // "" of a lock
	// Item is what the key holds; after a delete it has the key only.
	Item Item
	// Prev is what it held before; nil if there was no such key, and without WithPrev.
	Prev *Item
	// Holder is, of a lock, the lease that holds it or has held it. Reason says why it was
	// released.
	Holder *Holder
	Reason string
}

// RevisionGoneError says that the history of the servers does not reach a bookmark any
// more. The state must be read anew: by List, or WithState. errors.Is finds
// ErrRevisionGone in it.
type RevisionGoneError struct {
	After    uint64 // the bookmark
	Oldest   uint64 // the first revision whose change is kept
	Revision uint64 // the last one
}

// ErrRevisionGone: the servers' history does not reach the bookmark; see
// RevisionGoneError.
var ErrRevisionGone = errors.New("the history does not reach so far back")

// Error describes the error.
func (e *RevisionGoneError) Error() string {
	return fmt.Sprintf("raftkv: the changes behind revision %d are not all kept; the history goes from %d to %d: read the state and go on from its revision", e.After, e.Oldest, e.Revision)
}

// Is reports whether the target is ErrRevisionGone.
func (e *RevisionGoneError) Is(target error) bool { return target == ErrRevisionGone }

// WatchOption says what a watch follows, and how. At least one of Prefix, Key, Range and WatchLock
// is needed, and each may be given several times, 1,000 in all: a key is followed that
// any of them selects.
type WatchOption interface{ applyWatch(*clerkwire.Watch) error }

type watchOption func(*clerkwire.Watch) error

func (o watchOption) applyWatch(m *clerkwire.Watch) error { return o(m) }

// Prefix follows the keys that begin with a prefix, which is "" for all keys.
func Prefix(prefix string) WatchOption {
	return watchOption(func(m *clerkwire.Watch) error {
		m.Prefixes = append(m.Prefixes, []byte(prefix))
		return checkBound(prefix)
	})
}

// Key follows one key.
func Key(key string) WatchOption {
	return watchOption(func(m *clerkwire.Watch) error {
		m.Keys = append(m.Keys, []byte(key))
		return checkKey(key)
	})
}

// Range follows the keys from one on, in the order of their bytes, up to but not
// including another one; to the last if that is "".
func Range(from, to string) WatchOption {
	return watchOption(func(m *clerkwire.Watch) error {
		m.Ranges = append(m.Ranges, clerkwire.KeyRange{From: []byte(from), To: []byte(to)})
		if to != "" && to <= from {
			return invalid("the range ends at %.40q, which does not stand behind its beginning, %.40q", to, from)
		}
		return errors.Join(checkBound(from), checkBound(to))
	})
}

// WatchLock follows a lock: its holder, or that it has none.
func WatchLock(name string) WatchOption {
	return watchOption(func(m *clerkwire.Watch) error {
		m.Locks = append(m.Locks, []byte(name))
		return checkLockName(name)
	})
}

func checkBound(text string) error {
	if len(text) > api.MaxKeyBytes {
		return invalid("a prefix or an end of a range has %d bytes; no key has more than %d", len(text), api.MaxKeyBytes)
	}
	return nil
}

// AfterRevision lets a watch go on behind a revision: that of any answer, of an Item, or
// of a WatchEvent. Without it a watch begins behind every write that was answered before.
func AfterRevision(revision uint64) WatchOption {
	return watchOption(func(m *clerkwire.Watch) error {
		m.Resume, m.After = true, revision
		return nil
	})
}

// WithState brings the state first: a StateItem for each key, and StateComplete. Where
// the history does not reach the place of a watch any more, Reset and the state come
// instead of an error.
func WithState() WatchOption {
	return watchOption(func(m *clerkwire.Watch) error {
		m.Mirror = true
		return nil
	})
}

// PrevOption is an option of writes and of watches.
type PrevOption interface {
	WriteOption
	WatchOption
}

type withPrev struct{}

func (withPrev) applyWatch(m *clerkwire.Watch) error {
	m.Prev = true
	return nil
}

func (withPrev) applyWrite(m *clerkwire.Write) error {
	m.More.Previous = true
	return nil
}

// WithPrev adds what the key held before a write, and what the keys held before each
// change that a watch brings.
func WithPrev() PrevOption { return withPrev{} }

// ProgressEvery sets how often a Progress comes, 100 ms to 60 s; the default is 10 s.
func ProgressEvery(d time.Duration) WatchOption {
	return watchOption(func(m *clerkwire.Watch) error {
		if d < 100*time.Millisecond || d > time.Minute {
			return invalid("a bookmark is wanted every %v; choose 100ms to 1m", d)
		}
		m.ProgressMs = uint64(d.Milliseconds())
		return nil
	})
}

// OfCluster refuses a bookmark of another cluster than the one with this uid.
func OfCluster(uid string) WatchOption {
	return watchOption(func(m *clerkwire.Watch) error {
		m.Cluster = uid
		return nil
	})
}

// watchMessage makes the request of options.
func watchMessage(options []WatchOption) (m clerkwire.Watch, err error) {
	for _, o := range options {
		if err := o.applyWatch(&m); err != nil {
			return m, err
		}
	}
	if n := len(m.Keys) + len(m.Prefixes) + len(m.Ranges) + len(m.Locks); n == 0 || n > api.MaxSelectors {
		return m, invalid("the watch has %d selectors; name 1 to %d keys, prefixes, ranges or locks, and the empty prefix for the whole store", n, api.MaxSelectors)
	}
	return m, nil
}

// eventOf makes an event of a note, whose bytes it shares.
func eventOf(n *clerkwire.Note, keysOnly bool) WatchEvent {
	switch n.Kind {
	case clerkwire.NoteItem:
		return WatchEvent{Kind: StateItem, Item: itemOf(string(n.Key), &n.State, keysOnly)}
	case clerkwire.NoteHolder:
		return WatchEvent{Kind: StateHolder, Holder: holderOf(n.Key, &n.State)}
	case clerkwire.NoteState:
		return WatchEvent{Kind: StateComplete, Revision: n.Revision}
	case clerkwire.NoteReset:
		return WatchEvent{Kind: Reset}
	case clerkwire.NoteProgress:
		return WatchEvent{Kind: Progress, Revision: n.Revision}
	}
	e := WatchEvent{Kind: Changed, Revision: n.Revision, Changes: make([]Change, len(n.Events))}
	for i := range n.Events {
		from, to := &n.Events[i], &e.Changes[i]
		if from.Op.OfLock() {
			holder := holderOf(from.Key, &from.After)
			to.Op, to.Holder, to.Reason = from.Op.String(), &holder, from.Op.Reason()
			continue
		}
		to.Op, to.Key = from.Op.String(), string(from.Key)
		to.Item = itemOf(to.Key, &from.After, keysOnly)
		if from.HadPrev {
			prev := itemOf(to.Key, &from.Prev, keysOnly)
			to.Prev = &prev
		}
	}
	return e
}

func holderOf(name []byte, s *clerkwire.State) Holder {
	return Holder{Lock: string(name), Token: s.Revision, Lease: int64(s.Lease), Value: s.Value[:len(s.Value):len(s.Value)]}
}

func itemOf(key string, s *clerkwire.State, keysOnly bool) Item {
	i := Item{Key: key, Revision: s.Revision, Version: s.Version, Created: s.Created, Lease: int64(s.Lease)}
	if !keysOnly && s.Version != 0 {
		i.Value = s.Value[:len(s.Value):len(s.Value)] // what the caller appends goes elsewhere
	}
	return i
}

package client

import (
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// WriteOption is a condition of a Put, Append or Delete, or says how long the key of a
// Put lives. A call may have one of each.
type WriteOption interface{ applyWrite(*clerkwire.Write) error }

// ReadOption sets how fresh the answer of a Get or List must be.
type ReadOption interface {
	ListOption
	applyGet(*clerkwire.Get)
}

// ListOption selects the items that a List returns.
type ListOption interface{ applyList(*clerkwire.List) }

type condition struct {
	kind   clerkwire.ConditionKind
	number uint64
}

func (c condition) applyWrite(w *clerkwire.Write) error {
	if w.Condition != clerkwire.Always {
		return invalid("a write takes one condition")
	}
	if c.kind == clerkwire.IfRevision && c.number == 0 {
		return invalid("the revision is 0, which no value has; use IfAbsent for a key that does not exist")
	}
	w.Condition, w.Number = c.kind, c.number
	return nil
}

// IfRevision lets a write happen only if the key's value has this revision.
func IfRevision(revision uint64) WriteOption { return condition{clerkwire.IfRevision, revision} }

// IfPresent lets a write happen only if there is such a key.
func IfPresent() WriteOption { return condition{kind: clerkwire.IfPresent} }

// IfAbsent lets a write happen only if there is no such key.
func IfAbsent() WriteOption { return condition{kind: clerkwire.IfAbsent} }

// tie says how long the key of a Put lives.
type tie struct {
	more    clerkwire.WriteMore
	invalid error
}

func (t tie) applyWrite(w *clerkwire.Write) error {
	if ties(w.More) {
		return invalid("a key ends with a lease, or after a TTL, or as it did before; name one of them")
	}
	previous, guard := w.More.Previous, w.More.Guard
	w.More = t.more
	w.More.Previous, w.More.Guard = previous, guard
	return t.invalid
}

// ties reports whether a write says when its key ends.
func ties(m clerkwire.WriteMore) bool {
	m.Previous, m.Guard = false, clerkwire.Guard{}
	return m != clerkwire.WriteMore{}
}

// WithTTL lets the key of a Put end after a time, MinTTL or more, if it is not put or
// touched before.
func WithTTL(ttl time.Duration) WriteOption {
	ms, err := milliseconds(ttl)
	return tie{clerkwire.WriteMore{TTL: ms}, err}
}

// WithLease ties the key of a Put to a lease: it ends with it, if it is not put again
// before. ErrLeaseLost says that the lease has ended, and nothing happened.
func WithLease(lease *Lease) WriteOption {
	if lease == nil {
		return WithLeaseID(0)
	}
	return WithLeaseID(lease.ID())
}

// WithLeaseID is WithLease for a lease that somebody else keeps alive.
func WithLeaseID(id int64) WriteOption {
	if id == 0 {
		return tie{invalid: invalid("the lease has the id 0, which none has")}
	}
	return tie{more: clerkwire.WriteMore{Lease: id}}
}

// KeepTTL lets the key of a Put end as it would have without the Put. ErrNotFound says
// that there is no such key, and nothing happened.
func KeepTTL() WriteOption { return tie{more: clerkwire.WriteMore{Keep: true}} }

// readOption changes a Get and a List in the same way.
type readOption struct {
	get  func(*clerkwire.Get)
	list func(*clerkwire.List)
}

func (o readOption) applyGet(m *clerkwire.Get)   { o.get(m) }
func (o readOption) applyList(m *clerkwire.List) { o.list(m) }

// Stale lets any server answer from the state that it has, however old. Without
// it a read sees every write that was answered before the read was made.
func Stale() ReadOption {
	return readOption{
		func(m *clerkwire.Get) { m.Consistency = clerkwire.Stale },
		func(m *clerkwire.List) { m.Consistency = clerkwire.Stale },
	}
}

// MinRevision makes a read wait until the answering server's store has reached
// this revision. With Stale it lets a client read its own writes from any server.
func MinRevision(revision uint64) ReadOption {
	return readOption{
		func(m *clerkwire.Get) { m.MinRevision = revision },
		func(m *clerkwire.List) { m.MinRevision = revision },
	}
}

// AtRevision reads the store as it was at a revision, whatever came later: every server
// gives the same answer, and waits until it has come so far. It stands above Stale and
// MinRevision. ErrRevisionGone says that the servers' history does not reach back to it.
func AtRevision(revision uint64) ReadOption {
	pinned := clerkwire.Pinned{Set: true, At: revision}
	return readOption{
		func(m *clerkwire.Get) { m.Pinned = pinned },
		func(m *clerkwire.List) { more(m).Pinned = pinned },
	}
}

// more returns what few lists ask for, so that it may be asked for.
func more(m *clerkwire.List) *clerkwire.ListMore {
	if m.More == nil {
		m.More = new(clerkwire.ListMore)
	}
	return m.More
}

type listOption func(*clerkwire.List)

func (o listOption) applyList(m *clerkwire.List) { o(m) }

// After begins a page behind a key, which need not exist.
func After(key string) ListOption {
	return listOption(func(m *clerkwire.List) { m.After = []byte(key) })
}

// LimitOption is an option of lists and of locks.
type LimitOption interface {
	ListOption
	LockOption
}

type limit int

func (n limit) applyList(m *clerkwire.List) { m.Limit = uint64(max(n, 0)) }

func (n limit) applyLock(m *clerkwire.Acquire) error {
	if n < 1 || n > api.MaxLockLimit {
		return invalid("the limit of holders is %d; choose 1 to %d", n, api.MaxLockLimit)
	}
	m.Limit = uint64(n)
	return nil
}

// Limit bounds the items of a page: the maximum is 1000, which is also the default, and a
// page of large values may have fewer. Of a lock it is how many may hold it, 1 to 1,024:
// with more than 1, which is the default, it is a semaphore. Everybody must name the same.
func Limit(n int) LimitOption { return limit(n) }

// Count counts the keys of the whole range, not of the page. It looks at all of them.
func Count() ListOption { return listOption(func(m *clerkwire.List) { more(m).Count = true }) }

// CountOnly is Count, and the page has no items.
func CountOnly() ListOption { return listOption(func(m *clerkwire.List) { more(m).CountOnly = true }) }

// KeysOption is an option of lists and of watches.
type KeysOption interface {
	ListOption
	WatchOption
}

type keysOnly struct{}

func (keysOnly) applyList(m *clerkwire.List) { m.KeysOnly = true }
func (keysOnly) applyWatch(m *clerkwire.Watch) error {
	m.KeysOnly = true
	return nil
}

// KeysOnly leaves the values out.
func KeysOnly() KeysOption { return keysOnly{} }

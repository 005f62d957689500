package client

import "raftkv/kvserver/clerkwire"

// WriteOption is a condition of a Put, Append or Delete. A call may have one.
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

type listOption func(*clerkwire.List)

func (o listOption) applyList(m *clerkwire.List) { o(m) }

// After begins a page behind a key, which need not exist.
func After(key string) ListOption {
	return listOption(func(m *clerkwire.List) { m.After = []byte(key) })
}

// Limit bounds the items of a page. The maximum is 1000, which is also the
// default. A page of large values may have fewer.
func Limit(n int) ListOption {
	return listOption(func(m *clerkwire.List) { m.Limit = uint64(max(n, 0)) })
}

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

package machine

import (
	"sync"

	"raftkv/kvserver/kv"
	"raftkv/kvserver/watch"
)

// feed tells watches what changes. The applier knows nothing of it: one goroutine waits
// for the revision to move, takes a copy of the history and tells the cursors that a
// change is for. It begins with the first watch.
type feed struct {
	begin sync.Once

	mu  sync.Mutex // guards hub and all its cursors
	hub *watch.Hub // nil until it has begun
}

// Cursor is the place of one watch on this node. It implements all of watch.Node that
// does not concern the state. It must be closed.
type Cursor struct {
	machine *Machine
	cursor  *watch.Cursor
}

// History returns the changes that this node keeps now.
func (m *Machine) History() kv.History {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.store.History()
}

// HistoryLimit returns how many bytes the history may be charged with.
func (m *Machine) HistoryLimit() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.store.HistoryLimit()
}

// Level returns the level at which the store works.
func (m *Machine) Level() uint64 { return m.level.Load() }

// Watch makes a cursor behind a revision. wake is called when there may be something to
// take, with a lock held: it must not block.
func (m *Machine) Watch(s watch.Selectors, after uint64, wake func()) *Cursor {
	m.feed.begin.Do(func() {
		history := m.History()
		_ = m.revision.wait(m.lifetime, history.Revision()) // see advanceFeed
		m.feed.mu.Lock()
		m.feed.hub = watch.NewHub(history)
		m.feed.mu.Unlock()
		m.watchers.Go(m.feedWatches)
	})
	m.feed.mu.Lock()
	defer m.feed.mu.Unlock()
	return &Cursor{m, m.feed.hub.Add(s, after, wake)}
}

// feedWatches tells watches what changes until the machine is ended.
func (m *Machine) feedWatches() {
	for m.lifetime.Err() == nil {
		moved := m.revision.reached(m.fed() + 1)
		for m.advanceFeed() {
		}
		if moved == nil {
			continue
		}
		select {
		case <-moved:
		case <-m.lifetime.Done():
		}
	}
	m.WakeWatches()
}

// fed returns the revision up to which the watches were told.
func (m *Machine) fed() uint64 {
	m.feed.mu.Lock()
	defer m.feed.mu.Unlock()
	return m.feed.hub.Revision()
}

// advanceFeed tells the watches of some changes, and reports whether there are more. It
// waits until reads that name the revision of the last one would be served: a client
// that was told of a change may ask for it at once.
func (m *Machine) advanceFeed() (more bool) {
	history := m.History()
	if m.revision.wait(m.lifetime, history.Revision()) != nil {
		return false // it was ended between the change and that
	}
	m.feed.mu.Lock()
	defer m.feed.mu.Unlock()
	return m.feed.hub.Advance(history)
}

// WakeWatches wakes the owners of all cursors: what decides whether they
// are served has changed.
func (m *Machine) WakeWatches() {
	m.feed.mu.Lock()
	defer m.feed.mu.Unlock()
	if m.feed.hub != nil {
		m.feed.hub.WakeAll()
	}
}

// Watches returns the number of cursors, and how many revisions the store is ahead of
// what they were told.
func (m *Machine) Watches() (cursors int, lag uint64) {
	m.feed.mu.Lock()
	defer m.feed.mu.Unlock()
	if m.feed.hub == nil {
		return 0, 0
	}
	revision := m.revision.at()
	return m.feed.hub.Len(), revision - min(revision, m.feed.hub.Revision())
}

// Take implements watch.Node.
func (c *Cursor) Take() watch.Due {
	c.machine.feed.mu.Lock()
	defer c.machine.feed.mu.Unlock()
	return c.machine.feed.hub.Take(c.cursor)
}

// Move implements watch.Node.
func (c *Cursor) Move(to uint64) {
	c.machine.feed.mu.Lock()
	defer c.machine.feed.mu.Unlock()
	c.machine.feed.hub.Move(c.cursor, to)
}

// Await implements watch.Node.
func (c *Cursor) Await(revision uint64) {
	c.machine.feed.mu.Lock()
	defer c.machine.feed.mu.Unlock()
	c.machine.feed.hub.Await(c.cursor, revision)
}

// History implements watch.Node.
func (c *Cursor) History() kv.History {
	c.machine.feed.mu.Lock()
	defer c.machine.feed.mu.Unlock()
	return c.machine.feed.hub.History()
}

// Close removes the cursor.
func (c *Cursor) Close() {
	c.machine.feed.mu.Lock()
	defer c.machine.feed.mu.Unlock()
	c.machine.feed.hub.Remove(c.cursor)
}

// FinishWatches tells the watches of everything that was applied. It is for a machine
// that was ended, whose feed has ended, too.
func (m *Machine) FinishWatches() {
	for m.advanceFeed() {
	}
}

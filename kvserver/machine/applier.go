package machine

import (
	"fmt"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// maxApplyEntries and maxApplyBytes bound what is applied under one lock, and so how
// long a read waits for it: about a millisecond. A put takes 3 to 5 µs, most of it to
// find its key, and a megabyte is copied and summed in half a millisecond.
const (
	maxApplyEntries = 256
	maxApplyBytes   = 1 << 20
)

// entryOverhead is about what an entry costs in the log in addition to its command.
const entryOverhead = 16

// applyLoop is the applier: the only writer of the store. It ends when applyCh
// is closed and when the machine is ended. It ends the node when a snapshot
// that was delivered cannot be read, and when a command comes from a later
// version: to pass it over would be to part from the servers that know it. It
// recovers from nothing: a panic in the store means that this node cannot tell
// what its state is, and a wrong node is worse than a dead one.
func (m *Machine) applyLoop() {
	defer close(m.applierDone)
	var wanted <-chan struct{} // nil where no snapshots are taken
	if m.config.SnapshotBytes > 0 {
		wanted = m.consensus.SnapshotWanted()
	}
	for {
		select {
		case batch, open := <-m.config.ApplyCh:
			if !open {
				m.End()
				return
			}
			batch.Taken() // the next one is made ready while this one is applied
			if err := m.applyBatch(batch); err != nil {
				if !m.Stopping() {
					m.consensus.Fail(err)
					m.End()
				}
				return
			}
		case <-wanted:
			m.snapshotIfDue()
		case <-m.snapshots.ended:
			m.snapshotIfDue()
		case <-m.lifetime.Done():
			return
		}
	}
}

// applyBatch applies a batch: a snapshot, or entries piece by piece. An error says
// that the node cannot go on. A machine that is ended leaves the rest.
func (m *Machine) applyBatch(batch raft.Batch) error {
	if batch.Snapshot != nil {
		return m.applyNext(1, func() error { return m.install(batch.Snapshot) })
	}
	for rest := batch.Entries; len(rest) > 0 && !m.Stopping(); {
		piece := rest[:pieceOf(rest)]
		rest = rest[len(piece):]
		if err := m.applyNext(len(piece), func() error { return m.applyEntries(piece) }); err != nil {
			return err
		}
	}
	return nil
}

// pieceOf returns how many of the entries are applied under one lock.
func pieceOf(entries []raft.Entry) int {
	bytes := 0
	for i := range entries {
		bytes += len(entries[i].Data)
		if i+1 == maxApplyEntries || bytes >= maxApplyBytes {
			return i + 1
		}
	}
	return len(entries)
}

// applyNext lets apply change the store, and then answers the requests that waited
// for it.
func (m *Machine) applyNext(messages int, apply func() error) error {
	begun, before := time.Now(), m.store
	err := apply()
	m.observer.Applied(messages, time.Since(begun))
	// Whoever hears that a token was revoked may count on it: the table goes first.
	if table := m.store.Auth(); m.auth.Swap(table) != table {
		m.WakeWatches() // some may have lost the right to what they follow
		m.queues.wakeAll()
	}
	m.noteEnds()
	departed, lost := m.store.TakeDepartures()
	m.queues.tell(departed, lost || m.store != before, m.observer.HandedOver)
	m.waiting.finish(m.results)
	clear(m.results) // values must not live on in the slice
	m.results = m.results[:0]
	m.level.Store(m.store.Level())
	// Whoever hears that an index is applied may ask for the revision: that goes first.
	// Only this goroutine changes the store.
	m.revision.advance(m.store.Revision())
	m.applied.advance(m.store.AppliedIndex())
	if err == nil {
		m.afterBatch()
	}
	return err
}

// afterBatch takes a snapshot of the store if one is due.
func (m *Machine) afterBatch() {
	if m.config.AfterBatch != nil {
		m.config.AfterBatch(m)
	}
	if m.config.SnapshotBytes > 0 {
		m.snapshotIfDue()
	}
}

// applyEntries applies entries under one lock, and notes the results of the commands
// that this process proposed. An error says that an entry needs a later version; the
// entries before it are applied.
func (m *Machine) applyEntries(entries []raft.Entry) error {
	if m.skipping {
		m.drop(entries)
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range entries {
		e := &entries[i]
		m.logBytes += entryOverhead + int64(len(e.Data))
		switch e.Kind {
		case raft.KindCommand:
			r, err := m.store.ApplyKnown(e.Index, e.Data)
			if err != nil {
				return fmt.Errorf("the log entry at index %d cannot be applied: %w", e.Index, err)
			}
			if r.ID.Origin == m.origin {
				m.results = append(m.results, r)
			}
		case raft.KindNoop, raft.KindConfiguration:
			if err := m.pass(e); err != nil {
				return fmt.Errorf("the log entry at index %d cannot be passed over: %w", e.Index, err)
			}
		default: // a server that skipped it would reach a different state from those that know it
			return fmt.Errorf("the log entry at index %d has the %v, which this version does not know", e.Index, e.Kind)
		}
		m.marks.note(m.store)
	}
	return nil
}

// pass moves the store over an entry without a command. The entry may say at which
// level the cluster works from there on.
func (m *Machine) pass(e *raft.Entry) error {
	if m.config.LevelOf != nil {
		if level := m.config.LevelOf(*e); level != 0 {
			return m.store.AdvanceLevel(e.Index, level)
		}
	}
	m.store.Advance(e.Index)
	return nil
}

// drop passes over entries that stand behind a snapshot which is gone: the next
// snapshot holds what they did. Writes of this node among them are ended as
// unknown, for their results are nowhere.
func (m *Machine) drop(entries []raft.Entry) {
	unknown := failure.Of(failure.LeadershipLost, nil, "a snapshot of another leader took the place of the write's result; it may have happened")
	for i := range entries {
		if entries[i].Kind != raft.KindCommand {
			continue
		}
		if c, err := kv.DecodeCommand(entries[i].Data); err == nil && c.ID.Origin == m.origin {
			m.waiting.fail(c.ID.Number, unknown)
		}
	}
}

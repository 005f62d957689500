package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// install puts the state that a snapshot holds in the place of the store, if
// the store has not come so far by itself. The state is read before the lock is
// taken: other requests go on being served from the old one meanwhile. The
// applier calls it, so there is one installation at a time.
//
// A snapshot may be gone when its turn comes, because the leader has sent a newer
// one since. The entries that follow it were delivered before the newer one was
// known, so they are dropped: they build on a state that this store never had.
//
// An error means that the state is not there, though the log begins behind it:
// this node cannot go on.
func (m *Machine) install(snapshot *raft.Snapshot) error {
	index := snapshot.Index
	// Only this goroutine changes the store, so it may look without the lock.
	if index <= m.store.AppliedIndex() {
		return nil
	}
	begun := time.Now()
	const reason = "it is installing a snapshot"
	m.preferNotToLead(reason, true)
	defer m.preferNotToLead(reason, false)
	store, err := m.readSnapshot(snapshot)
	if err != nil {
		if _, gone := m.consensus.TermAt(m.lifetime, index); errors.Is(gone, raft.ErrCompacted) {
			m.skipping = true
			return nil
		}
		return fmt.Errorf("installing the snapshot at index %d: %w", index, err)
	}
	mustStandAt(store.AppliedIndex(), index)
	m.observer.Restored(time.Since(begun))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store, m.marks, m.skipping = store, new(marks), false
	m.logBytes, m.base = 0, m.present()
	return nil
}

// readSnapshot reads the state that a snapshot stands for: from the snapshot
// itself in the labs, on a server from where consensus keeps it.
func (m *Machine) readSnapshot(snapshot *raft.Snapshot) (*kv.Store, error) {
	if snapshot.Data != nil {
		return kv.Restore(bytes.NewReader(snapshot.Data))
	}
	from, err := m.consensus.OpenSnapshot(snapshot.Index)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	return restore(whileAlive{lifetime: m.lifetime, Reader: from})
}

// whileAlive is a reader or writer that fails when the machine has ended: large
// states must not hold up the end of a node.
type whileAlive struct {
	lifetime context.Context
	io.Reader
	io.Writer
}

func (w whileAlive) Read(b []byte) (int, error) {
	if w.lifetime.Err() != nil {
		return 0, context.Cause(w.lifetime)
	}
	return w.Reader.Read(b)
}

func (w whileAlive) Write(b []byte) (int, error) {
	if w.lifetime.Err() != nil {
		return 0, context.Cause(w.lifetime)
	}
	return w.Writer.Write(b)
}

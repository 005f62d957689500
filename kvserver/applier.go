package kvserver

import (
	"bytes"
	"fmt"
	"time"

	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// maxApplyBatch bounds how many commands are applied under one lock, and so how
// long a read waits for it: about a millisecond.
const maxApplyBatch = 256

// applyLoop is the applier: the only writer of the store. It ends when applyCh
// is closed or the machine's life ends. It recovers from nothing: a panic in the
// store means that this node cannot tell what its state is, and a wrong node is
// worse than a dead one.
func (m *machine) applyLoop() {
	defer close(m.applierDone)
	batch := make([]raft.ApplyMsg, 0, maxApplyBatch)
	results := make([]kv.Result, 0, maxApplyBatch)
	for {
		select {
		case msg, open := <-m.applyCh:
			if !open {
				m.end(errStopping)
				return
			}
			batch = append(batch[:0], msg)
		case <-m.life.Done():
			return
		}
		batch = m.drain(batch)
		begun := time.Now()
		results = m.applyBatch(batch, results[:0])
		m.metrics.applied(batch, begun)
		m.clock.observe(m.store.LogTime()) // only this goroutine changes the store
		// Values and commands must not live on in the spare room of the slices.
		clear(batch)
		m.waiting.finish(results)
		clear(results)
		m.applied.advance(m.store.AppliedIndex())
		m.revision.advance(m.store.Revision())
		if m.afterBatch != nil {
			m.afterBatch()
		}
	}
}

// drain adds what is there already, without waiting, up to the first snapshot.
// A closed channel is left for the loop to see.
func (m *machine) drain(batch []raft.ApplyMsg) []raft.ApplyMsg {
	for len(batch) < maxApplyBatch && !batch[len(batch)-1].SnapshotValid {
		select {
		case msg, open := <-m.applyCh:
			if !open {
				return batch
			}
			batch = append(batch, msg)
		default:
			return batch
		}
	}
	return batch
}

// applyBatch applies messages, of which only the last may be a snapshot, and
// appends to results those of commands that this node proposed in this life.
func (m *machine) applyBatch(batch []raft.ApplyMsg, results []kv.Result) []kv.Result {
	if last := batch[len(batch)-1]; last.SnapshotValid {
		results = m.applyCommands(batch[:len(batch)-1], results)
		m.install(last)
		return results
	}
	return m.applyCommands(batch, results)
}

// applyCommands applies messages under one lock.
func (m *machine) applyCommands(batch []raft.ApplyMsg, results []kv.Result) []kv.Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, msg := range batch {
		index := uint64(msg.CommandIndex)
		if !msg.CommandValid {
			m.store.Advance(index)
			continue
		}
		command, ok := msg.Command.([]byte)
		if !ok {
			panic(fmt.Sprintf("kvserver: the command at index %d is a %T, not bytes", index, msg.Command))
		}
		if r := m.store.Apply(index, command); r.ID.Origin == m.origin {
			results = append(results, r)
		}
	}
	return results
}

// install puts the state that a snapshot holds in the place of the store, if
// the store has not come so far by itself. The state is read before the lock is
// taken: other requests go on being served from the old one meanwhile.
func (m *machine) install(msg raft.ApplyMsg) {
	// Only this goroutine changes the store, so it may look without the lock.
	if uint64(msg.SnapshotIndex) <= m.store.AppliedIndex() {
		return
	}
	store, err := kv.Restore(bytes.NewReader(msg.Snapshot))
	if err != nil {
		panic(fmt.Sprintf("kvserver: the snapshot at index %d cannot be restored: %v", msg.SnapshotIndex, err))
	}
	if store.AppliedIndex() != uint64(msg.SnapshotIndex) {
		panic(fmt.Sprintf("kvserver: the snapshot at index %d holds the state at %d", msg.SnapshotIndex, store.AppliedIndex()))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store = store
}

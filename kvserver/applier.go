package kvserver

import (
	"fmt"
	"time"

	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// maxApplyBatch bounds how many commands are applied under one lock, and so how
// long a read waits for it: about a millisecond.
const maxApplyBatch = 256

// entryOverhead is about what an entry costs in the log beside its command.
const entryOverhead = 16

// applyLoop is the applier: the only writer of the store. It ends when applyCh
// is closed, when the machine's life ends, or when a snapshot that was delivered
// cannot be read: then it ends the node. It recovers from nothing: a panic in
// the store means that this node cannot tell what its state is, and a wrong node
// is worse than a dead one.
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
		case <-m.ticks:
			m.afterBatch()
			continue
		case <-m.life.Done():
			return
		}
		batch = m.drain(batch)
		begun := time.Now()
		var err error
		results, err = m.applyBatch(batch, results[:0])
		m.metrics.applied(batch, begun)
		// Values and commands must not live on in the spare room of the slices.
		clear(batch)
		m.waiting.finish(results)
		clear(results)
		m.applied.advance(m.store.AppliedIndex()) // only this goroutine changes the store
		m.revision.advance(m.store.Revision())
		if err != nil {
			if !m.stopping() {
				m.consensus.Fail(err)
				m.end(errStopping)
			}
			return
		}
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
func (m *machine) applyBatch(batch []raft.ApplyMsg, results []kv.Result) ([]kv.Result, error) {
	if last := batch[len(batch)-1]; last.SnapshotValid {
		results = m.applyCommands(batch[:len(batch)-1], results)
		return results, m.install(last)
	}
	return m.applyCommands(batch, results), nil
}

// applyCommands applies messages under one lock.
func (m *machine) applyCommands(batch []raft.ApplyMsg, results []kv.Result) []kv.Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, msg := range batch {
		index := uint64(msg.CommandIndex)
		m.logBytes += entryOverhead
		if !msg.CommandValid {
			m.store.Advance(index)
			m.marks.note(m.store)
			continue
		}
		command, ok := msg.Command.([]byte)
		if !ok {
			panic(fmt.Sprintf("kvserver: the command at index %d is a %T, not bytes", index, msg.Command))
		}
		m.logBytes += int64(len(command))
		if r := m.store.Apply(index, command); r.ID.Origin == m.origin {
			results = append(results, r)
		}
		m.marks.note(m.store)
	}
	return results
}

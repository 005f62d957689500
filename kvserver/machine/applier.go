package machine

import (
	"fmt"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// maxApplyBatch bounds how many commands are applied under one lock, and so how
// long a read waits for it: about a millisecond.
const maxApplyBatch = 256

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
	batch := make([]raft.ApplyMsg, 0, maxApplyBatch)
	results := make([]kv.Result, 0, maxApplyBatch)
	var ticks <-chan time.Time // none where no snapshots are taken
	if m.config.SnapshotBytes > 0 {
		ticker := time.NewTicker(snapshotPoll)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		select {
		case msg, open := <-m.config.ApplyCh:
			if !open {
				m.End()
				return
			}
			batch = append(batch[:0], msg)
		case <-ticks:
			m.snapshotIfDue()
			continue
		case <-m.lifetime.Done():
			return
		}
		batch = m.drain(batch)
		begun := time.Now()
		var err error
		results, err = m.applyBatch(batch, results[:0])
		m.observer.Applied(len(batch), time.Since(begun))
		// Values and commands must not live on in the spare room of the slices.
		clear(batch)
		m.waiting.finish(results)
		clear(results)
		m.applied.advance(m.store.AppliedIndex()) // only this goroutine changes the store
		m.revision.advance(m.store.Revision())
		if err != nil {
			if !m.Stopping() {
				m.consensus.Fail(err)
				m.End()
			}
			return
		}
		m.afterBatch()
	}
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

// drain adds what is there already, without waiting, up to the first snapshot.
// A closed channel is left for the loop to see.
func (m *Machine) drain(batch []raft.ApplyMsg) []raft.ApplyMsg {
	for len(batch) < maxApplyBatch && !batch[len(batch)-1].SnapshotValid {
		select {
		case msg, open := <-m.config.ApplyCh:
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
// appends to results those of commands that this process proposed.
func (m *Machine) applyBatch(batch []raft.ApplyMsg, results []kv.Result) ([]kv.Result, error) {
	commands := batch
	if last := len(batch) - 1; batch[last].SnapshotValid {
		commands = batch[:last]
	}
	var err error
	if m.skipping {
		m.drop(commands)
	} else if results, err = m.applyCommands(commands, results); err != nil {
		return results, err
	}
	for _, msg := range batch[len(commands):] {
		err = m.install(msg)
	}
	return results, err
}

// applyCommands applies messages under one lock. An error says that a message
// needs a later version; the messages before it are applied.
func (m *Machine) applyCommands(batch []raft.ApplyMsg, results []kv.Result) ([]kv.Result, error) {
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
		command := commandOf(msg)
		m.logBytes += int64(len(command))
		r, err := m.store.ApplyKnown(index, command)
		if err != nil {
			return results, fmt.Errorf("the log entry at index %d cannot be applied: %w", index, err)
		}
		if r.ID.Origin == m.origin {
			results = append(results, r)
		}
		m.marks.note(m.store)
	}
	return results, nil
}

// drop passes over messages that stand behind a snapshot which is gone: the next
// snapshot holds what they did. Writes of this node among them are ended as
// unknown, for their results are nowhere.
func (m *Machine) drop(batch []raft.ApplyMsg) {
	unknown := failure.Of(failure.LeadershipLost, nil, "a snapshot of another leader took the place of the write's result; it may have happened")
	for _, msg := range batch {
		if !msg.CommandValid {
			continue
		}
		if c, err := kv.DecodeCommand(commandOf(msg)); err == nil && c.ID.Origin == m.origin {
			m.waiting.fail(c.ID.Number, unknown)
		}
	}
}

// commandOf returns the command that a message holds.
func commandOf(msg raft.ApplyMsg) []byte {
	command, ok := msg.Command.([]byte)
	if !ok {
		panic(fmt.Sprintf("machine: the command at index %d is a %T, not bytes", msg.CommandIndex, msg.Command))
	}
	return command
}

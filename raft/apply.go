package raft

import (
	"fmt"

	"raftkv/raft/core"
)

// ApplyMsg is one message on the applyCh: a committed command, a snapshot, or
// (on a server that leads with a no-op, or whose members change) an index that holds neither. The seven
// fields and their order are the labs'.
type ApplyMsg struct {
	CommandValid bool        // Command holds a committed command
	Command      interface{} // []byte on a server; the argument of Start in the labs
	CommandIndex int         // the entry's index; also set for an entry that holds no command

	SnapshotValid bool   // the state at SnapshotIndex replaces the present one
	Snapshot      []byte // nil on a server, where OpenSnapshot has it
	SnapshotTerm  int
	SnapshotIndex int
}

// Batch returns the batch that holds what the message holds, for a receiver of
// batches. Nobody waits for its Taken. It panics if the command is not bytes.
func (m ApplyMsg) Batch() Batch {
	if m.SnapshotValid {
		s := Snapshot{Index: uint64(m.SnapshotIndex), Term: uint64(m.SnapshotTerm), Data: m.Snapshot}
		return Batch{Batch: &core.Batch{Snapshot: &s}}
	}
	e := Entry{Index: uint64(m.CommandIndex), Kind: KindNoop}
	if m.CommandValid {
		command, ok := m.Command.([]byte)
		if !ok {
			panic(fmt.Sprintf("raft: the command at index %d is a %T, not bytes", m.CommandIndex, m.Command))
		}
		e.Kind, e.Data = KindCommand, command
	}
	return Batch{Batch: &core.Batch{Entries: []Entry{e}}}
}

// applyChannel delivers into an applyCh: every index once, in order.
type applyChannel chan ApplyMsg

// Deliver sends a message per entry, or one for a snapshot, and gives up when
// stop is closed.
func (c applyChannel) Deliver(batch *core.Batch, stop <-chan struct{}) bool {
	if batch.Snapshot != nil {
		return c.send(snapshotMsg(batch.Snapshot), stop)
	}
	for _, e := range batch.Entries {
		msg := ApplyMsg{CommandIndex: int(e.Index)}
		switch e.Kind {
		case core.KindCommand:
			msg.CommandValid = true
			msg.Command = e.Data
		case core.KindNoop, core.KindConfiguration:
		default: // a server that skipped it would reach a different state from those that know it
			panic(fmt.Sprintf("raft: %v", &core.UnknownKindError{Index: e.Index, Kind: e.Kind, Bytes: len(e.Data)}))
		}
		if !c.send(msg, stop) {
			return false
		}
	}
	return true
}

// Close closes the applyCh.
func (c applyChannel) Close() { close(c) }

func (c applyChannel) send(msg ApplyMsg, stop <-chan struct{}) bool {
	select {
	case c <- msg:
		return true
	case <-stop:
		return false
	}
}

func snapshotMsg(s *core.Snapshot) ApplyMsg {
	return ApplyMsg{SnapshotValid: true, Snapshot: s.Data, SnapshotTerm: int(s.Term), SnapshotIndex: int(s.Index)}
}

package raft

import "raftkv/raft/core"

// ApplyMsg is one message on the applyCh: a committed command, a snapshot, or
// (on a server that leads with a no-op) an index that holds neither. The seven
// fields and their order are the labs'.
type ApplyMsg struct {
	CommandValid bool        // Command holds a committed command
	Command      interface{} // []byte on a server; what was given to Start in the labs
	CommandIndex int         // the entry's index; also set for an entry that holds no command

	SnapshotValid bool
	Snapshot      []byte
	SnapshotTerm  int
	SnapshotIndex int
}

// channel delivers into an applyCh: every index once, in order.
type channel chan ApplyMsg

// Deliver sends a message per entry and gives up when stop is closed.
func (c channel) Deliver(entries []core.Entry, stop <-chan struct{}) bool {
	for _, e := range entries {
		msg := ApplyMsg{CommandIndex: int(e.Index)}
		if e.Kind == core.KindCommand {
			msg.CommandValid = true
			msg.Command = e.Data
		}
		select {
		case c <- msg:
		case <-stop:
			return false
		}
	}
	return true
}

// Close closes the applyCh.
func (c channel) Close() { close(c) }

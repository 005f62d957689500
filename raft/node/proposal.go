package node

import (
	"errors"

	"raftkv/raft/members"
)

// Errors that end a proposal or a read, in addition to those of the core
// (core.ErrNotLeader, core.ErrOverloaded, core.ErrTooLarge,
// core.ErrTransferring).
var (
	// ErrLost says that another entry was chosen at the proposal's index: the
	// command did not happen and never will.
	ErrLost = errors.New("another entry took the proposal's place in the log")
	// ErrUnknown says that a snapshot replaced the part of the log where the
	// proposal was placed: the command may have happened or not.
	ErrUnknown = errors.New("a snapshot covers the proposal's place in the log")
	// ErrStopped says that the node stopped first. The command of a proposal that had
	// been placed may still happen. Otherwise it did not happen and never will.
	ErrStopped = errors.New("the node has stopped")
)

// Proposal is a command on its way into the log, with the functions that are told
// what becomes of it. It belongs to the node until one of two things happens:
//
//   - The command is chosen. It is delivered to the service like every other, and
//     its proposer recognises it by its content. If the node stops before it could
//     deliver the command, only Service.Close says so.
//   - Failed is called.
//
// The node never guesses from a change of leader: an entry of a deposed leader
// may still be chosen.
type Proposal struct {
	// Command must not be changed after the proposal was made.
	Command []byte
	// Placed, if not nil, is called at most once, with the position in the log that
	// the leader gave the command. From then on the command may happen.
	Placed func(index, term uint64)
	// Failed is called at most once, and never if the command was chosen. With
	// ErrStopped after Placed, and with ErrUnknown, the outcome is unknown; in all
	// other cases the command did not happen and never will.
	//
	// Both functions run on the node's loop: they must not block.
	Failed func(err error)

	term   uint64
	next   *Proposal // another proposal with the same index and another term
	chosen func()    // called when the entry was chosen, if not nil; see Reconfiguration
}

// Reconfiguration is a change of the cluster's members on its way into the log, with the
// functions that are told what becomes of it. It ends as a Proposal does, and Chosen or
// Failed is called at most once, or neither if the node stops first and cannot know.
type Reconfiguration struct {
	// Wanted lists the members to be, each with its role; see members.Next. It must not be
	// changed after the call.
	Wanted members.Record
	// From is the index of the newest configuration, from which Wanted was made; 0 for the
	// first record of a cluster.
	From uint64
	// Placed, if not nil, is called with the position of the change's first entry. From
	// then on the change may happen.
	Placed func(index, term uint64)
	// Chosen, if not nil, is called when that entry is committed: the change happens. If
	// the voters differ, its final entry follows by itself; see Config.OnConfiguration.
	Chosen func()
	// Failed is called as that of a Proposal. In addition to the errors there the error may
	// be core.ErrConfigurationChanged, core.ErrChangeInProgress or a sentence that says
	// what cannot be; then nothing was appended.
	Failed func(err error)
}

// proposal returns what waits for the end of the change.
func (c *Reconfiguration) proposal() *Proposal {
	return &Proposal{Placed: c.Placed, Failed: c.Failed, chosen: c.Chosen}
}

func (p *Proposal) fail(err error) {
	if p.Failed != nil {
		p.Failed(err)
	}
}

package node

import "errors"

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

	term uint64
	next *Proposal // another proposal with the same index and another term
}

func (p *Proposal) fail(err error) {
	if p.Failed != nil {
		p.Failed(err)
	}
}

package node

import "errors"

// Errors that end a proposal or a read, beside those of the core
// (core.ErrNotLeader, core.ErrOverloaded, core.ErrTooLarge,
// core.ErrTransferring).
var (
	// ErrLost says that another entry was chosen at the proposal's index: the
	// command did not happen and never will.
	ErrLost = errors.New("another entry took the proposal's place in the log")
	// ErrUnknown says that a snapshot replaced the part of the log where the
	// proposal's place was: it may have happened or not.
	ErrUnknown = errors.New("a snapshot covers the proposal's place in the log")
	// ErrStopped says that the node stopped first. A proposal that had been
	// placed may still happen; one that had not, did not and will not.
	ErrStopped = errors.New("the node has stopped")
)

// Proposal is a command on its way into the log, and who wants to know. It
// belongs to the node until one of its ends is reached:
//
//   - the command is chosen: it is delivered to the service like everybody
//     else's, and its proposer knows it by what is in it. If the node stops
//     before it could be delivered, nobody says so but Service.Close;
//   - Failed is called.
//
// The node never guesses from a change of leader: an entry of a deposed leader
// may still be chosen.
type Proposal struct {
	// Command is not changed by anyone any more.
	Command []byte
	// Placed, if not nil, is called at most once, with the place in the log that
	// was proposed. From then on the command may happen.
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

package kvserver

import (
	"context"
	"errors"
	"time"
)

// Consensus is what the server needs of the replicated log. All methods are
// safe for concurrent use.
type Consensus interface {
	// Propose queues a command; what becomes of it is told to the Proposal. An
	// error means that it was not queued: it did not happen and never will.
	Propose(ctx context.Context, p *Proposal) error
	// ReadIndex returns an index such that a read of the store is linearizable
	// once everything up to it is applied. It works on followers, too. After an
	// error nothing is known and the read may be asked again.
	ReadIndex(ctx context.Context) (uint64, error)
	// Status is cheap enough for every request.
	Status() Status
	// Transfer hands leadership to another server.
	Transfer(ctx context.Context, to string) error
}

// Proposal is a command on its way into the log.
type Proposal struct {
	Command []byte
	// Placed, if not nil, is called at most once, when the command has a place
	// in the log. From then on it may happen.
	Placed func(index, term uint64)
	// Failed is called at most once, and never if the command was delivered.
	// With ErrStopped after Placed the outcome is unknown; with ErrStopped
	// before, and with the other errors of this file, the command did not happen
	// and never will. Both functions run on the consensus loop and must not block.
	Failed func(err error)
}

// ApplyMsg is one message of the applyCh, which delivers every index of the log
// once and in order, and is closed when the node has stopped.
type ApplyMsg struct {
	CommandValid bool        // Command holds a chosen command, a []byte
	Command      interface{} //
	CommandIndex int         // its index; also set for an index that holds no command

	SnapshotValid bool
	Snapshot      []byte
	SnapshotTerm  int
	SnapshotIndex int
}

// ID names a server.
type ID string

// Status is a node's view of the cluster.
type Status struct {
	ID         ID
	Leader     ID // "" if none is known
	Role       string
	Term       uint64
	Commit     uint64
	Applied    uint64
	FirstIndex uint64
	LastIndex  uint64
	Peers      []PeerStatus // on leaders
}

// PeerStatus is what a leader knows of a follower.
type PeerStatus struct {
	ID          ID
	Match, Next uint64
	Lag         uint64
	LastContact time.Duration // since it last answered; negative: not in this term
}

// Errors of Propose, Proposal.Failed and ReadIndex.
var (
	ErrNotLeader    = errors.New("not the leader")
	ErrOverloaded   = errors.New("too much uncommitted work")
	ErrTransferring = errors.New("leadership is being transferred")
	ErrLost         = errors.New("another entry took the proposal's place in the log")
	ErrTooLarge     = errors.New("the command is larger than an entry may be")
	ErrStopped      = errors.New("the node has stopped")
)

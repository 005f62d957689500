package machine

import (
	"context"
	"io"

	"raftkv/raft"
)

// Consensus is what a machine and its server need of the replicated log; *raft.Raft is one.
// All methods are safe for concurrent use.
type Consensus interface {
	// Propose puts a command on its way into the log and never blocks; what
	// becomes of it is told to the Proposal.
	Propose(p *raft.Proposal)
	// ReadIndex returns an index such that a read of the store is linearizable
	// once everything up to it is applied. It works on followers, too. After an
	// error nothing is known and the read may be asked again.
	ReadIndex(ctx context.Context) (uint64, error)
	// Transfer hands leadership to another server, "" for the most fitting, and
	// returns when this one leads no more. An error other than ErrNotLeader,
	// ErrTransferring, ErrTransferFailed, ErrStopped and the context's says that
	// the other cannot lead.
	Transfer(ctx context.Context, to raft.ID) error
	// TermAt returns the term of an entry that was chosen; raft.ErrCompacted if the
	// log has forgotten it.
	TermAt(ctx context.Context, index uint64) (uint64, error)
	// Status is cheap enough for every request.
	Status() *raft.Status
	// WriteSnapshot makes durable what write writes as the state at index, and then
	// lets the log forget what that stands for.
	WriteSnapshot(index uint64, write func(io.Writer) error) error
	// SnapshotWanted holds a token when Status says SnapshotWanted anew, or still.
	SnapshotWanted() <-chan struct{}
	// OpenSnapshot opens the state at index that a batch on the ApplyCh named.
	OpenSnapshot(index uint64) (io.ReadCloser, error)
	// Fail ends the node because its state machine cannot go on.
	Fail(err error)
}

package raft

import (
	"context"
	"io"

	"raftkv/raft/core"
	"raftkv/raft/node"
)

// Config, Status, Observer, Proposal, Reconfiguration and Batch are the node's; see
// there. ID, UID, PeerStatus, Entry, Kind, Snapshot and Configurations are the core's.
type (
	ID         = core.ID
	UID        = core.UID
	PeerStatus = core.PeerStatus
	Entry      = core.Entry
	Kind       = core.Kind
	Snapshot   = core.Snapshot
	Batch      = node.Batch
	Config     = node.Config
	Status     = node.Status
	Observer   = node.Observer
	Proposal   = node.Proposal

	Reconfiguration = node.Reconfiguration
	Configurations  = core.Configurations
)

// Kinds of entries that a receiver of batches meets; see core.Kind.
const (
	KindCommand = core.KindCommand
	KindNoop    = core.KindNoop

	// KindConfiguration holds the record of the members: members.Decode reads its data.
	KindConfiguration = core.KindConfiguration
)

// Errors that end a proposal or a read. Two of them leave open whether the
// command will happen: ErrUnknown, and ErrStopped for a proposal that had been
// placed in the log.
var (
	ErrNotLeader      = core.ErrNotLeader
	ErrOverloaded     = core.ErrOverloaded
	ErrTooLarge       = core.ErrTooLarge
	ErrTransferring   = core.ErrTransferring
	ErrNobodyElse     = core.ErrNobodyElse
	ErrLost           = node.ErrLost
	ErrUnknown        = node.ErrUnknown
	ErrStopped        = node.ErrStopped
	ErrTransferFailed = node.ErrTransferFailed
	ErrCompacted      = node.ErrCompacted

	ErrChangeInProgress     = core.ErrChangeInProgress
	ErrConfigurationChanged = core.ErrConfigurationChanged
)

// Raft is one server of a cluster. All methods are safe for concurrent use. Most pass
// on to the node: the labs ask for a type Raft in this package with methods of their
// own, so a node cannot be it, and its methods are named here one by one so that the
// node's Compact, which is for the labs alone, is not among them.
type Raft struct {
	node      *node.Node
	persister *persisterStorage // labs only
}

// Open runs a server that continues from state, which must be what storage
// holds. Committed entries leave by applyCh, which is closed when nothing
// more will be delivered. The storage belongs to the server from now on; the
// transport does not, and must be given the server as its handler.
func Open(config Config, state core.State, storage node.Storage, transport node.Transport, applyCh chan ApplyMsg) *Raft {
	return &Raft{node: node.Start(config, state, storage, transport, applyChannel(applyCh))}
}

// OpenBatches runs a server like Open, but for how committed entries leave: a whole
// batch at a time, with its checksums, on a channel with room for at least one. The
// receiver calls Taken for each batch.
func OpenBatches(config Config, state core.State, storage node.Storage, transport node.Transport, batches chan Batch) *Raft {
	return &Raft{node: node.StartBatches(config, state, storage, transport, batches)}
}

// Propose puts a command on its way into the log; see Proposal. It never
// blocks. On a server of the labs too, the command comes out as a []byte.
func (rf *Raft) Propose(p *Proposal) {
	if rf.persister != nil {
		p.Command = encodeCommand(p.Command)
	}
	rf.node.Propose(p)
}

// Reconfigure begins a change of the members; see node.Node.
func (rf *Raft) Reconfigure(c *Reconfiguration) { rf.node.Reconfigure(c) }

// ReadIndex returns an index at which a read is linearizable; see node.Node.
func (rf *Raft) ReadIndex(ctx context.Context) (uint64, error) { return rf.node.ReadIndex(ctx) }

// Status returns the server's state; the caller must not change it.
func (rf *Raft) Status() *Status { return rf.node.Status() }

// Transfer hands leadership to another server, "" for the most suitable one, and
// returns when this one no longer leads.
func (rf *Raft) Transfer(ctx context.Context, to core.ID) error { return rf.node.Transfer(ctx, to) }

// RatherNot gives a reason why this server should not lead if another can, or
// withdraws it; see node.Node.
func (rf *Raft) RatherNot(reason string, ratherNot bool) { rf.node.RatherNot(reason, ratherNot) }

// Hold keeps the server's loop from running until release is closed; see node.Node.
func (rf *Raft) Hold(release <-chan struct{}) { rf.node.Hold(release) }

// WriteSnapshot puts the service's state at index on the disk and then lets the
// log forget the entries up to there; see node.Node. It is for servers made by
// Open; servers of the labs use Snapshot.
func (rf *Raft) WriteSnapshot(index uint64, write func(io.Writer) error) error {
	return rf.node.WriteSnapshot(index, write)
}

// SnapshotWanted holds a token when Status should be looked at for SnapshotWanted; see
// node.Node.
func (rf *Raft) SnapshotWanted() <-chan struct{} { return rf.node.SnapshotWanted() }

// OpenSnapshot opens the snapshot at index, which a message on the applyCh named
// or WriteSnapshot wrote; see node.Node.
func (rf *Raft) OpenSnapshot(index uint64) (io.ReadCloser, error) { return rf.node.OpenSnapshot(index) }

// TermAt returns the term of the committed entry at index; see node.Node.
func (rf *Raft) TermAt(ctx context.Context, index uint64) (uint64, error) {
	return rf.node.TermAt(ctx, index)
}

// Receive takes a peer's request; see node.Node.
func (rf *Raft) Receive(from core.ID, request core.Request, answer func(core.Reply)) {
	rf.node.Receive(from, request, answer)
}

// Suspect reports that the connection to a peer died from the peer's side.
func (rf *Raft) Suspect(peer core.ID) { rf.node.Suspect(peer) }

// SnapshotLost reports that the file of the snapshot at index is damaged; see
// node.Node.SnapshotLost.
func (rf *Raft) SnapshotLost(index uint64) { rf.node.SnapshotLost(index) }

// Fail begins to end the server because its service cannot go on; Wait then
// returns err.
func (rf *Raft) Fail(err error) { rf.node.Fail(err) }

// Stop begins to end the server and returns at once.
func (rf *Raft) Stop() { rf.node.Stop() }

// Stopping is closed when the server begins to end, by Stop or by a failure.
func (rf *Raft) Stopping() <-chan struct{} { return rf.node.Stopping() }

// Wait returns when the server has ended: nil after Stop, otherwise the error
// that ended it.
func (rf *Raft) Wait() error { return rf.node.Wait() }

package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"raftkv/raft/core"
)

// Snapshots is a Storage that keeps the snapshots of the state machine, so that
// they need not pass through memory. The core then hears of snapshots without their
// data. Both methods may be called by any goroutine, also while Save runs.
type Snapshots interface {
	// WriteSnapshot makes what write writes durable as the snapshot s, its UID and its
	// Members included, before it returns nil. The log still begins with the snapshot before,
	// until a Save brings a Write with this one. An error that ends the storage is
	// repeated by the next Save.
	WriteSnapshot(s core.Snapshot, write func(io.Writer) error) error
	// OpenSnapshot opens the snapshot at index, which was written here or came from the
	// leader. Reading it ends with io.EOF only if all of it is undamaged.
	OpenSnapshot(index uint64) (io.ReadCloser, error)
}

var (
	// ErrNoSnapshots says that the node's storage keeps no snapshots.
	ErrNoSnapshots = errors.New("the storage keeps no snapshots")
	// ErrCompacted says that a snapshot stands for that part of the log, whose terms
	// are no longer known.
	ErrCompacted = errors.New("a snapshot covers that place in the log")
)

// WriteSnapshot lets the service put its state on the disk, and then lets the log
// forget what that stands for. The service must have been delivered everything up
// to index, and its state must hold nothing beyond. WriteSnapshot returns when the
// snapshot is durable; the log forgets the entries soon after. The writer that write
// is given fails when the node ends.
//
// After an error the log is as it was, and the service may try again. Errors:
// ErrNoSnapshots, ErrCompacted if a newer snapshot is there already, ErrStopped,
// write's own, the disk's.
func (n *Node) WriteSnapshot(index uint64, write func(io.Writer) error) error {
	storage, ok := n.storage.(Snapshots)
	if !ok {
		return ErrNoSnapshots
	}
	if !n.writing.enter() {
		return ErrStopped
	}
	defer n.writing.leave()
	if status := n.Status(); index < status.SnapshotIndex || index == status.SnapshotIndex && !status.SnapshotLost {
		return ErrCompacted
	}
	snapshot, err := n.snapshotAt(context.Background(), index)
	if err != nil {
		return err
	}
	n.post(func() { n.replica.Taking(index) }, nil)
	defer n.post(func() { n.replica.Taking(0) }, nil)
	err = storage.WriteSnapshot(snapshot, func(w io.Writer) error { return write(untilStopped{w, n.stop}) })
	if err != nil {
		return err
	}
	if !n.compact(snapshot) {
		return ErrStopped
	}
	return nil
}

// compact lets a snapshot stand for the log up to its index; false if the loop has
// ended.
func (n *Node) compact(s core.Snapshot) bool {
	return n.post(func() { n.replica.Compact(s) }, nil)
}

// SnapshotLost tells the core that the storage found the file of the snapshot at
// index damaged, for example when it was to be sent. The service is asked for
// another one as soon as a follower needs it; see Status.SnapshotWanted.
// SnapshotLost never blocks.
func (n *Node) SnapshotLost(index uint64) {
	n.post(func() { n.replica.SnapshotLost(index) }, nil)
}

// SnapshotWanted holds a token after a Status was published that says SnapshotWanted.
// It is for one receiver.
func (n *Node) SnapshotWanted() <-chan struct{} { return n.wanted }

// OpenSnapshot opens the snapshot at index, which the service has written or was
// delivered. Errors: ErrNoSnapshots, the disk's.
func (n *Node) OpenSnapshot(index uint64) (io.ReadCloser, error) {
	storage, ok := n.storage.(Snapshots)
	if !ok {
		return nil, ErrNoSnapshots
	}
	return storage.OpenSnapshot(index)
}

// TermAt returns the term of the committed entry at index. Errors: ErrCompacted,
// ErrStopped, the context's, or a sentence if nothing is committed there yet.
func (n *Node) TermAt(ctx context.Context, index uint64) (uint64, error) {
	s, err := n.snapshotAt(ctx, index)
	return s.Term, err
}

// snapshotAt returns how a snapshot at index is labelled: with the term of the
// committed entry there, and the cluster's UID and newest configuration of the log up
// to there, if it holds them.
// Errors as of TermAt.
func (n *Node) snapshotAt(ctx context.Context, index uint64) (core.Snapshot, error) {
	type result struct {
		snapshot core.Snapshot
		err      error
	}
	results := make(chan result, 1)
	look := func() {
		snapshot, err := n.positionOf(index)
		results <- result{snapshot, err}
	}
	if !n.post(look, func() { results <- result{err: ErrStopped} }) {
		return core.Snapshot{}, ErrStopped
	}
	select {
	case r := <-results:
		return r.snapshot, r.err
	case <-ctx.Done():
		return core.Snapshot{}, ctx.Err()
	}
}

// positionOf looks up, on the loop, how a snapshot at index is labelled. The core may
// have forgotten the entry while the service has not yet applied what it was given.
// So an index behind the newest snapshot is looked up in what was delivered as well.
func (n *Node) positionOf(index uint64) (core.Snapshot, error) {
	now := n.replica.Observe()
	if index > now.CommitIndex {
		return core.Snapshot{}, fmt.Errorf("index %d is not committed: the log is committed up to %d", index, now.CommitIndex)
	}
	n.delivered.forget(now.SnapshotIndex)
	term, known := n.replica.Term(index)
	if !known && index >= now.SnapshotIndex {
		term, known = n.delivered.term(index)
	}
	if !known {
		return core.Snapshot{}, ErrCompacted
	}
	return core.Snapshot{Index: index, Term: term, UID: n.replica.UIDAt(index), Members: n.replica.ConfigurationAt(index)}, nil
}

// untilStopped is a writer that fails once the node has begun to end.
type untilStopped struct {
	io.Writer
	stop <-chan struct{}
}

func (w untilStopped) Write(b []byte) (int, error) {
	select {
	case <-w.stop:
		return 0, ErrStopped
	default:
		return w.Writer.Write(b)
	}
}

// gate admits callers until it is closed. Closing it waits for those inside.
type gate struct {
	mu     sync.Mutex // guards closed, and that nobody enters after it
	closed bool
	inside sync.WaitGroup
}

// enter reports whether the caller is admitted. A caller that was must call leave.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inside.Add(1)
	return true
}

func (g *gate) leave() { g.inside.Done() }

// close admits no further callers and returns when all have left.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.inside.Wait()
}

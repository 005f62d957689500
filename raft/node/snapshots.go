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
// they need not pass through memory: in everything the core is told and says
// they are without their data. Both methods may be called by any goroutine,
// beside Save.
type Snapshots interface {
	// WriteSnapshot makes what write writes durable as the snapshot s, its UID
	// included, before it returns nil. The log goes on to count from the snapshot before until a Save
	// brings a Write with this one. An error that ends the storage is repeated by
	// the next Save.
	WriteSnapshot(s core.Snapshot, write func(io.Writer) error) error
	// OpenSnapshot opens what was written, or came from the leader, as the snapshot
	// at index. Reading it ends with io.EOF only if all of it is undamaged.
	OpenSnapshot(index uint64) (io.ReadCloser, error)
}

var (
	// ErrNoSnapshots says that the node's storage keeps no snapshots.
	ErrNoSnapshots = errors.New("the storage keeps no snapshots")
	// ErrCompacted says that a snapshot stands for the place in the log that was
	// asked for.
	ErrCompacted = errors.New("a snapshot covers that place in the log")
)

// WriteSnapshot lets the service put its state on the disk, which was delivered
// everything up to index and nothing beyond, and then lets the log forget what
// that stands for. It returns when the snapshot is durable; the log forgets it
// soon after. The writer that write is given fails when the node ends.
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
	if index <= n.Status().SnapshotIndex {
		return ErrCompacted
	}
	snapshot, err := n.snapshotAt(context.Background(), index)
	if err != nil {
		return err
	}
	n.inbox.post(event{kind: eventTaking, number: index})
	defer n.inbox.post(event{kind: eventTaking})
	err = storage.WriteSnapshot(snapshot, func(w io.Writer) error { return write(untilStopped{w, n.stop}) })
	if err != nil {
		return err
	}
	if !n.inbox.post(event{kind: eventCompact, snapshot: snapshot}) {
		return ErrStopped
	}
	return nil
}

// OpenSnapshot opens the snapshot at index, which the service was delivered or
// has written. Errors: ErrNoSnapshots, the disk's.
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

// snapshotAt returns what a snapshot at index is called: the term of the committed
// entry there and the cluster's UID, if that is known by then. Errors as of TermAt.
func (n *Node) snapshotAt(ctx context.Context, index uint64) (core.Snapshot, error) {
	type result struct {
		snapshot core.Snapshot
		err      error
	}
	results := make(chan result, 1)
	e := event{kind: eventPlace, number: index, place: func(s core.Snapshot, err error) { results <- result{s, err} }}
	if !n.inbox.post(e) {
		return core.Snapshot{}, ErrStopped
	}
	select {
	case r := <-results:
		return r.snapshot, r.err
	case <-ctx.Done():
		return core.Snapshot{}, ctx.Err()
	}
}

// placeOf looks up what a snapshot at index is called. The core may have forgotten
// the entry, while the service has not yet applied what it was given. So an index
// behind the newest snapshot is looked up in what was delivered as well.
func (n *Node) placeOf(index uint64) (core.Snapshot, error) {
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
	return core.Snapshot{Index: index, Term: term, UID: n.replica.UIDAt(index)}, nil
}

// untilStopped is a writer that fails when the node ends.
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

// gate lets callers in until it is closed, and then waits for those inside.
type gate struct {
	mu     sync.Mutex // guards closed, and that nobody enters after it
	closed bool
	inside sync.WaitGroup
}

// enter reports whether the caller is let in; who is calls leave.
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

// close lets nobody in any more and returns when everybody has left.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.inside.Wait()
}

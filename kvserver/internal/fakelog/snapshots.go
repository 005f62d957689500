package fakelog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"raftkv/raft"
)

// Snapshots is the part of consensus that keeps snapshots, in memory, and
// hears why the node must end.
type Snapshots struct {
	store   sync.Mutex // guards the fields below
	Written map[uint64][]byte
	First   uint64 // TermAt says that what comes before is compacted
	Refuse  error  // if set, WriteSnapshot fails with it behind the first bytes
	Pause   func() // if set, called by WriteSnapshot behind the first bytes
	failure error  // what Fail was called with
	wanted  chan struct{}
}

// WriteSnapshot keeps what was written only if all of it came.
func (f *Snapshots) WriteSnapshot(index uint64, write func(io.Writer) error) error {
	f.store.Lock()
	refuse, pause, superseded := f.Refuse, f.Pause, index < f.First
	f.store.Unlock()
	if superseded {
		return raft.ErrCompacted
	}
	w := &fakeFile{Refuse: refuse, Pause: pause}
	if err := write(w); err != nil {
		return err
	}
	f.store.Lock()
	defer f.store.Unlock()
	f.keep(index, w.Bytes())
	return nil
}

func (f *Snapshots) keep(index uint64, state []byte) {
	if f.Written == nil {
		f.Written = map[uint64][]byte{}
	}
	f.Written[index] = state
}

// Put makes a snapshot be there.
func (f *Snapshots) Put(index uint64, state []byte) {
	f.store.Lock()
	defer f.store.Unlock()
	f.keep(index, state)
}

// SnapshotWanted implements machine.Consensus.
func (f *Snapshots) SnapshotWanted() <-chan struct{} { return f.wanted }

// OpenSnapshot implements machine.Consensus.
func (f *Snapshots) OpenSnapshot(index uint64) (io.ReadCloser, error) {
	f.store.Lock()
	defer f.store.Unlock()
	state, ok := f.Written[index]
	if !ok {
		return nil, fmt.Errorf("there is no snapshot at %d", index)
	}
	return io.NopCloser(bytes.NewReader(state)), nil
}

// TermAt implements machine.Consensus.
func (f *Snapshots) TermAt(_ context.Context, index uint64) (uint64, error) {
	f.store.Lock()
	defer f.store.Unlock()
	if index < f.First {
		return 0, raft.ErrCompacted
	}
	return 1, nil
}

// Fail implements machine.Consensus.
func (f *Snapshots) Fail(err error) {
	f.store.Lock()
	defer f.store.Unlock()
	f.failure = err
}

// SnapshotsAt lists where the snapshots stand that are there.
func (f *Snapshots) SnapshotsAt() []uint64 {
	f.store.Lock()
	defer f.store.Unlock()
	return slices.Sorted(maps.Keys(f.Written))
}

func (f *Snapshots) Failed() error {
	f.store.Lock()
	defer f.store.Unlock()
	return f.failure
}

// Set changes what the fake does.
func (f *Snapshots) Change(do func(*Snapshots)) {
	f.store.Lock()
	defer f.store.Unlock()
	do(f)
}

// fakeFile is the file of a snapshot that is being written.
type fakeFile struct {
	bytes.Buffer
	Refuse error
	Pause  func()
}

func (w *fakeFile) Write(b []byte) (int, error) {
	if w.Pause != nil {
		w.Pause()
		w.Pause = nil
	}
	if w.Refuse != nil {
		return 0, w.Refuse
	}
	return w.Buffer.Write(b)
}

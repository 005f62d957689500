package kvserver

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

// fakeSnapshots is the part of consensus that keeps snapshots, in memory, and
// hears why the node must end.
type fakeSnapshots struct {
	store   sync.Mutex // guards the fields below
	written map[uint64][]byte
	first   uint64 // TermAt says that what comes before is compacted
	refuse  error  // if set, WriteSnapshot fails with it behind the first bytes
	pause   func() // if set, called by WriteSnapshot behind the first bytes
	failure error  // what Fail was called with
}

// WriteSnapshot keeps what was written only if all of it came.
func (f *fakeSnapshots) WriteSnapshot(index uint64, write func(io.Writer) error) error {
	f.store.Lock()
	refuse, pause, superseded := f.refuse, f.pause, index < f.first
	f.store.Unlock()
	if superseded {
		return raft.ErrCompacted
	}
	w := &fakeFile{refuse: refuse, pause: pause}
	if err := write(w); err != nil {
		return err
	}
	f.store.Lock()
	defer f.store.Unlock()
	f.keep(index, w.Bytes())
	return nil
}

func (f *fakeSnapshots) keep(index uint64, state []byte) {
	if f.written == nil {
		f.written = map[uint64][]byte{}
	}
	f.written[index] = state
}

// put makes a snapshot be there.
func (f *fakeSnapshots) put(index uint64, state []byte) {
	f.store.Lock()
	defer f.store.Unlock()
	f.keep(index, state)
}

func (f *fakeSnapshots) OpenSnapshot(index uint64) (io.ReadCloser, error) {
	f.store.Lock()
	defer f.store.Unlock()
	state, ok := f.written[index]
	if !ok {
		return nil, fmt.Errorf("there is no snapshot at %d", index)
	}
	return io.NopCloser(bytes.NewReader(state)), nil
}

func (f *fakeSnapshots) TermAt(_ context.Context, index uint64) (uint64, error) {
	f.store.Lock()
	defer f.store.Unlock()
	if index < f.first {
		return 0, raft.ErrCompacted
	}
	return 1, nil
}

func (f *fakeSnapshots) Fail(err error) {
	f.store.Lock()
	defer f.store.Unlock()
	f.failure = err
}

// snapshots lists where the snapshots stand that are there.
func (f *fakeSnapshots) snapshots() []uint64 {
	f.store.Lock()
	defer f.store.Unlock()
	return slices.Sorted(maps.Keys(f.written))
}

func (f *fakeSnapshots) failed() error {
	f.store.Lock()
	defer f.store.Unlock()
	return f.failure
}

// set changes what the fake does.
func (f *fakeSnapshots) change(do func(*fakeSnapshots)) {
	f.store.Lock()
	defer f.store.Unlock()
	do(f)
}

// fakeFile is the file of a snapshot that is being written.
type fakeFile struct {
	bytes.Buffer
	refuse error
	pause  func()
}

func (w *fakeFile) Write(b []byte) (int, error) {
	if w.pause != nil {
		w.pause()
		w.pause = nil
	}
	if w.refuse != nil {
		return 0, w.refuse
	}
	return w.Buffer.Write(b)
}

package wal

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync"
	"syscall"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/snapshot"
	"raftkv/raft/vfs"
)

// packed is the container of the snapshot of a place.
func packed(t testing.TB, cluster string, p position) []byte {
	t.Helper()
	return packedUID(t, cluster, p, core.UID{})
}

func packedUID(t testing.TB, cluster string, p position, uid core.UID) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := snapshot.NewWriter(&b, snapshot.Header{ClusterID: cluster, Index: p.index, Term: p.term, UID: uid})
	must(t, err)
	must(t, writePayload(p)(w))
	must(t, w.Close())
	return b.Bytes()
}

// Goal: a transfer goes on where it was cut if it is the same one, and starts
// anew otherwise; bytes at the wrong place and beyond the end are refused. What
// is not needed counts as received. Method: each once.
func TestReceivingResumes(t *testing.T) {
	disk := vfs.NewCrashable()
	w, _, err := Open(testOptions(disk))
	must(t, err)
	p := position{50, 4}
	s, b, id := core.Snapshot{Index: p.index, Term: p.term}, packed(t, "c1", p), [32]byte{1}
	size := int64(len(b))
	begin := func(s core.Snapshot, size int64, id [32]byte, want int64) {
		t.Helper()
		have, err := w.BeginReceive(s, size, id)
		must(t, err)
		if have != want {
			t.Errorf("%d bytes are here, want %d", have, want)
		}
	}
	if w.ReceiveAt(b, 0) == nil {
		t.Error("bytes were taken before anything was begun")
	}
	begin(s, size, id, 0)
	must(t, w.ReceiveAt(b[:100], 0))
	begin(s, size, id, 100)
	if w.ReceiveAt(b[100:200], 101) == nil || w.ReceiveAt(b[:100], 0) == nil || w.ReceiveAt(append(slices.Clone(b[100:]), 0), 100) == nil || w.FinishReceive() == nil {
		t.Error("bytes at the wrong place were taken, or half of it was enough")
	}
	begin(s, size, [32]byte{2}, 0)
	must(t, w.ReceiveAt(b[:100], 0))
	begin(s, size+1, [32]byte{2}, 0)
	begin(core.Snapshot{Index: 51, Term: 4}, size, [32]byte{2}, 0)
	begin(s, size, id, 0)
	must(t, w.ReceiveAt(b, 0))
	must(t, w.FinishReceive())
	begin(s, size, id, size) // the answer got lost, and the sender asks again
	must(t, w.FinishReceive())
	must(t, w.Save(&core.Write{Seq: 1, Term: 4, Snapshot: &s, From: 51}))
	begin(core.Snapshot{Index: 40, Term: 4}, size, id, size) // older than what is here
	must(t, w.FinishReceive())
	wantSnapshot(t, w, p)
	if _, err := w.OpenSnapshot(40); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an older snapshot was taken: %v", err)
	}
	// What a restart finds half received is removed.
	begin(core.Snapshot{Index: 60, Term: 4}, size, id, 0)
	must(t, w.ReceiveAt(b[:100], 0))
	must(t, w.Close())
	if err := w.ReceiveAt(b[100:], 100); err == nil {
		t.Error("a closed log takes bytes")
	}
	w, _, err = Open(testOptions(disk))
	must(t, err)
	begin(core.Snapshot{Index: 60, Term: 4}, size, id, 0)
	must(t, w.Close())
}

// Goal: what was received is verified as a whole before it counts: damage, another
// cluster's snapshot and that of another place are refused, nothing of them
// stays, and the log goes on. Method: one of each.
func TestBadTransfersAreRefused(t *testing.T) {
	disk := vfs.NewCrashable()
	w, _, err := Open(testOptions(disk))
	must(t, err)
	p := position{50, 4}
	good := packed(t, "c1", p)
	damaged := slices.Clone(good)
	damaged[len(damaged)/2] ^= 1
	var damage *CorruptionError
	var owner *IdentityError
	for name, test := range map[string]struct {
		b    []byte
		want any
	}{
		"damaged":                {damaged, &damage},
		"cut, with a small size": {good[:len(good)-1], &damage},
		"of another cluster":     {packed(t, "c2", p), &owner},
		"of another place":       {packed(t, "c1", position{49, 4}), &damage},
		"empty":                  {nil, &damage},
	} {
		_, err := w.BeginReceive(core.Snapshot{Index: p.index, Term: p.term}, int64(len(test.b)), [32]byte{})
		must(t, err)
		must(t, w.ReceiveAt(test.b, 0))
		if err := w.FinishReceive(); !errors.As(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		names, err := disk.List(testDir)
		must(t, err)
		if slices.Contains(names, receivingName) || slices.Contains(names, snapshotName(p)) {
			t.Errorf("%s: left %v", name, names)
		}
	}
	must(t, w.Save(&core.Write{Seq: 1, Term: 4}))
	must(t, w.Close())
}

// Goal: a full disk costs the snapshot and nothing else, wherever it strikes:
// the log goes on, nothing of the snapshot stays to take up room, and once there
// is room it works. Method: every operation of writing and of receiving a
// snapshot finds the disk full, for good.
func TestFullDiskSpoilsOnlyTheSnapshot(t *testing.T) {
	s := core.Snapshot{Index: 3, Term: 2}
	make := map[string]func(w *WAL) error{
		"write":   func(w *WAL) error { return w.WriteSnapshot(s, writePayload(positionOf(s))) },
		"receive": func(w *WAL) error { return receive(w, s, seeded(1)) },
	}
	struck := 0
	for name, do := range make {
		for _, kind := range []vfs.Kind{vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpRename} {
			for nth := 1; ; nth++ {
				disk := vfs.NewCrashable()
				fsys := vfs.NewFaulty(disk)
				w, _, err := Open(testOptions(fsys))
				must(t, err)
				seq := uint64(0)
				appendEntries(t, w, &seq, 2, 0, 4)
				fault := vfs.Fault{Kind: kind, Nth: fsys.Count(kind) + nth, Err: syscall.ENOSPC, Short: 5}
				fsys.Inject(fault)
				err = do(w)
				if fsys.Count(kind) < fault.Nth {
					must(t, err)
					break
				}
				struck++
				if !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("%s, %+v: %v", name, fault, err)
				}
				names, _ := disk.List(testDir)
				if slices.Contains(names, writingName) || slices.Contains(names, receivingName) {
					t.Errorf("%s, %+v: left %v", name, fault, names)
				}
				appendEntries(t, w, &seq, 2, 4, 2)
				must(t, do(w)) // there is room again
				must(t, w.Save(&core.Write{Seq: seq + 1, Term: 2, Snapshot: &s}))
				must(t, w.Close())
				w, state, err := Open(testOptions(disk))
				must(t, err)
				if positionOf(state.Snapshot) != positionOf(s) || len(state.Entries) != 3 {
					t.Errorf("%s, %+v: found %+v", name, fault, state)
				}
				wantSnapshot(t, w, positionOf(s))
			}
		}
	}
	if struck < 12 {
		t.Errorf("only %d faults struck", struck)
	}
}

// Goal: an error of the function that writes the payload spoils only the
// snapshot, and a disk error is not hidden by what it answers. Method: both.
func TestWriterOfAPayloadFails(t *testing.T) {
	fsys := vfs.NewFaulty(vfs.NewCrashable())
	w, _, err := Open(testOptions(fsys))
	must(t, err)
	seq := uint64(0)
	appendEntries(t, w, &seq, 2, 0, 4)
	s := core.Snapshot{Index: 3, Term: 2}
	tired := errors.New("the state machine had enough")
	if err := w.WriteSnapshot(s, func(io.Writer) error { return tired }); !errors.Is(err, tired) {
		t.Errorf("WriteSnapshot: %v", err)
	}
	appendEntries(t, w, &seq, 2, 4, 1)
	fsys.Inject(vfs.Fault{Kind: vfs.OpWrite, Nth: fsys.Count(vfs.OpWrite) + 2, Err: syscall.EIO})
	err = w.WriteSnapshot(s, func(to io.Writer) error {
		to.Write(make([]byte, 2*snapshot.MaxBlockBytes))
		return nil // as if all were well
	})
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("WriteSnapshot: %v", err)
	}
	if err := w.Save(&core.Write{Seq: seq + 1, Term: 2}); !errors.Is(err, syscall.EIO) {
		t.Errorf("Save after a failure of the disk: %v", err)
	}
}

// Goal: a snapshot that is overtaken while it is written is given up, and never
// moves the log backwards. Method: install a newer one from inside of the
// writing of an older one.
func TestOvertakenSnapshotIsObsolete(t *testing.T) {
	disk := vfs.NewCrashable()
	w, _, err := Open(testOptions(disk))
	must(t, err)
	seq := uint64(0)
	appendEntries(t, w, &seq, 2, 0, 4)
	newer := core.Snapshot{Index: 90, Term: 5}
	err = w.WriteSnapshot(core.Snapshot{Index: 3, Term: 2}, func(to io.Writer) error {
		must(t, receive(w, newer, seeded(1)))
		must(t, w.Save(&core.Write{Seq: seq + 1, Term: 5, Snapshot: &newer, From: 91}))
		must(t, w.Prepare())
		return writePayload(position{3, 2})(to)
	})
	if !errors.Is(err, ErrObsolete) {
		t.Errorf("WriteSnapshot: %v", err)
	}
	if err := w.WriteSnapshot(core.Snapshot{Index: 89, Term: 5}, nil); !errors.Is(err, ErrObsolete) {
		t.Errorf("WriteSnapshot: %v", err)
	}
	must(t, w.WriteSnapshot(newer, nil)) // it is there
	must(t, w.Close())
	w, state, err := Open(testOptions(disk))
	must(t, err)
	if positionOf(state.Snapshot) != positionOf(newer) {
		t.Errorf("found %+v", state)
	}
	names, _ := disk.List(testDir)
	if len(names) > 4 {
		t.Errorf("left %v", names)
	}
	must(t, w.Close())
}

// Goal: a batch may not record a snapshot that is not there, is older than the
// present one, or contradicts the log. Method: each once; nothing is written.
func TestImpossibleSnapshotsPanic(t *testing.T) {
	for name, b := range map[string]core.Write{
		"no file":              {Snapshot: &core.Snapshot{Index: 5, Term: 2}},
		"no file of this term": {Snapshot: &core.Snapshot{Index: 6, Term: 1}},
		"older":                {Snapshot: &core.Snapshot{Index: 3, Term: 2}},
		"the same again":       {Snapshot: &core.Snapshot{Index: 4, Term: 2}},
		"another term":         {Snapshot: &core.Snapshot{Index: 7, Term: 3}},
		"beyond the log":       {Snapshot: &core.Snapshot{Index: 20, Term: 2}},
		"beyond, with a gap":   {Snapshot: &core.Snapshot{Index: 20, Term: 2}, From: 22},
		"entries before it":    {From: 4, Entries: []core.Entry{core.NewEntry(4, 2, core.KindCommand, nil)}},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := vfs.NewFaulty(vfs.NewCrashable())
			w, _, err := Open(testOptions(fsys))
			must(t, err)
			seq := uint64(0)
			appendEntries(t, w, &seq, 2, 0, 8)
			for _, p := range []position{{4, 2}, {6, 2}, {7, 3}, {20, 2}} {
				must(t, w.WriteSnapshot(core.Snapshot{Index: p.index, Term: p.term}, writePayload(p)))
			}
			must(t, w.Save(&core.Write{Seq: seq + 1, Term: 3, Snapshot: &core.Snapshot{Index: 4, Term: 2}}))
			b.Seq, b.Term = seq+2, 3
			writes := fsys.Count(vfs.OpWrite)
			defer func() {
				if recover() == nil || fsys.Count(vfs.OpWrite) != writes {
					t.Error("it was saved, or written before it was refused")
				}
			}()
			w.Save(&b)
		})
	}
}

// Goal: snapshots are written, received, opened and removed while Save runs.
// Method: all at once on a real disk, under the race detector, then a start.
func TestSnapshotsBesideSave(t *testing.T) {
	o := testOptions(vfs.OS{})
	o.Dir = t.TempDir()
	w, _, err := Open(o)
	must(t, err)
	var running sync.WaitGroup
	running.Go(func() {
		for range w.NeedsSpare() {
			if err := w.Prepare(); err != nil && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
	})
	seq, last := uint64(0), uint64(0)
	for range 12 {
		appendEntries(t, w, &seq, 2, last, 30)
		last += 30
		p := position{last - 5, 2}
		s := core.Snapshot{Index: p.index, Term: p.term}
		var beside sync.WaitGroup
		done := make(chan error, 1)
		go func() { done <- w.WriteSnapshot(s, writePayload(p)) }()
		beside.Go(func() {
			if w.Stats().SnapshotIndex > 0 {
				if err := readSnapshot(w, position{w.Stats().SnapshotIndex, 2}); err != nil {
					t.Error(err)
				}
			}
		})
		beside.Go(func() {
			if _, err := w.BeginReceive(core.Snapshot{Index: last + 100, Term: 9}, 1000, [32]byte{}); err != nil {
				t.Error(err)
			}
		})
		appendEntries(t, w, &seq, 2, last, 30)
		last += 30
		must(t, <-done)
		beside.Wait()
		seq++
		must(t, w.Save(&core.Write{Seq: seq, Term: 2, Snapshot: &s}))
	}
	must(t, w.Close())
	running.Wait()
	w, state, err := Open(o)
	must(t, err)
	defer w.Close()
	if want := last - 35; state.Snapshot.Index != want || uint64(len(state.Entries)) != last-want {
		t.Errorf("found %+v and %d entries behind it, last %d", state.Snapshot, len(state.Entries), last)
	}
}

package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// The directory of the log in every in-memory test.
const testDir = "/data/n1/wal"

func testOptions(fsys vfs.FS) Options {
	return Options{FS: fsys, Dir: testDir, ClusterID: "c1", NodeID: "n1", SegmentBytes: MinSegmentBytes}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

// history is the oracle: what a log must hold after each of its batches.
type history struct {
	states []core.State // states[k] is the state after k batches
}

func newHistory() *history { return &history{states: make([]core.State, 1)} }

func (h *history) batches() int { return len(h.states) - 1 }

// forgetAfter drops the batches behind the first n.
func (h *history) forgetAfter(n int) { h.states = h.states[:n+1] }

// next draws a batch that a Raft server might save now: entries, a truncation, a
// new term, a vote, several at once or nothing new at all.
func (h *history) next(rng *rand.Rand, maxEntries, maxData int) *core.Write {
	state := h.states[h.batches()]
	w := &core.Write{Term: state.Term, VotedFor: state.VotedFor}
	if w.Term == 0 || rng.IntN(6) == 0 {
		w.Term += 1 + uint64(rng.IntN(3))
		w.VotedFor = core.None
	}
	if w.VotedFor == core.None && rng.IntN(2) == 0 {
		w.VotedFor = core.ID([]string{"n1", "n2", "a-rather-long-name"}[rng.IntN(3)])
	}
	if rng.IntN(8) > 0 {
		last := uint64(len(state.Entries))
		w.From = last + 1
		if last > 0 && rng.IntN(5) == 0 {
			w.From -= uint64(rng.IntN(int(min(last, 4)) + 1))
		}
		term := uint64(1)
		if w.From > 1 {
			term = state.Entries[w.From-2].Term
		}
		for i := range rng.IntN(maxEntries + 1) {
			if rng.IntN(3) == 0 {
				term = w.Term
			}
			data := make([]byte, rng.IntN(maxData+1))
			for j := range data {
				data[j] = byte(rng.Uint32())
			}
			w.Entries = append(w.Entries, core.Entry{Index: w.From + uint64(i), Term: term, Kind: core.Kind(rng.IntN(2)), Data: data})
		}
	}
	h.add(w)
	return w
}

// add notes a batch.
func (h *history) add(w *core.Write) {
	state := h.states[h.batches()]
	state.Term, state.VotedFor = w.Term, w.VotedFor
	if w.From > 0 {
		state.Entries = append(slices.Clone(state.Entries[:w.From-1]), w.Entries...)
	}
	h.states = append(h.states, state)
}

// check says how the state differs from what the log must hold after n batches.
func (h *history) check(got core.State, n int) error {
	if n > h.batches() {
		return fmt.Errorf("%d batches found, only %d were ever saved", n, h.batches())
	}
	want := h.states[n]
	if got.Term != want.Term || got.VotedFor != want.VotedFor {
		return fmt.Errorf("after %d batches: term %d and vote %q, want %d and %q", n, got.Term, got.VotedFor, want.Term, want.VotedFor)
	}
	if len(got.Entries) != len(want.Entries) {
		return fmt.Errorf("after %d batches: %d entries, want %d", n, len(got.Entries), len(want.Entries))
	}
	for i, e := range got.Entries {
		w := want.Entries[i]
		if e.Index != w.Index || e.Term != w.Term || e.Kind != w.Kind || !bytes.Equal(e.Data, w.Data) {
			return fmt.Errorf("after %d batches: entry %d is %d/%d, want %d/%d, or their data differ", n, i+1, e.Index, e.Term, w.Index, w.Term)
		}
	}
	return nil
}

// build writes a log of the given number of small batches to a new disk and
// returns both. The log is closed unless crash is set; then the machine stops
// right behind the last batch's mark.
func build(t testing.TB, seed uint64, batches int, crash bool) (*vfs.Crashable, *history) {
	t.Helper()
	disk, h, rng := vfs.NewCrashable(), newHistory(), seeded(seed)
	w, _, err := Open(testOptions(disk))
	must(t, err)
	for i := range batches {
		b := h.next(rng, 4, 120)
		b.Seq = uint64(i + 1)
		must(t, w.Save(b))
	}
	if crash {
		return disk.Kill(), h
	}
	must(t, w.Close())
	return disk, h
}

// reopen opens the log and checks that it holds exactly the first n batches.
func reopen(t testing.TB, fsys vfs.FS, h *history, n int) *WAL {
	t.Helper()
	w, state, err := Open(testOptions(fsys))
	must(t, err)
	if got := int(w.Stats().RecoveredTo); got != n {
		t.Fatalf("%d batches found, want %d", got, n)
	}
	must(t, h.check(state, n))
	return w
}

// readOnly reads the log as Open does, without the repair.
func readOnly(fsys vfs.FS) (*image, core.State, error) {
	w, err := newWAL(testOptions(fsys))
	if err != nil {
		return nil, core.State{}, err
	}
	found, err := w.read()
	if err != nil {
		return nil, core.State{}, err
	}
	shape := found.replay.shape
	return found.image, core.State{Term: shape.term, VotedFor: shape.votedFor,
		Snapshot: core.Snapshot{Index: found.current.index, Term: found.current.term}, Entries: found.replay.entries}, nil
}

// records lists what Inspect shows.
func records(t testing.TB, fsys vfs.FS) []Record {
	t.Helper()
	var all []Record
	must(t, Inspect(fsys, testDir, func(r Record) error {
		all = append(all, r)
		return nil
	}))
	return all
}

func segmentPath(generation uint64) string { return filepath.Join(testDir, segmentName(generation)) }

// content returns a file's bytes.
func content(t testing.TB, fsys vfs.FS, path string) []byte {
	t.Helper()
	f, err := fsys.Open(path)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return b
}

// replace gives a file other bytes, durably.
func replace(t testing.TB, fsys vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fsys.Open(path)
	if err != nil {
		f, err = fsys.Create(path)
	}
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(int64(len(b))))
	_, err = f.WriteAt(b, 0)
	must(t, err)
	must(t, f.Sync())
	must(t, fsys.SyncDir(filepath.Dir(path)))
}

// wantCorruption checks that err names the file as damaged, and that Open, asked
// the same, changes nothing on the disk.
func wantCorruption(t testing.TB, disk *vfs.Crashable, file string) *CorruptionError {
	t.Helper()
	watched := vfs.NewFaulty(disk)
	_, _, err := Open(testOptions(watched))
	var damage *CorruptionError
	if !errors.As(err, &damage) {
		t.Fatalf("Open: %v, want a CorruptionError", err)
	}
	if damage.File != file {
		t.Fatalf("the error names %s, want %s: %v", damage.File, file, err)
	}
	for _, kind := range []vfs.Kind{vfs.OpWrite, vfs.OpTruncate, vfs.OpCreate, vfs.OpRename, vfs.OpRemove} {
		if n := watched.Count(kind); n != 0 {
			t.Fatalf("a damaged log was changed: %d operations of kind %v", n, kind)
		}
	}
	return damage
}

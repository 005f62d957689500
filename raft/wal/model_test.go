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
	states []model // states[k] is the state after k batches
}

// model is the content that a log must have: all entries since the last snapshot
// that replaced it, and where a start may begin.
type model struct {
	core.State          // Snapshot is the one that replaced the log, zero for none
	current    position // where a start begins
	previous   position // where it begins if current is spoilt
	fallback   bool     // there is such a previous
	recorded   uint64   // highest index of a recorded snapshot
	spoilt     position // what was current until it was damaged
}

func (m *model) last() uint64 { return m.Snapshot.Index + uint64(len(m.Entries)) }

// term is the term of an entry that the model has, or of the place before it.
func (m *model) term(index uint64) uint64 {
	if index == m.Snapshot.Index {
		return m.Snapshot.Term
	}
	return m.Entries[index-m.Snapshot.Index-1].Term
}

func newHistory() *history { return &history{states: make([]model, 1)} }

func (h *history) batches() int { return len(h.states) - 1 }

func (h *history) now() *model { return &h.states[h.batches()] }

// forgetAfter drops the batches behind the first n.
func (h *history) forgetAfter(n int) {
	h.states = h.states[:n+1]
	h.now().Entries = slices.Clip(h.now().Entries)
}

// next draws a batch that a Raft server might save now: entries, a truncation, a
// new term, a vote, several at once or nothing new at all.
func (h *history) next(rng *rand.Rand, maxEntries, maxData int) *core.Write {
	w := h.draw(rng, maxEntries, maxData)
	h.add(w)
	return w
}

func (h *history) draw(rng *rand.Rand, maxEntries, maxData int) *core.Write {
	state := h.now()
	w := &core.Write{Term: state.Term, VotedFor: state.VotedFor}
	if w.Term == 0 || rng.IntN(6) == 0 {
		w.Term += 1 + uint64(rng.IntN(3))
		w.VotedFor = core.None
	}
	if w.VotedFor == core.None && rng.IntN(2) == 0 {
		w.VotedFor = core.ID([]string{"n1", "n2", "a-rather-long-name"}[rng.IntN(3)])
	}
	if rng.IntN(8) > 0 {
		w.From = state.last() + 1
		if free := state.last() - max(state.recorded, state.Snapshot.Index, state.Commit); free > 0 && rng.IntN(5) == 0 {
			w.From -= uint64(rng.IntN(int(min(free, 4)) + 1))
		}
		h.drawEntries(rng, w, max(1, state.term(w.From-1)), maxEntries, maxData)
	}
	h.drawCommit(rng, w)
	return w
}

// drawEntries draws entries for w from w.From on, behind one of the given term.
func (h *history) drawEntries(rng *rand.Rand, w *core.Write, term uint64, maxEntries, maxData int) {
	for i := range rng.IntN(maxEntries + 1) {
		if rng.IntN(3) == 0 {
			term = w.Term
		}
		data := make([]byte, rng.IntN(maxData+1))
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		kind := core.KindCommand
		if rng.IntN(16) == 0 {
			kind, data = core.KindNoop, nil
		}
		w.Entries = append(w.Entries, core.NewEntry(w.From+uint64(i), term, kind, data))
	}
}

// drawCommit draws how far the log is known to be committed after w: seldom up to
// its end, so that there is something to truncate.
func (h *history) drawCommit(rng *rand.Rand, w *core.Write) {
	last := h.now().last()
	if w.From > 0 {
		last = w.From - 1 + uint64(len(w.Entries))
	}
	w.Commit = h.now().Commit
	if free := last - w.Commit; rng.IntN(3) == 0 {
		w.Commit += uint64(rng.IntN(int(free)/2 + 1))
	}
}

// nextCompaction draws a batch that records a snapshot of what the log holds,
// nil if it holds nothing that could be compacted.
func (h *history) nextCompaction(rng *rand.Rand, maxEntries, maxData int) *core.Write {
	w := h.draw(rng, maxEntries, maxData)
	h.add(w)
	after := *h.now()
	first := after.current.index + 1
	if first > after.last() {
		return w
	}
	index := first + uint64(rng.IntN(int(after.last()-first)+1))
	h.forgetAfter(h.batches() - 1)
	w.Snapshot = &core.Snapshot{Index: index, Term: after.term(index)}
	h.add(w)
	return w
}

// nextInstallation draws a batch with a snapshot that replaces the log: it ends
// behind the log, or with an entry of another term.
func (h *history) nextInstallation(rng *rand.Rand, maxEntries, maxData int) *core.Write {
	state := h.now()
	w := &core.Write{Term: state.Term + 1}
	index := max(state.recorded, state.Snapshot.Index, state.Commit) + 1 + uint64(rng.IntN(20))
	w.Snapshot = &core.Snapshot{Index: index, Term: w.Term}
	w.From = index + 1
	if rng.IntN(2) == 0 {
		h.drawEntries(rng, w, w.Term, maxEntries, maxData)
	}
	w.Commit = index
	h.add(w)
	return w
}

// add notes a batch.
func (h *history) add(w *core.Write) {
	state := *h.now()
	state.Term, state.VotedFor, state.Commit = w.Term, w.VotedFor, w.Commit
	if s := w.Snapshot; s != nil && w.From == s.Index+1 && (s.Index > state.last() || state.term(s.Index) != s.Term) {
		state.Snapshot, state.Entries = *s, slices.Clone(w.Entries)
		state.note(*s, false)
		h.states = append(h.states, state)
		return
	}
	if w.From > 0 {
		if kept := w.From - state.Snapshot.Index - 1; kept < uint64(len(state.Entries)) {
			state.Entries = slices.Clone(state.Entries[:kept])
		}
		state.Entries = append(state.Entries, w.Entries...)
	}
	if w.Snapshot != nil {
		state.note(*w.Snapshot, true)
	}
	h.states = append(h.states, state)
}

// note takes a recorded snapshot into account.
func (m *model) note(s core.Snapshot, fallback bool) {
	m.previous, m.fallback = m.current, fallback
	m.current, m.spoilt = positionOf(s), position{}
	m.recorded = max(m.recorded, s.Index)
}

// fallBack says that the current snapshot is spoilt.
func (m *model) fallBack() {
	m.spoilt, m.current, m.fallback = m.current, m.previous, false
}

// mend says that the spoilt snapshot was written once more, which its old record
// is as good for as a new one.
func (m *model) mend() {
	m.current, m.previous, m.fallback, m.spoilt = m.spoilt, m.current, true, position{}
}

// check returns the difference between the state and the content that the log
// must have after n batches.
func (h *history) check(got core.State, n int) error {
	if n > h.batches() {
		return fmt.Errorf("%d batches found, only %d were ever saved", n, h.batches())
	}
	want := h.states[n]
	if got.Term != want.Term || got.VotedFor != want.VotedFor {
		return fmt.Errorf("after %d batches: term %d and vote %q, want %d and %q", n, got.Term, got.VotedFor, want.Term, want.VotedFor)
	}
	if got.Commit != want.Commit {
		return fmt.Errorf("after %d batches: entries are committed up to %d, want %d", n, got.Commit, want.Commit)
	}
	if positionOf(got.Snapshot) != want.current {
		return fmt.Errorf("after %d batches: the snapshot is %v, want %v", n, positionOf(got.Snapshot), want.current)
	}
	entries := want.Entries[want.current.index-want.Snapshot.Index:]
	if len(got.Entries) != len(entries) {
		return fmt.Errorf("after %d batches: %d entries, want %d", n, len(got.Entries), len(entries))
	}
	for i, e := range got.Entries {
		w := entries[i]
		if e.Index != w.Index || e.Term != w.Term || e.Kind != w.Kind || e.Sum != w.Sum || !bytes.Equal(e.Data, w.Data) {
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
		must(t, w.Settle())
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
		Snapshot: core.Snapshot{Index: found.current.index, Term: found.current.term}, Entries: found.replay.entries, Commit: shape.commit}, nil
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

package wal

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// Goal: a snapshot file that is damaged or gone is never given out to be sent. It
// is forgotten, the log goes on, and a snapshot of the same place or a newer one
// takes its place; the log opens again with it. Method: every kind of damage to
// the newest of two snapshots, then both ways on.
func TestADamagedSnapshotIsForgottenWhenItIsToBeSent(t *testing.T) {
	flip := func(at func(size int64) int64) func(t *testing.T, disk *vfs.Crashable, path string) {
		return func(t *testing.T, disk *vfs.Crashable, path string) {
			f, err := disk.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			size, _ := f.Size()
			var b [1]byte
			f.ReadAt(b[:], at(size))
			b[0] ^= 4
			f.WriteAt(b[:], at(size))
		}
	}
	for name, damage := range map[string]func(t *testing.T, disk *vfs.Crashable, path string){
		"header":  flip(func(int64) int64 { return 30 }),
		"block":   flip(func(size int64) int64 { return size / 2 }),
		"trailer": flip(func(size int64) int64 { return size - 1 }),
		"gone":    func(_ *testing.T, disk *vfs.Crashable, path string) { disk.Remove(path) },
	} {
		for _, newer := range []bool{false, true} {
			disk := vfs.NewCrashable()
			options := Options{FS: disk, Dir: "/wal", ClusterID: "c1", NodeID: "n1", SegmentBytes: 8192}
			w, _, err := Open(options)
			if err != nil {
				t.Fatal(err)
			}
			seq := uint64(0)
			save := func(write core.Write) {
				t.Helper()
				seq++
				write.Seq, write.Term = seq, 1
				if err := w.Save(&write); err != nil {
					t.Fatal(err)
				}
			}
			snap := func(index uint64, payload string) core.Snapshot {
				t.Helper()
				s := core.Snapshot{Index: index, Term: 1}
				if err := w.WriteSnapshot(s, func(to io.Writer) error { _, err := io.WriteString(to, payload); return err }); err != nil {
					t.Fatalf("%s, %t: the snapshot at %d: %v", name, newer, index, err)
				}
				return s
			}
			entries := func(from, to uint64) (all []core.Entry) {
				for i := from; i <= to; i++ {
					all = append(all, core.NewEntry(i, 1, core.KindCommand, []byte("x")))
				}
				return all
			}
			save(core.Write{From: 1, Entries: entries(1, 10)})
			first := snap(4, "four")
			save(core.Write{From: 11, Snapshot: &first})
			second := snap(8, "eight")
			save(core.Write{From: 11, Snapshot: &second})
			damage(t, disk, filepath.Join("/wal", snapshotName(positionOf(second))))

			_, _, err = w.SnapshotFile(second)
			if damaged, ok := errors.AsType[*DamagedSnapshotError](err); !ok || damaged.Snapshot.Index != 8 || strings.Contains(err.Error(), "--rejoin") {
				t.Fatalf("%s: %v", name, err)
			}
			if _, _, err := w.SnapshotFile(second); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: asked again: %v", name, err)
			}
			if w.Stats().Lost != 1 {
				t.Errorf("%s: %d are counted", name, w.Stats().Lost)
			}
			last, payload := second, "eight"
			if newer {
				last, payload = snap(10, "ten"), "ten"
				save(core.Write{From: 11, Snapshot: &last})
			} else {
				snap(8, payload)
			}
			file, closer, err := w.SnapshotFile(last)
			if err != nil {
				t.Fatalf("%s, %t: %v", name, newer, err)
			}
			whole, _ := io.ReadAll(file)
			closer.Close()
			if !strings.Contains(string(whole), payload) {
				t.Errorf("%s, %t: the file is %q", name, newer, whole)
			}
			if err := w.Prepare(); err != nil {
				t.Fatal(err)
			}
			save(core.Write{From: 11, Entries: entries(11, 12)})
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			again, state, err := Open(options)
			if err != nil || state.Snapshot.Index != last.Index || state.Entries[len(state.Entries)-1].Index != 12 || again.Stats().PassedOver != nil {
				t.Fatalf("%s, %t: the log opens with %v, a snapshot at %d", name, newer, err, state.Snapshot.Index)
			}
			again.Close()
		}
	}
}

// Goal: a snapshot that is found damaged while the batch that records it waits for
// the disk does not make the log panic. If the log behind the snapshot before it is
// there, the batch is saved and a start begins with that; if the batch replaces the
// log, it is refused and the log ends, as it was before. Method: damage the file
// between WriteSnapshot and Save, and ask for it.
func TestASnapshotDamagedBeforeItIsRecordedEndsNoHistory(t *testing.T) {
	for _, replaces := range []bool{false, true} {
		disk := vfs.NewCrashable()
		options := Options{FS: disk, Dir: "/wal", ClusterID: "c1", NodeID: "n1", SegmentBytes: 8192}
		w, _, err := Open(options)
		if err != nil {
			t.Fatal(err)
		}
		var all []core.Entry
		for i := range uint64(10) {
			all = append(all, core.NewEntry(i+1, 1, core.KindCommand, []byte("x")))
		}
		write := func(s core.Snapshot) {
			if err := w.WriteSnapshot(s, func(to io.Writer) error { _, err := io.WriteString(to, "state"); return err }); err != nil {
				t.Fatal(err)
			}
		}
		first, second := core.Snapshot{Index: 4, Term: 1}, core.Snapshot{Index: 8, Term: 1}
		if replaces {
			second.Index = 20
		}
		write(first)
		for _, b := range []*core.Write{{Seq: 1, Term: 1, From: 1, Entries: all}, {Seq: 2, Term: 1, From: 11, Snapshot: &first}} {
			if err := w.Save(b); err != nil {
				t.Fatal(err)
			}
		}
		write(second)
		if err := disk.Remove(filepath.Join("/wal", snapshotName(positionOf(second)))); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.SnapshotFile(second); !errors.As(err, new(*DamagedSnapshotError)) {
			t.Fatalf("the damaged snapshot is given out: %v", err)
		}
		err = w.Save(&core.Write{Seq: 3, Term: 1, From: max(11, second.Index+1), Snapshot: &second})
		if (err != nil) != replaces {
			t.Errorf("replaces %t: %v", replaces, err)
		}
		w.Close()
		w, state, err := Open(options)
		if err != nil {
			t.Fatalf("replaces %t: %v", replaces, err)
		}
		if state.Snapshot.Index != 4 || len(state.Entries) != 6 {
			t.Errorf("replaces %t: a start begins at %d with %d entries", replaces, state.Snapshot.Index, len(state.Entries))
		}
		w.Close()
	}
}

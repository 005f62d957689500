package wal

import (
	"errors"
	"io"
	"path/filepath"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// Goal: a snapshot is what its file says, not what the file is called: one that
// was renamed or copied over another is refused. Method: a snapshot under the
// names of an earlier and of a later index, and of another term.
func TestASnapshotUnderAnothersNameIsRefused(t *testing.T) {
	fsys := vfs.NewCrashable()
	w, _, err := Open(Options{FS: fsys, Dir: "/d", ClusterID: "c", NodeID: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	entries := []core.Entry{core.NewEntry(1, 1, core.KindCommand, nil), core.NewEntry(2, 1, core.KindCommand, nil), core.NewEntry(3, 2, core.KindCommand, nil)}
	if err := w.Save(&core.Write{Seq: 1, Term: 2, From: 1, Entries: entries}); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteSnapshot(core.Snapshot{Index: 3, Term: 2}, func(io.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	own := position{3, 2}
	if v := w.look(own, true); v.err != nil {
		t.Fatal(v.err)
	}
	for _, name := range []position{{2, 2}, {4, 2}, {3, 1}, {3, 3}} {
		rename := func(from, to position) {
			if err := fsys.Rename(filepath.Join("/d", snapshotName(from)), filepath.Join("/d", snapshotName(to))); err != nil {
				t.Fatal(err)
			}
		}
		rename(own, name)
		var damage *CorruptionError
		if v := w.look(name, false); !errors.As(v.err, &damage) {
			t.Errorf("the snapshot at index 3 of term 2 under the name of %d of term %d: %v", name.index, name.term, v.err)
		}
		rename(name, own)
	}
}

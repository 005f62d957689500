package wal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// Goal: a log whose names lead elsewhere ends before the next segment is begun,
// and as soon as it is asked. A log that was left alone goes on.
// Method: take away what can be taken away from under a running log, one thing
// at a time; ask, and in a second run write until a segment is full.
func TestALogThatWasTakenAwayEnds(t *testing.T) {
	for name, c := range map[string]struct {
		take func(dir string) error
		ends bool
	}{
		"nothing":       {func(string) error { return nil }, false},
		"the lock file": {func(dir string) error { return os.Remove(filepath.Join(dir, lockName)) }, false}, // the directory is locked, too
		"the directory": {func(dir string) error { return os.Rename(dir, dir+".away") }, true},
		"the directory, another in its place": {func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".away"), os.CopyFS(dir, os.DirFS(dir+".away")))
		}, true},
		"the data directory": {func(dir string) error { return os.Rename(filepath.Dir(dir), filepath.Dir(dir)+".away") }, true},
		"the segment":        {func(dir string) error { return os.Remove(filepath.Join(dir, segmentName(1))) }, true},
		"the segment, a copy in its place": {func(dir string) error {
			path := filepath.Join(dir, segmentName(1))
			content, err := os.ReadFile(path)
			return errors.Join(err, os.Remove(path), os.WriteFile(path, content, 0o600))
		}, true},
	} {
		for _, asked := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "n1", "wal")
				o := testOptions(vfs.NewOS())
				o.Dir = dir
				w, _, err := Open(o)
				must(t, err)
				defer w.Close()
				must(t, w.Held())
				must(t, c.take(dir))
				var got error
				if asked {
					got = w.Held()
				}
				for seq := uint64(1); got == nil && w.active.generation == 1; seq++ {
					got = w.Save(&core.Write{Seq: seq, Term: seq})
				}
				if c.ends != errors.Is(got, vfs.ErrLost) {
					t.Errorf("asked %v: %v", asked, got)
				}
				if c.ends && w.Save(&core.Write{Seq: 100}) == nil {
					t.Error("the log goes on")
				}
			})
		}
	}
}

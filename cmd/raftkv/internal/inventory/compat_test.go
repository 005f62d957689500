package inventory

import (
	"os"
	"path/filepath"
	"testing"

	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
	"raftkv/tests/compat/golden"
)

// Goal: the mark of a dev cluster that an earlier release wrote is read by this one,
// and means the same. Method: see golden.Check.
func TestWhatEarlierReleasesWroteIsRead(t *testing.T) {
	golden.Check(t, []golden.Format{
		{Release: "v0.1.0", Name: "dev", Write: writeReleasedMark, Read: readReleasedMark},
	})
}

func writeReleasedMark(t *testing.T) golden.Files {
	dir := t.TempDir()
	if err := WriteDev(vfs.OS{}, dir, 3); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, devMarkName))
	if err != nil {
		t.Fatal(err)
	}
	return golden.Files{devMarkName: b}
}

func readReleasedMark(t *testing.T, f golden.Files) {
	path := filepath.Join(t.TempDir(), devMarkName)
	mustWrite(t, path, string(f[devMarkName]))
	var mark devMark
	if found, err := datadir.ReadFile(vfs.OS{}, path, &mark, ""); err != nil || !found || mark != (devMark{Format: 1, Nodes: 3}) {
		t.Errorf("%s is read as %+v, %v", devMarkName, mark, err)
	}
}

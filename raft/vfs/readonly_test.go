//go:build !windows

package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Goal: nothing that goes through ReadOnly changes the disk, whatever it is asked.
// Method: ask for everything.
func TestReadOnlyChangesNothing(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	must(t, os.WriteFile(name, []byte("there"), 0o600))
	var fsys FS = ReadOnly{}
	if got := read(t, fsys, name); got != "there" {
		t.Errorf("it reads %q", got)
	}
	f, err := fsys.Open(name)
	must(t, err)
	defer f.Close()
	_, written := f.WriteAt([]byte("x"), 0)
	if written == nil || f.Truncate(0) == nil {
		t.Error("a file was written to")
	}
	_, created := fsys.Create(filepath.Join(dir, "g"))
	_, locked := fsys.Lock(filepath.Join(dir, "LOCK"))
	for what, err := range map[string]error{
		"create": created, "lock": locked, "rename": fsys.Rename(name, name+"2"), "remove": fsys.Remove(name),
		"mkdir": fsys.MkdirAll(filepath.Join(dir, "d")), "syncdir": fsys.SyncDir(dir),
	} {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", what, err)
		}
	}
	names, err := fsys.List(dir)
	must(t, err)
	if len(names) != 1 || read(t, fsys, name) != "there" {
		t.Errorf("the directory holds %v", names)
	}
}

package vfs

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// Goal: the error of a real sync reaches the caller, of a file and of a directory:
// what ignores it acknowledges what the disk never got. Method: what the kernel
// refuses to sync, a pipe and a directory of /proc.
func TestErrorsOfRealSyncsComeThrough(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	file, err := newOSFile(w)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Sync(); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("syncing a pipe: %v", err)
	}
	if err := (OS{}).SyncDir("/proc/self"); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("syncing a directory of /proc: %v", err)
	}
	if err := (OS{}).SyncDir(t.TempDir()); err != nil {
		t.Errorf("syncing a directory: %v", err)
	}
}

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Goal: a second process cannot lock a directory whose lock file was removed,
// and the holder of the lock learns that the directory is not where it was.
// Method: remove the file, lock again; move the directory away, put another one
// in its place.
func TestALockIsNotLostWithItsFile(t *testing.T) {
	for name, fsys := range map[string]OS{"plain": {}, "keeping directories": NewOS()} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			must(t, fsys.MkdirAll(dir))
			path := filepath.Join(dir, "LOCK")
			lock, err := fsys.Lock(path)
			must(t, err)
			must(t, os.Remove(path))
			if second, err := fsys.Lock(path); !errors.Is(err, ErrLocked) {
				t.Fatalf("a second lock: %v, %v", second, err)
			}
			holder := lock.(Holder)
			must(t, holder.Held())
			must(t, os.Rename(dir, dir+".away"))
			if err := holder.Held(); !errors.Is(err, ErrLost) {
				t.Errorf("moved away: %v", err)
			}
			must(t, fsys.MkdirAll(dir))
			if err := holder.Held(); !errors.Is(err, ErrLost) {
				t.Errorf("replaced: %v", err)
			}
			must(t, os.Remove(dir))
			must(t, os.Rename(dir+".away", dir))
			must(t, holder.Held())
			must(t, lock.Close())
			must(t, holder.Held()) // a lock that was given back holds nothing that could be lost
			again, err := fsys.Lock(path)
			must(t, err)
			must(t, again.Close())
		})
	}
}

// Goal: an open file knows whether its name still leads to it.
func TestAFileKnowsWhetherItsNameIsItsOwn(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	file := create(t, OS{}, path, "x")
	defer file.Close()
	must(t, file.CheckName(path))
	must(t, os.Rename(path, path+"2"))
	if err := file.CheckName(path); !errors.Is(err, ErrLost) {
		t.Errorf("renamed: %v", err)
	}
	must(t, file.CheckName(path+"2"))
	must(t, os.WriteFile(path, []byte("x"), 0o600))
	if err := file.CheckName(path); !errors.Is(err, ErrLost) {
		t.Errorf("replaced: %v", err)
	}
}

// Goal: a directory that is kept open is synced without a new descriptor.
// Method: lower the limit until nothing can be opened.
func TestAKeptDirectoryIsSyncedWithoutADescriptor(t *testing.T) {
	dir := t.TempDir()
	fsys := NewOS()
	lock, err := fsys.Lock(filepath.Join(dir, "LOCK"))
	must(t, err)
	defer lock.Close()
	var before syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before))
	least := before
	least.Cur = 3
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &least))
	kept, plain := fsys.SyncDir(dir), OS{}.SyncDir(dir)
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before))
	must(t, kept)
	if !IsShortage(plain) {
		t.Errorf("a directory that must be opened: %v", plain)
	}
}

// Goal: only an open that did nothing counts as a shortage, never a sync.
func TestWhatIsAShortage(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&fs.PathError{Op: "open", Path: "f", Err: syscall.EMFILE}, true},
		{&fs.PathError{Op: "open", Path: "f", Err: syscall.ENFILE}, true},
		{&fs.PathError{Op: "open", Path: "f", Err: syscall.ENOMEM}, true},
		{errors.Join(errors.New("x"), &fs.PathError{Op: "open", Path: "f", Err: syscall.EAGAIN}), true},
		{&fs.PathError{Op: "open", Path: "f", Err: syscall.EIO}, false},
		{&fs.PathError{Op: "sync", Path: "f", Err: syscall.ENOMEM}, false},
		{&fs.PathError{Op: "fdatasync", Path: "f", Err: syscall.EMFILE}, false},
		{syscall.EMFILE, false},
		{nil, false},
	} {
		if got := IsShortage(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

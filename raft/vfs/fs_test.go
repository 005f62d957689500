package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
)

// implementations runs a test over every file system, each with an empty
// directory of its own.
func implementations(t *testing.T, test func(t *testing.T, fsys FS, dir string)) {
	t.Helper()
	t.Run("os", func(t *testing.T) { test(t, OS{}, t.TempDir()) })
	t.Run("crashable", func(t *testing.T) {
		c := NewCrashable()
		must(t, c.MkdirAll("/data/n1"))
		test(t, c, "/data/n1")
	})
	t.Run("faulty", func(t *testing.T) {
		c := NewCrashable()
		must(t, c.MkdirAll("data"))
		test(t, NewFaulty(c), "data")
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// create makes a file with some content and leaves it open.
func create(t testing.TB, fsys FS, name, content string) File {
	t.Helper()
	f, err := fsys.Create(name)
	must(t, err)
	_, err = f.WriteAt([]byte(content), 0)
	must(t, err)
	return f
}

// read returns a file's whole content.
func read(t testing.TB, fsys FS, name string) string {
	t.Helper()
	f, err := fsys.Open(name)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return string(b)
}

// Goal: reads, writes, lengths and ends of files mean the same everywhere.
// Method: one file, written out of order, with a hole, cut and extended.
func TestFileContent(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		f := create(t, fsys, name, "hello")
		if _, err := f.WriteAt([]byte("world"), 8); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("J"), 0); err != nil {
			t.Fatal(err)
		}
		f.DropCache()
		must(t, f.Sync())
		f.DropCache()
		if got, want := read(t, fsys, name), "Jello\x00\x00\x00world"; got != want {
			t.Fatalf("content %q, want %q", got, want)
		}
		b := make([]byte, 10)
		if n, err := f.ReadAt(b, 8); n != 5 || err != io.EOF {
			t.Errorf("read over the end: %d bytes, error %v; want 5 and io.EOF", n, err)
		}
		if n, err := f.ReadAt(b, 100); n != 0 || err != io.EOF {
			t.Errorf("read behind the end: %d bytes, error %v; want 0 and io.EOF", n, err)
		}
		if n, err := f.ReadAt(b[:5], 0); n != 5 || err != nil {
			t.Errorf("read inside: %d bytes, error %v", n, err)
		}
		must(t, f.Truncate(3))
		must(t, f.Truncate(6))
		if got, want := read(t, fsys, name), "Jel\x00\x00\x00"; got != want {
			t.Errorf("cut and extended: %q, want %q", got, want)
		}
		if _, err := f.WriteAt([]byte("x"), -1); err == nil {
			t.Error("a write at a negative offset succeeded")
		}
		must(t, f.Close())
		if _, err := f.ReadAt(b, 0); err == nil || err == io.EOF {
			t.Errorf("read of a closed file: error %v", err)
		}
		if f.Sync() == nil {
			t.Error("sync of a closed file succeeded")
		}
	})
}

// Goal: names behave: nothing is overwritten by Create, Rename replaces, an
// open file outlives its name. Method: every operation on names, good and bad.
func TestNames(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		open := create(t, fsys, a, "one")
		defer open.Close()
		if _, err := fsys.Create(a); !errors.Is(err, fs.ErrExist) {
			t.Errorf("create of a taken name: %v", err)
		}
		must(t, create(t, fsys, b, "two").Close())
		if names, err := fsys.List(dir); err != nil || !slices.Equal(names, []string{"a", "b"}) {
			t.Errorf("list: %v, %v", names, err)
		}
		must(t, fsys.Rename(a, b))
		must(t, fsys.SyncDir(dir))
		if got := read(t, fsys, b); got != "one" {
			t.Errorf("renamed onto: %q", got)
		}
		if _, err := fsys.Open(a); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open of a renamed file by its old name: %v", err)
		}
		if err := fsys.Rename(a, b); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("rename of nothing: %v", err)
		}
		must(t, fsys.Remove(b))
		if err := fsys.Remove(b); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("remove of nothing: %v", err)
		}
		buffer := make([]byte, 3)
		if _, err := open.ReadAt(buffer, 0); err != nil || !bytes.Equal(buffer, []byte("one")) {
			t.Errorf("a removed file that is still open reads %q, %v", buffer, err)
		}
		if names, err := fsys.List(dir); err != nil || len(names) != 0 {
			t.Errorf("list of an empty directory: %v, %v", names, err)
		}
	})
}

// Goal: directories are made with their parents, listed, and only removed when
// empty; a directory is no file. Method: one small tree.
func TestDirectories(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		deep := filepath.Join(dir, "x", "y")
		if _, err := fsys.List(deep); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("list of a missing directory: %v", err)
		}
		if err := fsys.SyncDir(deep); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("sync of a missing directory: %v", err)
		}
		must(t, fsys.MkdirAll(deep))
		must(t, fsys.MkdirAll(deep))
		must(t, create(t, fsys, filepath.Join(deep, "f"), "").Close())
		if names, err := fsys.List(filepath.Join(dir, "x")); err != nil || !slices.Equal(names, []string{"y"}) {
			t.Errorf("list: %v, %v", names, err)
		}
		if fsys.Remove(deep) == nil {
			t.Error("a full directory was removed")
		}
		if _, err := fsys.Open(deep); err == nil {
			t.Error("a directory was opened as a file")
		}
		if err := fsys.MkdirAll(filepath.Join(deep, "f")); err == nil {
			t.Error("a directory was made over a file")
		}
		must(t, fsys.Remove(filepath.Join(deep, "f")))
		must(t, fsys.Remove(deep))
	})
}

// Goal: a lock excludes every other open of this process at once and is given
// back by Close. Method: take it twice, close it, take it again.
func TestLock(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "LOCK")
		first, err := fsys.Lock(name)
		must(t, err)
		if _, err := fsys.Lock(name); !errors.Is(err, ErrLocked) {
			t.Fatalf("second lock: %v, want ErrLocked", err)
		}
		must(t, first.Close())
		second, err := fsys.Lock(name)
		must(t, err)
		must(t, second.Close())
	})
}

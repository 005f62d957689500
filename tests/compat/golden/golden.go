// Package golden compares what this build reads and writes with the bytes that
// releases wrote, which lie in tests/compat/testdata. It is for tests only. Each
// package whose encodings nobody else can reach has a test of its own that calls
// Check; package compat says which they are.
package golden

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var write = flag.Bool("compat.write", false, "write the files of formats that have none yet")

// Files are the bytes of a format, by name; a format of one file has one.
type Files map[string][]byte

// Format is one format as one release wrote it.
type Format struct {
	Release string // the directory in testdata
	Name    string // the directory in that
	// Write returns what the release wrote. It is nil once this build writes another
	// version. The content is made up by the row, without a clock and without chance.
	Write func(*testing.T) Files
	// Read reads it with this build and compares what is in it with what the row made
	// up.
	Read func(*testing.T, Files)
}

// Check reads the files of each format. Where this build still writes that
// version, it must write the very same bytes.
func Check(t *testing.T, formats []Format) {
	t.Helper()
	for _, f := range formats {
		t.Run(f.Release+"/"+f.Name, func(t *testing.T) {
			dir := filepath.Join(Root(t), "tests", "compat", "testdata", f.Release, f.Name)
			if *write {
				f.create(t, dir)
			}
			released := load(t, dir)
			f.Read(t, released)
			if f.Write == nil {
				return
			}
			now := f.Write(t)
			if got, want := slices.Sorted(maps.Keys(now)), slices.Sorted(maps.Keys(released)); !slices.Equal(got, want) {
				t.Fatalf("this build writes the files %v, the release wrote %v", got, want)
			}
			for name, want := range released {
				if got := now[name]; !bytes.Equal(got, want) {
					t.Errorf("%s: this build writes %s", name, difference(want, got))
				}
			}
		})
	}
}

// Root returns the directory of the module, in which the test runs somewhere.
func Root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		above := filepath.Dir(dir)
		if above == dir {
			t.Fatal("no go.mod in any directory above this one")
		}
		dir = above
	}
}

// create writes the files of a format that has none.
func (f Format) create(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); err == nil {
		t.Logf("%s is there already and is left as it is", dir)
		return
	}
	if f.Write == nil {
		t.Fatalf("this build does not write the %s of %s any more", f.Name, f.Release)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range f.Write(t) {
		file, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.Write(b)
		if closed := file.Close(); err != nil || closed != nil {
			t.Fatal(err, closed)
		}
	}
}

// load returns the files in a directory.
func load(t *testing.T, dir string) Files {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatalf("the files of a release are missing: %v", err)
	}
	all := Files{}
	for _, entry := range entries {
		b, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[entry.Name()] = b
	}
	return all
}

// difference says where two files differ.
func difference(want, got []byte) string {
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			return fmt.Sprintf("%#02x at byte %d, where the release wrote %#02x", got[i], i, want[i])
		}
	}
	return fmt.Sprintf("%d bytes, the release wrote %d", len(got), len(want))
}

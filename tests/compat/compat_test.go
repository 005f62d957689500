package compat

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var write = flag.Bool("compat.write", false, "write the files of formats that have none yet")

// files are the bytes of a format, by name; a format of one file has one.
type files map[string][]byte

// format is one format as one release wrote it.
type format struct {
	release string // the directory in testdata
	name    string // the directory in that
	// write returns what the release wrote. It is nil once this build writes another
	// version. The content is made up by the row, without a clock and without chance.
	write func(*testing.T) files
	// read reads it with this build and compares what is in it with what the row made
	// up.
	read func(*testing.T, files)
}

// formats is the table of all formats that were ever released.
var formats = []format{
	{"v0.1.0", "entries", writeEntries, readEntries},
	{"v0.1.0", "log", writeLog, readLog},
	{"v0.1.0", "log-installed", writeInstalledLog, readInstalledLog},
	{"v0.1.0", "snapshot", writeSnapshot, readSnapshot},
}

// Goal: what an earlier release wrote is read by this one, and means the same.
// Method: for each row of the table, read its files. Where this build still writes
// that version, it writes the very same bytes.
func TestWhatEarlierReleasesWroteIsRead(t *testing.T) {
	for _, f := range formats {
		t.Run(f.release+"/"+f.name, func(t *testing.T) {
			dir := filepath.Join("testdata", f.release, f.name)
			if *write {
				f.create(t, dir)
			}
			golden := load(t, dir)
			f.read(t, golden)
			if f.write == nil {
				return
			}
			now := f.write(t)
			if got, want := slices.Sorted(maps.Keys(now)), slices.Sorted(maps.Keys(golden)); !slices.Equal(got, want) {
				t.Fatalf("this build writes the files %v, the release wrote %v", got, want)
			}
			for name, want := range golden {
				if got := now[name]; !bytes.Equal(got, want) {
					t.Errorf("%s: this build writes %s", name, difference(want, got))
				}
			}
		})
	}
}

// Goal: no file is without a row that reads it: a format that was released is never
// dropped in silence. Method: compare the directories with the table.
func TestEveryFileHasARow(t *testing.T) {
	rows := map[string]bool{}
	for _, f := range formats {
		rows[filepath.Join(f.release, f.name)] = true
	}
	err := filepath.WalkDir("testdata", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel("testdata", filepath.Dir(path))
		if err == nil && !rows[relative] {
			err = fmt.Errorf("no row of the table reads %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// create writes the files of a format that has none.
func (f format) create(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); err == nil {
		t.Logf("%s is there already and is left as it is", dir)
		return
	}
	if f.write == nil {
		t.Fatalf("this build does not write the %s of %s any more", f.name, f.release)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range f.write(t) {
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
func load(t *testing.T, dir string) files {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatalf("the files of a release are missing: %v", err)
	}
	all := files{}
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

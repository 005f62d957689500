package compat

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/tests/compat/golden"
)

type files = golden.Files

// formats is the table of all formats that were ever released and that packages
// let others write and read.
var formats = []golden.Format{
	{Release: "v0.1.0", Name: "entries", Write: writeEntries, Read: readEntries},
	{Release: "v0.1.0", Name: "log", Write: writeLog, Read: readLog},
	{Release: "v0.1.0", Name: "log-installed", Write: writeInstalledLog, Read: readInstalledLog},
	{Release: "v0.1.0", Name: "snapshot", Write: writeSnapshot, Read: readSnapshot},
	{Release: "v0.1.0", Name: "backup", Write: writeBackup, Read: readBackup},
}

// elsewhere lists the formats that only their own package can write and read, with
// the package whose compat_test.go has the row.
var elsewhere = map[string]string{
	"v0.1.0/commands":     "kvserver/kv",
	"v0.1.0/command-log":  "kvserver/kv",
	"v0.1.0/kv-snapshot":  "kvserver/kv",
	"v0.1.0/peer-frames":  "raft/wire",
	"v0.1.0/clerk-frames": "kvserver/clerkwire",
	"v0.1.0/toml":         "raft/datadir",
	"v0.1.0/dev":          "cmd/raftkv/internal/inventory",
	"v0.1.0/export":       "cmd/raftkv",

	"v0.2.0/forward-frames": "kvserver/clerkwire",
	"v0.2.0/auth-frames":    "kvserver/clerkwire",
	"v0.2.0/lease-frames":   "kvserver/clerkwire",
	"v0.2.0/lock-frames":    "kvserver/clerkwire",
	"v0.2.0/read-frames":    "kvserver/clerkwire",
	"v0.2.0/txn-frames":     "kvserver/clerkwire",
	"v0.2.0/member-frames":  "kvserver/clerkwire",
	"v0.2.0/watch-frames":   "kvserver/clerkwire",
}

// Goal: what an earlier release wrote is read by this one, and means the same.
// Method: for each row of the table, read its files. Where this build still writes
// that version, it writes the very same bytes.
func TestWhatEarlierReleasesWroteIsRead(t *testing.T) { golden.Check(t, formats) }

// Goal: no file is without a row that reads it, and no row without its files: a
// format that was released is never dropped in silence. Method: compare the
// directories with the table, and the list of other packages with their tests.
func TestEveryFileHasARow(t *testing.T) {
	rows := map[string]bool{}
	for _, f := range formats {
		rows[f.Release+"/"+f.Name] = true
	}
	for name, in := range elsewhere {
		rows[name] = true
		source, err := os.ReadFile(filepath.Join(golden.Root(t), in, "compat_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		release, format, _ := strings.Cut(name, "/")
		if row := fmt.Sprintf("{Release: %q, Name: %q, ", release, format); !strings.Contains(string(source), row) {
			t.Errorf("the test in %s has no row %s", in, row)
		}
	}
	err := filepath.WalkDir("testdata", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel("testdata", filepath.Dir(path))
		if err == nil && !rows[filepath.ToSlash(relative)] {
			err = fmt.Errorf("no row of the table reads %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for name := range rows {
		if _, err := os.Stat(filepath.Join("testdata", filepath.FromSlash(name))); err != nil {
			t.Errorf("a row has no files: %v", err)
		}
	}
}

package campaign

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// releasedRow finds the releases in docs/releases.md: name, level and commit.
var releasedRow = regexp.MustCompile("(?m)^\\| `(v[0-9.]+)` \\| 2 \\| `([0-9a-f]+)` \\|")

var oldReady = flag.String("upgrade.old", "", "run this old program instead of building one")

// oldProgram builds the last released program of level 2 out of the history of this source,
// and returns its path. It skips the test where there is no history.
func oldProgram(t *testing.T) string {
	t.Helper()
	if *oldReady != "" {
		return *oldReady
	}
	top := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(top, "docs", "releases.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := releasedRow.FindAllSubmatch(page, -1)
	if len(rows) == 0 {
		t.Fatal("docs/releases.md names no release of level 2")
	}
	name, commit := string(rows[len(rows)-1][1]), string(rows[len(rows)-1][2])
	archive := exec.Command("git", "archive", "--format=tar", commit)
	archive.Dir = top
	source, err := archive.Output()
	if err != nil {
		t.Skipf("SKIPPED, NOTHING WAS TESTED: the program of %s is built from commit %s, and this source has no git history with it: %v", name, commit, explain(err))
	}
	dir := t.TempDir()
	unpack := exec.Command("tar", "-x", "-C", dir)
	unpack.Stdin = bytes.NewReader(source)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpacking %s: %v: %s", commit, err, out)
	}
	program := filepath.Join(t.TempDir(), "raftkv-"+name)
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", program, "./cmd/raftkv") // without the path the cache helps
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v: %s", commit, err, out)
	}
	return program
}

// explain adds what a command said to its error.
func explain(err error) string {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return err.Error() + ": " + string(exit.Stderr)
	}
	return err.Error()
}

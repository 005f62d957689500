package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"raftkv/cmd/raftkv/internal/exit"
)

// Goal: a person that writes an entry of --auth-file by hand and gets it wrong is told a command that
// there is. Method: a file with a wrong hash; the command in the error is looked up.
func TestTheErrorOfAnAuthFileNamesACommand(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "auth.toml")
	Must(t, os.WriteFile(file, []byte("[[identity]]\nname = \"ops\"\nrights = [\"status\"]\ntoken_id = \"12345678\"\ntoken_sha256 = \"beef\"\n"), 0o600))
	var stderr bytes.Buffer
	code := run([]string{"serve", "--id", "n1", "--data-dir", filepath.Join(dir, "n1"), "--cluster", "n1=127.0.0.1:1", "--http", "127.0.0.1:0", "--auth-file", file}, &stderr, &stderr)
	named := regexp.MustCompile("`raftkv ([^`]+)`").FindStringSubmatch(stderr.String())
	if code != exit.Usage || named == nil {
		t.Fatalf("code %d, and no command in %q", code, stderr.String())
	}
	if command, rest, err := newRootCommand().Find(strings.Fields(named[1])); err != nil || len(rest) > 0 {
		t.Errorf("the error names the command %q; found %v and %q, %v", named[1], command.CommandPath(), rest, err)
	}
}

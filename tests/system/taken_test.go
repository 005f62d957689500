package system

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Goal: whatever is moved, removed or replaced in a data directory under a
// running node, no second process writes the same log, and the node ends or
// says what is wrong; its next start serves what was acknowledged, or refuses.
// Method: one node; take one thing away at a time; then start a second process
// on what has the name now.
func TestADirectoryThatIsTakenAwayEndsTheNode(t *testing.T) {
	for name, c := range map[string]struct {
		take func(dir string) error
		says string // by the node; empty: it goes on and says nothing
		ends bool
	}{
		"lock removed": {func(dir string) error { return os.Remove(filepath.Join(dir, "wal", "LOCK")) }, "", false},
		"log moved away": {func(dir string) error {
			return os.Rename(filepath.Join(dir, "wal"), filepath.Join(dir, "wal.old"))
		}, "moved, removed or replaced", true},
		"log replaced by a copy": {func(dir string) error {
			at, old := filepath.Join(dir, "wal"), filepath.Join(dir, "wal.old")
			return errors.Join(os.Rename(at, old), os.CopyFS(at, os.DirFS(old)))
		}, "moved, removed or replaced", true},
		"directory removed": {os.RemoveAll, "moved, removed or replaced", true},
		"segment removed": {func(dir string) error {
			return os.Remove(filepath.Join(dir, "wal", "0000000000000001.wal"))
		}, "moved, removed or replaced", true},
		"raftkv.toml removed": {func(dir string) error { return os.Remove(filepath.Join(dir, "raftkv.toml")) }, "raftkv.toml is gone", false},
		"life.toml put back": {func(dir string) error {
			path := filepath.Join(dir, "life.toml")
			content, err := os.ReadFile(path)
			changed := strings.Replace(string(content), "boot = 1", "boot = 2", 1)
			return errors.Join(err, os.Remove(path), os.WriteFile(path, []byte(changed), 0o600))
		}, "life.toml is not this node's any more", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c2 := startCluster(t, 1)
			s := c2.nodes[0]
			s.must(201, "PUT", "/v1/kv/k", "v")
			if err := c.take(s.dir); err != nil {
				t.Fatal(err)
			}
			if c.says != "" {
				s.says(c.says, patience)
			}
			if c.ends {
				if code := s.exitCode(patience); code != 1 {
					t.Errorf("exit code %d", code)
				}
				return
			}
			second := launch(t, "second", nil, "serve", "--id", "n1", "--data-dir", s.dir, "--http", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--cluster", c2.peers)
			if code := second.exitCode(patience); code != 1 || !strings.Contains(second.output.String(), "in use by another server") {
				t.Errorf("a second process: code %d, %s", code, second.output.String())
			}
			s.must(200, "PUT", "/v1/kv/k", "w")
		})
	}
}

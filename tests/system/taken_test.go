package system

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/tests/cluster"
)

// Goal: whatever is moved, removed or replaced in a data directory under a
// running node, no second process writes the same log, and the node ends or
// says what is wrong; its next start serves what was acknowledged, or refuses.
// Method: one node; take one thing away at a time; then start a second process
// on what has the name now.
func TestADirectoryThatIsTakenAwayEndsTheNode(t *testing.T) {
	t.Parallel()
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
			c2 := cluster.Start(t, 1)
			s := c2.Nodes[0]
			s.Must(201, "PUT", "/v1/kv/k", "v")
			if err := c.take(s.Dir); err != nil {
				t.Fatal(err)
			}
			if c.says != "" {
				s.Says(c.says, cluster.Patience)
			}
			if c.ends {
				if code := s.ExitCode(cluster.Patience); code != 1 {
					t.Errorf("exit code %d", code)
				}
				return
			}
			second := cluster.Launch(t, "second", nil, "serve", "--id", "n1", "--data-dir", s.Dir, "--http", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--cluster", c2.Peers)
			if code := second.ExitCode(cluster.Patience); code != 1 || !strings.Contains(second.Output.String(), "in use by another server") {
				t.Errorf("a second process: code %d, %s", code, second.Output.String())
			}
			s.Must(200, "PUT", "/v1/kv/k", "w")
		})
	}
}

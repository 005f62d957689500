package system

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/tests/cluster"
)

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "raftkv.toml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Goal: a start that cannot be ends with the right code and a sentence that
// says what is wrong and what to do. Method: the built program, one mistake at
// a time.
func TestStartsThatCannotBe(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 1)
	used := c.Nodes[0]
	used.Kill()
	held := cluster.Start(t, 1, "--hold-level").Nodes[0] // without a record the list counts
	held.Kill()
	ports := cluster.FreePorts(t, 2)
	pair := fmt.Sprintf("n1=%s,n2=%s", ports[0], ports[1])
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	fresh := filepath.Join(t.TempDir(), "fresh")
	damaged := filepath.Join(t.TempDir(), "damaged")
	damageCopy(t, used.Dir, damaged)

	serve := func(id, dir, cluster string, more ...string) []string {
		return append([]string{"serve", "--id", id, "--data-dir", dir, "--http", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--cluster", cluster}, more...)
	}
	for _, c := range []struct {
		name      string
		arguments []string
		code      int
		want      []string
	}{
		{"own id is not in the cluster", serve("n3", fresh, pair), 2, []string{"--cluster names n1, n2 and not this node, n3", "correct --id"}},
		{"a node twice", serve("n1", fresh, pair+",n1=127.0.0.1:1"), 2, []string{"--cluster names node n1 twice"}},
		{"an address twice", serve("n1", fresh, "n1="+ports[0]+",n2="+ports[0]), 2, []string{"nodes n1 and n2 the same address"}},
		{"a pair that is none", serve("n1", fresh, "n1="+ports[0]+",n2"), 2, []string{`"n2" is not of the form id=host:port`}},
		{"another node's directory", serve("n2", used.Dir, pair), 2, []string{"belongs to node n1", "--id says n2"}},
		{"another cluster's directory", serve("n1", used.Dir, used.Cluster.Peers, "--cluster-id", "elsewhere"), 2, []string{"belongs to cluster raftkv", "--cluster-id says elsewhere"}},
		{"other members", serve("n1", held.Dir, pair), 2, []string{"a cluster of n1", "--cluster names n1, n2", "does not change the membership"}},
		{"no flags", []string{"serve"}, 2, []string{"--id is missing"}},
		{"no such command", []string{"sevre"}, 2, []string{"unknown command"}},
		{"unknown key", []string{"serve", "--config", writeFile(t, "node = 1")}, 2, []string{`"node" is not a setting`}},
		{"port in use", []string{"serve", "--id", "n1", "--data-dir", fresh, "--http", busy.Addr().String(), "--cluster", pair}, 1, []string{"cannot listen for clients on " + busy.Addr().String(), "port is in use"}},
		{"damaged log", serve("n1", damaged, used.Cluster.Peers), 1, []string{filepath.Join(damaged, "wal"), "damaged at byte"}},
		{"version", []string{"version"}, 0, []string{"raftkv "}},
		{"help", []string{"serve", "--help"}, 0, []string{"RAFTKV_DATA_DIR", "--cluster"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := cluster.Launch(t, c.name, nil, c.arguments...)
			if code := p.ExitCode(cluster.Patience); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, word := range c.want {
				if !strings.Contains(p.Output.String(), word) {
					t.Errorf("%q does not say %q", p.Output.String(), word)
				}
			}
			if n := strings.Count(p.Output.String(), "goroutine "); n > 0 {
				t.Errorf("a stack trace instead of a sentence")
			}
		})
	}
	if _, err := os.Stat(fresh); !os.IsNotExist(err) {
		t.Errorf("a start that could not be left a directory: %v", err)
	}
	used.Start() // the directory is as it was
	used.AwaitServing()
}

// damageCopy copies a data directory and changes a byte in the middle of what
// its log holds.
func damageCopy(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(to, "wal", "*.wal"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	content, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	content[20] ^= 1 // of the segment's own header
	if err := os.WriteFile(segments[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Goal: a second process on a data directory is refused and the first is not
// disturbed.
func TestSecondProcessOnTheSameDirectory(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 1)
	first := c.Nodes[0]
	second := cluster.Launch(t, "second", nil, "serve", "--id", "n1", "--data-dir", first.Dir, "--http", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--cluster", c.Peers)
	if code := second.ExitCode(cluster.Patience); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if said := second.Output.String(); !strings.Contains(said, "in use by another server") {
		t.Errorf("said %q", said)
	}
	first.Must(201, "PUT", "/v1/kv/k", "v")
}

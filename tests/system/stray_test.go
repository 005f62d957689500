package system

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

var strayRuns = flag.Int("stray.runs", 1, "how often TestAStrayNodeEndsNobody and TestAHotCopyThatIsPutBackIsFound run")

// moveAside renames the directories of all nodes and returns where they are.
func moveAside(t *testing.T, c *cluster.Cluster, name string) (dirs []string) {
	t.Helper()
	for _, s := range c.Nodes {
		aside := s.Dir + "-" + name
		if err := os.Rename(s.Dir, aside); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, aside)
	}
	return dirs
}

// Goal: a node of an earlier cluster of the same name at a member's address ends
// nobody, whichever way it is met, and when the address leads to the right node
// again, all is well: every key is there on every node. Method: a cluster is made,
// killed and set aside; another one takes its ports; its last node dies, and in its
// place comes the one of the earlier cluster, for longer than any node takes to end.
func TestAStrayNodeEndsNobody(t *testing.T) {
	t.Parallel()
	for run := range *strayRuns {
		t.Run(fmt.Sprint(run), func(t *testing.T) {
			for _, size := range []int{3, 5} {
				t.Run(fmt.Sprintf("%d nodes", size), func(t *testing.T) {
					t.Parallel() // it waits, for the most part
					strayEndsNobody(t, size)
				})
			}
		})
	}
}

func strayEndsNobody(t *testing.T, size int) {
	c := cluster.Start(t, size)
	c.Leader().Must(201, "PUT", "/v1/kv/earlier", "x")
	c.KillAll()
	earlier := moveAside(t, c, "earlier")
	c.Start()
	c.AwaitServing()
	const keys = 20
	for i := range keys {
		c.Leader().Must(201, "PUT", fmt.Sprintf("/v1/kv/key-%d", i), "value")
	}
	last := c.Nodes[size-1]
	last.Kill()
	own := last.Dir
	last.Dir = earlier[size-1]
	last.Start()
	others := c.Nodes[:size-1]
	for _, s := range others {
		s.Says("another cluster of the name", cluster.Patience)
	}
	last.Says("another cluster of the name", cluster.Patience)
	time.Sleep(5 * time.Second) // the longest that a node takes to end, twice
	for _, s := range others {
		if s.HasEnded() {
			t.Fatalf("%s was ended by a stray node:\n%s", s.ID, s.Output.Tail(1000))
		}
		life, err := os.ReadFile(filepath.Join(s.Dir, "life.toml"))
		if err != nil || strings.Contains(string(life), "fenced") {
			t.Fatalf("%s is fenced: %s, %v", s.ID, life, err)
		}
	}
	others[0].Must(200, "GET", "/v1/kv/key-0", "")
	last.Kill()
	last.Dir = own
	last.Start()
	c.AwaitServing()
	for _, s := range c.Nodes {
		for i := range keys {
			s.Must(200, "GET", fmt.Sprintf("/v1/kv/key-%d", i), "")
		}
		s.Must(404, "GET", "/v1/kv/earlier", "")
	}
}

// copyTree copies a directory as it is at this moment.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// Goal: a copy of a running node's directory that is put back later is found by
// those whom the node has told how far it had come, though the leader is away, and
// though all have restarted. Nothing acknowledged is lost. Method: a copy, writes,
// some seconds, the copy in the node's place; the leader dead, or all killed and
// two started.
func TestAHotCopyThatIsPutBackIsFound(t *testing.T) {
	t.Parallel()
	for range *strayRuns {
		for name, wait := range map[string]time.Duration{
			"the leader is away": 5 * time.Second,
			"all have restarted": 15 * time.Second,
		} {
			if wait > 10*time.Second && *strayRuns == 1 {
				continue
			}
			t.Run(name, func(t *testing.T) {
				c := cluster.Start(t, 3)
				leader := c.Leader()
				victim, other := c.Others(leader)[0], c.Others(leader)[1]
				leader.Must(201, "PUT", "/v1/kv/before", "x")
				cluster.Eventually(t, cluster.Patience, func() error {
					if status, code, _, err := victim.Ask("GET", "/v1/kv/before", ""); err != nil || status != 200 {
						return fmt.Errorf("%d %v %v", status, code, err)
					}
					return nil
				})
				copied := victim.Dir + "-copy"
				copyTree(t, victim.Dir, copied)
				for i := range 50 {
					leader.Must(201, "PUT", fmt.Sprintf("/v1/kv/key-%d", i), "value")
				}
				time.Sleep(wait)
				victim.Kill()
				leader.Kill()
				if wait > 10*time.Second {
					other.Kill()
				}
				victim.Dir = copied
				victim.Start()
				if wait > 10*time.Second {
					other.Start()
				}
				if code := victim.ExitCode(cluster.Patience); code != 1 || !strings.Contains(victim.Output.String(), "put back to an earlier state") {
					t.Fatalf("the copy goes on: code %d\n%s", code, victim.Output.Tail(1000))
				}
				leader.Start()
				leader.AwaitServing()
				for i := range 50 {
					leader.Must(200, "GET", fmt.Sprintf("/v1/kv/key-%d", i), "")
				}
				if other.HasEnded() || leader.HasEnded() {
					t.Fatal("a node that lost nothing was ended")
				}
			})
		}
	}
}

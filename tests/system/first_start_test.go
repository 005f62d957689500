package system

import (
	"math/rand/v2"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

// Goal: the first start of a cluster works in whatever order its nodes start and
// however often they are killed meanwhile: no node is taken for one that lost its
// directory.
// Method: rounds in which the nodes start in an order of chance and are killed
// after some milliseconds; in the end all start.
func TestAFirstStartThatIsInterrupted(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, 3)
	for range 6 {
		for _, i := range rand.Perm(len(c.Nodes)) {
			c.Nodes[i].Start()
			time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
		}
		c.KillAll()
	}
	c.Start()
	c.Nodes[0].Must(201, "PUT", "/v1/kv/k", "v")
	for _, s := range c.Nodes {
		if got := s.Must(200, "GET", "/v1/kv/k", ""); got != "v" {
			t.Errorf("%s: %q", s.ID, got)
		}
	}
}

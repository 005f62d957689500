package system

import (
	"testing"

	"raftkv/tests/cluster"
)

// Goal: a node that waits for a majority says so, and names the nodes it lacks.
// Method: one of three is started, then a second one.
func TestANodeThatWaitsForAMajoritySaysSo(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, 3)
	c.Nodes[0].Start()
	c.Nodes[0].Says(`msg="no leader: 1 of 3 nodes is heard, 2 are needed"`, cluster.Patience)
	c.Nodes[0].Says("heard=n1 missing=n2,n3", cluster.Patience)
	c.Nodes[1].Start()
	c.Nodes[0].AwaitServing()
}

package system

import "testing"

// Goal: a node that waits for a majority says so, and names the nodes it lacks.
// Method: one of three is started, then a second one.
func TestANodeThatWaitsForAMajoritySaysSo(t *testing.T) {
	c := newCluster(t, 3)
	c.nodes[0].start()
	c.nodes[0].says(`msg="no leader: 1 of 3 nodes is heard, 2 are needed"`, patience)
	c.nodes[0].says("heard=n1 missing=n2,n3", patience)
	c.nodes[1].start()
	c.nodes[0].awaitServing()
}

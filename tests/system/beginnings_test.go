package system

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/tests/cluster"
)

// backups returns the files of several backups of one cluster, each of which holds
// one key more than the one before.
func backups(t *testing.T, n int) (files []string) {
	t.Helper()
	old := cluster.Start(t, 1)
	for i := range n {
		old.Nodes[0].Must(201, "PUT", fmt.Sprintf("/v1/kv/old-%d", i), "x")
		file := filepath.Join(t.TempDir(), fmt.Sprintf("backup-%d", i))
		if said := command(old, "", "snapshot", "save", file); said.code != 0 {
			t.Fatalf("save: %s%s", said.out, said.errors)
		}
		files = append(files, file)
	}
	old.KillAll()
	return files
}

// restore makes a node's directory of a backup.
func restore(s *cluster.Node, file string) {
	s.Cluster.T.Helper()
	said := command(s.Cluster, "", "snapshot", "restore", file, "--data-dir", s.Dir, "--id", s.ID, "--cluster", s.Cluster.Peers, "--cluster-id", "restored")
	if said.code != 0 {
		s.Cluster.T.Fatalf("restore of %s: %s", s.ID, said.errors)
	}
}

// leavesOut checks that two of three nodes serve and hold what they acknowledge,
// that the third one and they refuse each other in these words, and that it answers
// no linearizable read and no write.
func leavesOut(c *cluster.Cluster, odd *cluster.Node, words string) {
	c.T.Helper()
	others := c.Others(odd)
	for _, s := range others {
		s.AwaitServing()
	}
	for i := range 10 {
		others[i%2].Must(201, "PUT", fmt.Sprintf("/v1/kv/new-%d", i), "value")
	}
	odd.Says(words, cluster.Patience)
	for _, s := range others {
		s.Says(words, cluster.Patience)
	}
	for method, want := range map[string]int{"GET": 200, "PUT": 201} {
		if status, _, body, err := odd.Ask(method, "/v1/kv/odd", "x"); err == nil && (status == want || status == 404) {
			c.T.Errorf("the odd node answers a %s with %d %s", method, status, body)
		}
	}
	for _, s := range others {
		if s.HasEnded() {
			c.T.Fatalf("%s was ended:\n%s", s.ID, s.Output.Tail(1000))
		}
		s.Must(404, "GET", "/v1/kv/odd", "")
		for i := range 10 {
			s.Must(200, "GET", fmt.Sprintf("/v1/kv/new-%d", i), "")
		}
	}
}

// Goal: nodes that were restored from different backups under one new name make no
// cluster together: those of one backup serve, the other one is refused in words,
// and where all differ nobody serves. Method: three nodes of two backups and of
// three.
func TestNodesRestoredFromDifferentBackups(t *testing.T) {
	t.Parallel()
	files := backups(t, 3)
	t.Run("one differs", func(t *testing.T) {
		c := cluster.New(t, 3, "--cluster-id", "restored")
		for i, s := range c.Nodes {
			restore(s, files[i/2])
			s.Start()
		}
		leavesOut(c, c.Nodes[2], "another cluster of the name")
		c.Nodes[0].Must(200, "GET", "/v1/kv/old-0", "")
		c.Nodes[0].Must(404, "GET", "/v1/kv/old-1", "")
	})
	t.Run("all differ", func(t *testing.T) {
		c := cluster.New(t, 3, "--cluster-id", "restored")
		for i, s := range c.Nodes {
			restore(s, files[i])
			s.Start()
		}
		for _, s := range c.Nodes {
			s.Says("another cluster of the name", cluster.Patience)
		}
		if status, _, body, err := c.Nodes[1].Ask("GET", "/v1/kv/old-0", ""); err == nil && status < 500 {
			t.Errorf("a node that is alone answers %d %s", status, body)
		}
	})
}

// Goal: a node with another --cluster is refused, both sides name the lists, and
// the others serve. Method: three new nodes, of which the last one lists a fourth.
func TestANodeWithAnotherList(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, 3)
	c.Nodes[0].Start()
	c.Nodes[1].Start()
	list := c.Peers
	c.Peers += ",n4=" + cluster.FreePorts(t, 1)[0]
	c.Nodes[2].Start()
	c.Peers = list
	leavesOut(c, c.Nodes[2], "has another list of members than server")
}

// Goal: a node of an earlier test cluster, whose others were wiped, is refused among
// the new ones under the default cluster id. Method: three nodes serve and are
// killed; two directories are emptied, serve as a new cluster, and the third one
// comes.
func TestANodeOfAWipedClusterAmongNewOnes(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3)
	c.Nodes[0].Must(201, "PUT", "/v1/kv/earlier", "x")
	c.KillAll()
	odd := c.Nodes[2]
	for _, s := range c.Others(odd) {
		s.Dir += "-new"
		s.Start()
	}
	c.Nodes[0].AwaitServing()
	odd.Start()
	leavesOut(c, odd, "another cluster of the name")
	c.Nodes[0].Must(404, "GET", "/v1/kv/earlier", "")
}

// exchange lets two directories change places.
func exchange(t *testing.T, a, b string) {
	t.Helper()
	for _, move := range [][2]string{{a, a + "-aside"}, {b, a}, {a + "-aside", b}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
}

// Goal: a node directory of one dev cluster in another one's place is refused, and
// what the other two acknowledged is there. Method: two dev clusters, one after the
// other; the first one's n2 runs with the second one's directory as a node.
func TestMixedDevDirectories(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	port := devPort(t, 3)
	for _, name := range []string{"a", "b"} {
		p, node := dev(t, filepath.Join(base, name), port, 3)
		node(0).Must(201, "PUT", "/v1/kv/from-"+name, "x")
		p.Kill()
	}
	exchange(t, filepath.Join(base, "a", "n2"), filepath.Join(base, "b", "n2"))
	p := cluster.Launch(t, "dev", nil, "dev", "--data-dir", filepath.Join(base, "a"), "--port", fmt.Sprint(port))
	node := func(i int) *cluster.Node {
		return &cluster.Node{Cluster: &cluster.Cluster{T: t}, ID: fmt.Sprintf("n%d", i+1), HTTP: fmt.Sprintf("127.0.0.1:%d", port+i), Process: p}
	}
	p.Says("another cluster of the name", cluster.Patience)
	node(0).AwaitServing()
	node(0).Must(200, "GET", "/v1/kv/from-a", "")
	node(2).Must(404, "GET", "/v1/kv/from-b", "")
	for _, name := range []string{"a", "b"} {
		if status, _, body, err := node(1).Ask("GET", "/v1/kv/from-"+name, ""); err == nil && status < 500 {
			t.Errorf("the odd node answers %d %s", status, body)
		}
	}
	if said := p.Output.String(); !strings.Contains(said, "uid") {
		t.Errorf("the uids are not named:\n%s", said)
	}
}

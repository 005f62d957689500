package system

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// backups returns the files of so many backups of one cluster, each of which holds
// one key more than the one before.
func backups(t *testing.T, n int) (files []string) {
	t.Helper()
	old := startCluster(t, 1)
	for i := range n {
		old.nodes[0].must(201, "PUT", fmt.Sprintf("/v1/kv/old-%d", i), "x")
		file := filepath.Join(t.TempDir(), fmt.Sprintf("backup-%d", i))
		if said := old.command("", "snapshot", "save", file); said.code != 0 {
			t.Fatalf("save: %s%s", said.out, said.errors)
		}
		files = append(files, file)
	}
	old.killAll()
	return files
}

// restore makes a node's directory of a backup.
func (s *server) restore(file string) {
	s.cluster.t.Helper()
	said := s.cluster.command("", "snapshot", "restore", file, "--data-dir", s.dir, "--id", s.id, "--cluster", s.cluster.peers, "--cluster-id", "restored")
	if said.code != 0 {
		s.cluster.t.Fatalf("restore of %s: %s", s.id, said.errors)
	}
}

// leavesOut checks that two of three nodes serve and hold what they acknowledge,
// that the third one and they refuse each other in these words, and that it answers
// no linearizable read and no write.
func (c *cluster) leavesOut(odd *server, words string) {
	c.t.Helper()
	others := c.others(odd)
	for _, s := range others {
		s.awaitServing()
	}
	for i := range 10 {
		others[i%2].must(201, "PUT", fmt.Sprintf("/v1/kv/new-%d", i), "value")
	}
	odd.says(words, patience)
	for _, s := range others {
		s.says(words, patience)
	}
	for method, want := range map[string]int{"GET": 200, "PUT": 201} {
		if status, _, body, err := odd.ask(method, "/v1/kv/odd", "x"); err == nil && (status == want || status == 404) {
			c.t.Errorf("the odd node answers a %s with %d %s", method, status, body)
		}
	}
	for _, s := range others {
		if s.hasEnded() {
			c.t.Fatalf("%s was ended:\n%s", s.id, s.output.tail(1000))
		}
		s.must(404, "GET", "/v1/kv/odd", "")
		for i := range 10 {
			s.must(200, "GET", fmt.Sprintf("/v1/kv/new-%d", i), "")
		}
	}
}

// Goal: nodes that were restored from different backups under one new name make no
// cluster together: those of one backup serve, the other one is refused in words,
// and where all differ nobody serves. Method: three nodes of two backups and of
// three.
func TestNodesRestoredFromDifferentBackups(t *testing.T) {
	files := backups(t, 3)
	t.Run("one differs", func(t *testing.T) {
		c := newCluster(t, 3, "--cluster-id", "restored")
		for i, s := range c.nodes {
			s.restore(files[i/2])
			s.start()
		}
		c.leavesOut(c.nodes[2], "another cluster of the name")
		c.nodes[0].must(200, "GET", "/v1/kv/old-0", "")
		c.nodes[0].must(404, "GET", "/v1/kv/old-1", "")
	})
	t.Run("all differ", func(t *testing.T) {
		c := newCluster(t, 3, "--cluster-id", "restored")
		for i, s := range c.nodes {
			s.restore(files[i])
			s.start()
		}
		for _, s := range c.nodes {
			s.says("another cluster of the name", patience)
		}
		if status, _, body, err := c.nodes[1].ask("GET", "/v1/kv/old-0", ""); err == nil && status < 500 {
			t.Errorf("a node that is alone answers %d %s", status, body)
		}
	})
}

// Goal: a node with another --cluster is refused, both sides name the lists, and
// the others serve. Method: three new nodes, of which the last one lists a fourth.
func TestANodeWithAnotherList(t *testing.T) {
	c := newCluster(t, 3)
	c.nodes[0].start()
	c.nodes[1].start()
	list := c.peers
	c.peers += ",n4=" + freePorts(t, 1)[0]
	c.nodes[2].start()
	c.peers = list
	c.leavesOut(c.nodes[2], "has another list of members than server")
}

// Goal: a node of an earlier test cluster, whose others were wiped, is refused among
// the new ones under the default cluster id. Method: three nodes serve and are
// killed; two directories are emptied, serve as a new cluster, and the third one
// comes.
func TestANodeOfAWipedClusterAmongNewOnes(t *testing.T) {
	c := startCluster(t, 3)
	c.nodes[0].must(201, "PUT", "/v1/kv/earlier", "x")
	c.killAll()
	odd := c.nodes[2]
	for _, s := range c.others(odd) {
		s.dir += "-new"
		s.start()
	}
	c.nodes[0].awaitServing()
	odd.start()
	c.leavesOut(odd, "another cluster of the name")
	c.nodes[0].must(404, "GET", "/v1/kv/earlier", "")
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
	base := t.TempDir()
	port := devPort(t, 3)
	for _, name := range []string{"a", "b"} {
		p, node := dev(t, filepath.Join(base, name), port, 3)
		node(0).must(201, "PUT", "/v1/kv/from-"+name, "x")
		p.kill()
	}
	exchange(t, filepath.Join(base, "a", "n2"), filepath.Join(base, "b", "n2"))
	p := launch(t, "dev", nil, "dev", "--data-dir", filepath.Join(base, "a"), "--port", fmt.Sprint(port))
	node := func(i int) *server {
		return &server{cluster: &cluster{t: t}, id: fmt.Sprintf("n%d", i+1), http: fmt.Sprintf("127.0.0.1:%d", port+i), process: p}
	}
	p.says("another cluster of the name", patience)
	node(0).awaitServing()
	node(0).must(200, "GET", "/v1/kv/from-a", "")
	node(2).must(404, "GET", "/v1/kv/from-b", "")
	for _, name := range []string{"a", "b"} {
		if status, _, body, err := node(1).ask("GET", "/v1/kv/from-"+name, ""); err == nil && status < 500 {
			t.Errorf("the odd node answers %d %s", status, body)
		}
	}
	if said := p.output.String(); !strings.Contains(said, "uid") {
		t.Errorf("the uids are not named:\n%s", said)
	}
}

package campaign

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/tests/cluster"
)

// site is a cluster and everything by which it can be hurt.
type site struct {
	t       *testing.T
	undo    *undo
	cluster *cluster.Cluster
	network *network // nil: the nodes share the machine's loopback
	disks   []*disk  // nil: the nodes share the machine's file system
	rand    *rand.Rand
	clerks  []*client.Clerk
	begun   time.Time
}

// newSite starts a cluster of nodes that have a network and a disk each, or that
// share the machine's, and Clerks: two that know all nodes, and one for each node
// that knows no other.
func newSite(t *testing.T, u *undo, size int, whole bool, seed uint64) *site {
	t.Helper()
	s := &site{t: t, undo: u, rand: rand.New(rand.NewPCG(seed, uint64(size))), begun: time.Now()}
	arguments := []string{"--snapshot-bytes", "1048576", "--max-in-flight", "192"}
	if whole {
		s.cluster, s.network = newClusterOn(t, u, size, arguments...)
		s.disks = onDisks(t, u, s.cluster)
	} else {
		s.cluster = cluster.New(t, size, arguments...)
	}
	for _, n := range s.cluster.Nodes {
		n.In.Log = s.logFile(n.ID)
	}
	u.killLater(s.cluster)
	s.cluster.Start()
	endpoints := [][]string{cluster.Addresses(s.cluster.Nodes), cluster.Addresses(s.cluster.Nodes)}
	for _, n := range s.cluster.Nodes {
		endpoints = append(endpoints, []string{n.HTTP})
	}
	for _, known := range endpoints {
		ctx, cancel := context.WithTimeout(t.Context(), cluster.Patience)
		clerk, err := client.Dial(ctx, client.Config{Endpoints: known, AttemptTimeout: time.Second, DialTimeout: time.Second})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { clerk.Close() })
		s.clerks = append(s.clerks, clerk)
	}
	return s
}

// logFile is where a node's log is kept.
func (s *site) logFile(id string) io.Writer {
	f, err := os.Create(filepath.Join(s.undo.dir, id+".log"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.undo.later(func() { complain(f.Close()) })
	return f
}

// say prints a line with the time since the beginning, at once: a campaign takes
// long.
func (s *site) say(format string, arguments ...any) {
	fmt.Printf("%7.1f s  %s\n", time.Since(s.begun).Seconds(), fmt.Sprintf(format, arguments...))
}

// follower draws one of the nodes that do not lead.
func (s *site) follower() *cluster.Node {
	others := s.cluster.Others(s.cluster.Leader())
	return others[s.rand.IntN(len(others))]
}

// split draws the leader and other nodes until there are as many as asked for,
// and returns their places and those of the rest.
func (s *site) split(most int, withLeader bool) (some, rest []int) {
	leader := s.cluster.Leader()
	others := s.cluster.Others(leader)
	s.rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	drawn := append([]*cluster.Node{leader}, others...)
	if !withLeader {
		drawn = append(others, leader)
	}
	for i, n := range drawn {
		if i < most {
			some = append(some, n.Place())
		} else {
			rest = append(rest, n.Place())
		}
	}
	return some, rest
}

// restart starts a node that has ended and waits until it serves.
func (s *site) restart(nodes ...*cluster.Node) error {
	for _, n := range nodes {
		n.Start()
	}
	for _, n := range nodes {
		n.AwaitServing()
	}
	return nil
}

// cancelled is a context that the test's end cancels, too.
func (s *site) cancelled() (context.Context, context.CancelFunc) {
	return context.WithCancel(s.t.Context())
}

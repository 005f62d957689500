package rod

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/client/bench"
	"raftkv/tests/bench/bare"
	"raftkv/tests/cluster"
)

// Raftkv is a cluster of three durable nodes with the settings that they have by
// default.
type Raftkv struct {
	Group
	name    string
	cluster *cluster.Cluster
	leader  *cluster.Node
	term    uint64
	// Elections counts the terms that have passed since the side was started.
	Elections uint64
	clerks    Spread
}

// Ours is the name of the side that is compared with all others.
const Ours = "raftkv"

// StartRaftkv starts a side of this name. The program is the one that cluster.Main has
// built, or another one if it is not "". The side ends with the test.
func StartRaftkv(t *testing.T, name, program string) (*Raftkv, error) {
	t.Helper()
	s := &Raftkv{name: name, cluster: cluster.New(t, 3)}
	for _, n := range s.cluster.Nodes {
		n.Program = program
	}
	s.cluster.Start()
	for _, n := range s.cluster.Nodes {
		s.Group = append(s.Group, n.Process)
	}
	for range clerks {
		clerk, err := client.Dial(t.Context(), client.Config{Endpoints: s.Addresses()})
		if err != nil {
			return nil, err
		}
		t.Cleanup(clerk.Close)
		s.clerks = append(s.clerks, bench.ClerkTarget{Clerk: clerk})
	}
	s.leader = s.cluster.Leader()
	s.term = s.cluster.Term()
	return s, nil
}

// Name returns the name that the side was started with.
func (s *Raftkv) Name() string { return s.name }

// Addresses returns where the nodes take clients, host:port by node.
func (s *Raftkv) Addresses() []string { return cluster.Addresses(s.cluster.Nodes) }

// Serves reports whether the row's clients are outside of the processes.
func (s *Raftkv) Serves(r Row) bool { return r.Face != InProcess }

// Dir returns a directory on the device of the nodes' data.
func (s *Raftkv) Dir() string { return filepath.Dir(s.cluster.Nodes[0].Dir) }

// Load returns the Clerks, or connections to the node that the row's face names.
func (s *Raftkv) Load(r Row) (bench.Target, func(), error) {
	at := s.leader
	switch r.Face {
	case Clerk:
		return s.clerks, func() {}, nil
	case HTTPFollower:
		at = s.cluster.Others(s.leader)[0]
	}
	c, err := bare.Dial(at.HTTP, r.Clients, bare.Raftkv)
	if err != nil {
		return nil, nil, err
	}
	return c, c.Close, nil
}

// Ready waits until all nodes follow one leader. Nodes that are stopped together go on
// with the leader that they had, since they count time in ticks of their own.
func (s *Raftkv) Ready() error {
	s.leader = s.cluster.Leader()
	term := s.cluster.Term()
	s.Elections += term - s.term
	s.term = term
	return nil
}

// Restart kills a follower as a power cut would, starts it again, and returns how long it
// takes from there until it serves linearizable reads, and its new process. It asks every
// millisecond.
func (s *Raftkv) Restart(ctx context.Context) (time.Duration, *os.Process, error) {
	n := s.cluster.Others(s.leader)[0]
	n.Kill()
	began := time.Now()
	n.Start()
	s.Group[n.Place()] = n.Process
	for {
		if status, _, _, err := n.Ask("GET", "/readyz", ""); err == nil && status == http.StatusOK {
			return time.Since(began), n.Command.Process, nil
		}
		select {
		case <-ctx.Done():
			return 0, nil, fmt.Errorf("%s of %s does not serve again: %w", n.ID, s.name, ctx.Err())
		case <-n.Ended:
			return 0, nil, fmt.Errorf("%s of %s has ended instead of serving: %s", n.ID, s.name, n.Output.Tail(1000))
		case <-time.After(time.Millisecond):
		}
	}
}

// Messages reads the leader's metrics.
func (s *Raftkv) Messages() (float64, error) {
	const name = "raftkv_peer_sent_messages_total{"
	status, _, body, err := s.leader.Ask("GET", "/metrics", "")
	if err != nil || status != 200 {
		return 0, fmt.Errorf("the leader's metrics: status %d, %w", status, err)
	}
	sum, peers := 0.0, 0
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), name) {
			continue
		}
		n, err := strconv.ParseFloat(lines.Text()[strings.LastIndexByte(lines.Text(), ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("the leader's metrics: %w", err)
		}
		sum += n
		peers++
	}
	if peers == 0 {
		return 0, fmt.Errorf("the leader's metrics have no %s…", name)
	}
	return sum / float64(peers), nil
}

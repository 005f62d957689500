package cluster

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"raftkv/kvserver/api"
)

// Patience is how long anything that must happen may take on a busy machine. No
// test waits that long unless it fails.
const Patience = 30 * time.Second

// Cluster is nodes that are processes, of one test.
type Cluster struct {
	T     *testing.T
	Nodes []*Node
	Peers string // the --cluster of all
}

// Node is one node of a cluster, running or not.
type Node struct {
	Cluster   *Cluster
	ID        string
	HTTP      string // host:port
	Dir       string
	Arguments []string // in addition to those of CommandLine
	Program   string   // path of another program than the built one; "": that one
	In        Surroundings
	TLS       *tls.Config // how its client port is verified; nil: it is asked in clear
	*Process
}

// New chooses ports and directories and starts nothing.
func New(t *testing.T, size int, arguments ...string) *Cluster {
	t.Helper()
	c := &Cluster{T: t}
	ports := FreePorts(t, 2*size)
	var peers []string
	for i := range size {
		id := fmt.Sprintf("n%d", i+1)
		c.Nodes = append(c.Nodes, &Node{Cluster: c, ID: id, HTTP: ports[i], Dir: filepath.Join(t.TempDir(), id), Arguments: arguments})
		peers = append(peers, id+"="+ports[size+i])
	}
	c.Peers = strings.Join(peers, ",")
	return c
}

// Start starts a cluster and waits until it serves.
func Start(t *testing.T, size int, arguments ...string) *Cluster {
	t.Helper()
	c := New(t, size, arguments...)
	c.Start()
	return c
}

// Start starts all nodes and waits until they serve, at the level to which they rise by
// themselves.
func (c *Cluster) Start() {
	c.T.Helper()
	for _, s := range c.Nodes {
		s.Start()
	}
	c.AwaitServing()
	for _, s := range c.Nodes {
		s.awaitLevel()
	}
}

// awaitLevel waits until the node works at the highest level that its program knows, or
// says that the level is held. A program that does not know the call has one level only, and
// a caller without the right is told nothing.
func (s *Node) awaitLevel() {
	s.Cluster.T.Helper()
	Eventually(s.Cluster.T, Patience, func() error {
		status, _, body, err := s.Ask("GET", "/v1/members?consistency=stale", "")
		var m api.Members
		if err == nil && status == http.StatusOK {
			err = json.Unmarshal([]byte(body), &m)
		}
		if err != nil || status >= 500 {
			return fmt.Errorf("%s does not say at which level it works: %d %s (%v)", s.ID, status, body, err)
		}
		if m.Level.Level < m.Level.BuildMax && !m.Level.Hold {
			return fmt.Errorf("%s works at level %d", s.ID, m.Level.Level)
		}
		return nil
	})
}

// AwaitServing waits until every node would serve a linearizable read.
func (c *Cluster) AwaitServing() {
	c.T.Helper()
	for _, s := range c.Nodes {
		s.AwaitServing()
	}
}

// KillAll ends all nodes as one power cut would: nobody is waited for before
// the last has been hit.
func (c *Cluster) KillAll() {
	for _, s := range c.Nodes {
		s.Signal(syscall.SIGKILL)
	}
	for _, s := range c.Nodes {
		<-s.Ended
	}
}

// Leader returns the node that leads, and waits until the others follow it.
func (c *Cluster) Leader() *Node {
	c.T.Helper()
	var leader *Node
	Eventually(c.T, Patience, func() error {
		leader = nil
		names := map[string]bool{}
		for _, s := range c.Nodes {
			status, err := s.Status()
			if err != nil {
				return err
			}
			names[status.Leader] = true
			if status.Leader == s.ID {
				leader = s
			}
		}
		if leader == nil || len(names) != 1 {
			return fmt.Errorf("no leader that all follow: %v", names)
		}
		return nil
	})
	return leader
}

// Others returns all nodes but one.
func (c *Cluster) Others(but *Node) (others []*Node) {
	for _, s := range c.Nodes {
		if s != but {
			others = append(others, s)
		}
	}
	return others
}

// Addresses returns the HTTP addresses of the given nodes.
func Addresses(servers []*Node) (all []string) {
	for _, s := range servers {
		all = append(all, s.HTTP)
	}
	return all
}

// Start starts the node and waits for nothing.
func (s *Node) Start() {
	s.Cluster.T.Helper()
	in := s.In
	in.Program = s.Program
	s.Process = LaunchIn(s.Cluster.T, s.ID, in, nil, s.CommandLine()...)
}

// CommandLine returns the arguments of the program for this node.
func (s *Node) CommandLine() []string {
	return append([]string{"serve", "--id", s.ID, "--data-dir", s.Dir, "--http", s.HTTP, "--cluster", s.Cluster.Peers}, s.Arguments...)
}

// AwaitServing waits until the node would serve a linearizable read.
func (s *Node) AwaitServing() {
	s.Cluster.T.Helper()
	Eventually(s.Cluster.T, Patience, func() error {
		if s.HasEnded() {
			s.Cluster.T.Fatalf("%s has ended instead of serving", s.ID)
		}
		status, _, body, err := s.Ask("GET", "/readyz", "")
		if err == nil && status != 200 {
			err = fmt.Errorf("%s is not ready: %s", s.ID, body)
		}
		return err
	})
}

// Ask sends one request to the node, on a connection of its own: one from before
// a kill would be of no use. The error is the connection's.
func (s *Node) Ask(method, path, body string) (status int, header http.Header, got string, err error) {
	return s.AskWith(method, path, body)
}

// AskWith is ask with more headers, names and values in turn.
func (s *Node) AskWith(method, path, body string, headers ...string) (status int, header http.Header, got string, err error) {
	scheme := "http://"
	if s.TLS != nil {
		scheme = "https://"
	}
	request, err := http.NewRequestWithContext(context.Background(), method, scheme+s.HTTP+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	transport := &http.Transport{Proxy: nil, TLSClientConfig: s.TLS}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Timeout: 10 * time.Second, Transport: transport}).Do(request)
	if err != nil {
		return 0, nil, "", err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return response.StatusCode, response.Header, string(b), err
}

// Must sends a request that has to be answered with the status, and returns the body. On a
// busy machine there may be an election: an answer that there is no leader, and that
// nothing was done, is asked again, for as long as Patience.
func (s *Node) Must(want int, method, path, body string) string {
	s.Cluster.T.Helper()
	status, _, got, err := s.Ask(method, path, body)
	for end := time.Now().Add(Patience); status != want && noLeader(status, got) && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		status, _, got, err = s.Ask(method, path, body)
	}
	if err != nil || status != want {
		s.Cluster.T.Fatalf("%s: %s %.60s: status %d, %v, want %d: %.300s", s.ID, method, path, status, err, want, got)
	}
	return got
}

// noLeader reports whether an answer says that there was no leader and that nothing
// happened.
func noLeader(status int, body string) bool {
	var p api.Problem
	return status == http.StatusServiceUnavailable && json.Unmarshal([]byte(body), &p) == nil && p.Code == api.CodeNoLeader && p.Outcome != api.OutcomeUnknown
}

// Status returns the node's answer to GET /v1/status.
func (s *Node) Status() (status api.Status, err error) {
	_, _, body, err := s.Ask("GET", "/v1/status", "")
	if err == nil {
		err = json.Unmarshal([]byte(body), &status)
	}
	return status, err
}

// AskJSON is ask with a body of JSON.
func (s *Node) AskJSON(method, path, body string) (int, http.Header, string, error) {
	return s.AskWith(method, path, body, "Content-Type", "application/json")
}

// AwaitEqual waits until all nodes have applied the same and checks that their
// own copies are equal.
func AwaitEqual(t *testing.T, c *Cluster) {
	t.Helper()
	Eventually(t, Patience, func() error {
		applied := map[uint64]bool{}
		stores := map[string]bool{}
		for _, s := range c.Nodes {
			status, err := s.Status()
			if err != nil {
				return err
			}
			applied[status.Applied] = true
			stores[fmt.Sprintf("%+v", status.Store)] = true
		}
		if len(applied) != 1 || len(stores) != 1 {
			return fmt.Errorf("the nodes have applied %v and hold %v", applied, stores)
		}
		return nil
	})
}

// MustStatus returns the part of a node's status that says how far it is.
func MustStatus(t *testing.T, s *Node) (status struct {
	Term    uint64
	Leader  string
	Applied uint64
}) {
	t.Helper()
	got, err := s.Status()
	if err != nil {
		t.Fatal(err)
	}
	status.Term, status.Leader, status.Applied = got.Term, got.Leader, got.Applied
	return status
}

// Term is the highest that a node knows of which answers.
func (c *Cluster) Term() (highest uint64) {
	for _, s := range c.Nodes {
		if status, err := s.Status(); err == nil {
			highest = max(highest, status.Term)
		}
	}
	return highest
}

// Place is the number of a node in its cluster.
func (s *Node) Place() int { return slices.Index(s.Cluster.Nodes, s) }

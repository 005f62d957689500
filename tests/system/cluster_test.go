package system

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"raftkv/kvserver/api"
)

// patience is how long anything that must happen may take on a busy machine. No
// test waits that long unless it fails.
const patience = 30 * time.Second

// cluster is nodes that are processes.
type cluster struct {
	t     *testing.T
	nodes []*server
	peers string // the --cluster of all
}

// server is one node of a cluster, running or not.
type server struct {
	cluster   *cluster
	id        string
	http      string // host:port
	dir       string
	arguments []string // more than the needed ones
	in        surroundings
	*process
}

// newCluster chooses ports and directories and starts nothing.
func newCluster(t *testing.T, size int, arguments ...string) *cluster {
	t.Helper()
	c := &cluster{t: t}
	ports := freePorts(t, 2*size)
	var peers []string
	for i := range size {
		id := fmt.Sprintf("n%d", i+1)
		c.nodes = append(c.nodes, &server{cluster: c, id: id, http: ports[i], dir: filepath.Join(t.TempDir(), id), arguments: arguments})
		peers = append(peers, id+"="+ports[size+i])
	}
	c.peers = strings.Join(peers, ",")
	return c
}

// startCluster starts a cluster and waits until it serves.
func startCluster(t *testing.T, size int, arguments ...string) *cluster {
	t.Helper()
	c := newCluster(t, size, arguments...)
	c.start()
	return c
}

// start starts all nodes and waits until they serve.
func (c *cluster) start() {
	c.t.Helper()
	for _, s := range c.nodes {
		s.start()
	}
	c.awaitServing()
}

// awaitServing waits until every node would serve a linearizable read.
func (c *cluster) awaitServing() {
	c.t.Helper()
	for _, s := range c.nodes {
		s.awaitServing()
	}
}

// killAll ends all nodes as one power cut would: nobody is waited for before
// the last has been hit.
func (c *cluster) killAll() {
	for _, s := range c.nodes {
		s.signal(syscall.SIGKILL)
	}
	for _, s := range c.nodes {
		<-s.ended
	}
}

// leader returns the node that leads, and waits until the others follow it.
func (c *cluster) leader() *server {
	c.t.Helper()
	var leader *server
	eventually(c.t, patience, func() error {
		leader = nil
		names := map[string]bool{}
		for _, s := range c.nodes {
			status, err := s.status()
			if err != nil {
				return err
			}
			names[status.Leader] = true
			if status.Leader == s.id {
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

// others returns all nodes but one.
func (c *cluster) others(but *server) (others []*server) {
	for _, s := range c.nodes {
		if s != but {
			others = append(others, s)
		}
	}
	return others
}

// addresses returns where the given nodes serve.
func addresses(servers []*server) (all []string) {
	for _, s := range servers {
		all = append(all, s.http)
	}
	return all
}

func (s *server) start() {
	s.cluster.t.Helper()
	s.process = launchIn(s.cluster.t, s.id, s.in, nil, s.commandLine()...)
}

func (s *server) commandLine() []string {
	return append([]string{"serve", "--id", s.id, "--data-dir", s.dir, "--http", s.http, "--cluster", s.cluster.peers}, s.arguments...)
}

func (s *server) awaitServing() {
	s.cluster.t.Helper()
	eventually(s.cluster.t, patience, func() error {
		if s.hasEnded() {
			s.cluster.t.Fatalf("%s has ended instead of serving", s.id)
		}
		status, _, body, err := s.ask("GET", "/readyz", "")
		if err == nil && status != 200 {
			err = fmt.Errorf("%s is not ready: %s", s.id, body)
		}
		return err
	})
}

// ask sends one request to the node, on a connection of its own: one from before
// a kill would be of no use. The error is the connection's.
func (s *server) ask(method, path, body string) (status int, header http.Header, got string, err error) {
	return s.askWith(method, path, body)
}

// askWith is ask with more headers, names and values in turn.
func (s *server) askWith(method, path, body string, headers ...string) (status int, header http.Header, got string, err error) {
	request, err := http.NewRequestWithContext(context.Background(), method, "http://"+s.http+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	transport := &http.Transport{Proxy: nil}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Timeout: 10 * time.Second, Transport: transport}).Do(request)
	if err != nil {
		return 0, nil, "", err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return response.StatusCode, response.Header, string(b), err
}

// must sends one request that has to be answered with the status, and returns
// the body.
func (s *server) must(want int, method, path, body string) string {
	s.cluster.t.Helper()
	status, _, got, err := s.ask(method, path, body)
	if err != nil || status != want {
		s.cluster.t.Fatalf("%s: %s %.60s: status %d, %v, want %d: %.300s", s.id, method, path, status, err, want, got)
	}
	return got
}

func (s *server) status() (status api.Status, err error) {
	_, _, body, err := s.ask("GET", "/v1/status", "")
	if err == nil {
		err = json.Unmarshal([]byte(body), &status)
	}
	return status, err
}

// halfRequest is a PUT whose handler has begun and waits for the other half of
// the body.
type halfRequest struct {
	t          *testing.T
	conn       net.Conn
	answers    *bufio.Reader
	path, body string
}

// beginRequest sends the head of a PUT and half of its body.
func beginRequest(t *testing.T, s *server) *halfRequest {
	t.Helper()
	conn, err := net.Dial("tcp", s.http)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	h := &halfRequest{t: t, conn: conn, answers: bufio.NewReader(conn), path: "/v1/kv/half", body: "0123456789"}
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", h.path, s.http, len(h.body))
	// The server says that it wants the body when the handler begins to read it.
	if line, err := h.answers.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("the server answered %q, %v", line, err)
	}
	if line, err := h.answers.ReadString('\n'); err != nil || line != "\r\n" {
		t.Fatalf("the server answered %q, %v", line, err)
	}
	fmt.Fprint(conn, h.body[:5])
	return h
}

// finish sends the rest and returns the status of the answer.
func (h *halfRequest) finish() int {
	h.t.Helper()
	fmt.Fprint(h.conn, h.body[5:])
	response, err := http.ReadResponse(h.answers, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// freePorts returns addresses on which nobody listens at the moment.
func freePorts(t *testing.T, n int) (addresses []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

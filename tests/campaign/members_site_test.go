package campaign

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/tests/cluster"
)

// membersNode is one node of the campaign, as a process.
type membersNode struct {
	id, dir, http, peer string
	place               int // on the network, if there is one
	process             *cluster.Process
	wiped               bool   // its disk was lost, and it has not come back
	lost                string // the data directory that it had then, as the record said
}

// membersSite is the processes of a cluster that began with one node.
type membersSite struct {
	t     *testing.T
	dir   string
	nodes []*membersNode // that are members
	count int            // nodes that there ever were

	network *network // nil: all are on loopback
	free    []int    // places on it where nobody is
}

func newMembersSite(t *testing.T) *membersSite { return &membersSite{t: t, dir: t.TempDir()} }

// begin starts a cluster of one and lets two nodes join.
func (s *membersSite) begin() {
	first := s.node()
	s.nodes = append(s.nodes, first)
	s.launch(first, "--cluster", first.id+"="+first.peer)
	cluster.Eventually(s.t, cluster.Patience, func() error {
		status, body := s.ask("PUT", "/v1/cluster/settings", `{"promote_after_ms":300,"wanted":3}`)
		if status != 200 {
			return fmt.Errorf("the settings: %d %s", status, body)
		}
		return nil
	})
	s.join()
	s.join()
	s.whole()
}

// node makes a node of a new name, and starts nothing.
func (s *membersSite) node() *membersNode {
	s.count++
	n := &membersNode{id: fmt.Sprintf("n%d", s.count)}
	n.dir = filepath.Join(s.dir, n.id)
	s.move(n)
	return n
}

// launch starts a node's process.
func (s *membersSite) launch(n *membersNode, arguments ...string) {
	s.t.Helper()
	arguments = append([]string{"serve", "--id", n.id, "--data-dir", n.dir, "--http", n.http}, arguments...)
	if s.network != nil { // its addresses are not loopback, and nobody but the test reaches them
		arguments = append(arguments, "--insecure", "client,peer,auth")
	}
	n.process = cluster.LaunchIn(s.t, n.id, cluster.Surroundings{Wrapper: s.wrapper(n)}, nil, arguments...)
}

// move gives a node other addresses.
func (s *membersSite) move(n *membersNode) {
	if s.network != nil {
		s.settle(n)
		return
	}
	ports := cluster.FreePorts(s.t, 2)
	n.http, n.peer = ports[0], ports[1]
}

// wipe takes a node's disk.
func (s *membersSite) wipe(n *membersNode) {
	s.t.Helper()
	for _, m := range s.members().Members {
		if m.ID == n.id {
			n.wiped, n.lost = true, m.Incarnation
		}
	}
	if err := os.RemoveAll(n.dir); err != nil {
		s.t.Fatal(err)
	}
}

// start starts a node that is a member or is to be one, with a new token.
func (s *membersSite) start(n *membersNode) {
	s.t.Helper()
	var token api.JoinToken
	cluster.Eventually(s.t, cluster.Patience, func() error {
		status, body := s.ask("POST", "/v1/join-tokens", `{}`)
		if status != 201 {
			return fmt.Errorf("a token: %d %s", status, body)
		}
		return json.Unmarshal([]byte(body), &token)
	})
	file := n.dir + ".token"
	if err := os.WriteFile(file, []byte(token.Token), 0o600); err != nil {
		s.t.Fatal(err)
	}
	var others []string
	for _, m := range s.nodes {
		if m != n {
			others = append(others, m.http)
		}
	}
	arguments := []string{"--peer", n.peer, "--join", strings.Join(others, ","), "--join-token-file", file}
	if n.wiped {
		arguments = append(arguments, "--replace", n.id)
	}
	s.launch(n, arguments...)
}

// join adds a node, and makes a voter of it when it has caught up.
func (s *membersSite) join() {
	s.t.Helper()
	n := s.node()
	s.start(n)
	s.nodes = append(s.nodes, n)
}

// pause stops a node's process for a while: to all others it is cut off.
func (s *membersSite) pause(n *membersNode, d time.Duration) {
	n.process.Signal(syscall.SIGSTOP)
	time.Sleep(d)
	n.process.Signal(syscall.SIGCONT)
}

// ask sends a request to the nodes that run, one after the other, until one answers that
// there is a leader. Status 0 says that none did.
func (s *membersSite) ask(method, path, body string, headers ...string) (status int, got string) {
	for _, n := range s.nodes {
		if n.process == nil || n.process.HasEnded() {
			continue
		}
		is, answer := s.askOne(n, method, path, append([]string{body}, headers...)...)
		if is == 0 || is >= 500 {
			status, got = is, answer
			continue
		}
		return is, answer
	}
	return status, got
}

// askOne asks one node: with a body and headers, names and values in turn, if there are any.
// Status 0 says that there was no answer, and why.
func (s *membersSite) askOne(n *membersNode, method, path string, with ...string) (status int, got string) {
	with = append(with, "")
	request, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+n.http+path, strings.NewReader(with[0]))
	if err != nil {
		s.t.Fatal(err)
	}
	if with[0] != "" {
		request.Header.Set("Content-Type", api.MediaJSON)
	}
	for i := 1; i+1 < len(with); i += 2 {
		request.Header.Set(with[i], with[i+1])
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Timeout: 10 * time.Second, Transport: transport}).Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(b)
}

// change asks for a change without a body.
func (s *membersSite) change(method, path string, headers ...string) (status int, got string) {
	return s.ask(method, path, "", headers...)
}

// plan asks what the removal of members would be like.
func (s *membersSite) plan(remove []string) (status int, got string) {
	s.t.Helper()
	body, err := json.Marshal(api.MembersChange{Remove: remove})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.ask("POST", "/v1/members?dry_run", string(body))
}

// members asks who the members are.
func (s *membersSite) members() (m api.Members) {
	s.t.Helper()
	cluster.Eventually(s.t, cluster.Patience, func() error {
		status, body := s.ask("GET", "/v1/members", "")
		if status != 200 {
			return fmt.Errorf("the members: %d %s", status, body)
		}
		m = api.Members{}
		return json.Unmarshal([]byte(body), &m)
	})
	return m
}

// leader returns the node that leads.
func (s *membersSite) leader() (leader *membersNode) {
	s.t.Helper()
	cluster.Eventually(s.t, cluster.Patience, func() error {
		leader = nil
		for _, m := range s.members().Members {
			for _, n := range s.nodes {
				if m.Leader && m.ID == n.id {
					leader = n
				}
			}
		}
		if leader == nil {
			return fmt.Errorf("nobody leads")
		}
		return nil
	})
	return leader
}

// whole waits until all nodes vote and are healthy, and promotes those that only learn.
func (s *membersSite) whole() {
	s.t.Helper()
	cluster.Eventually(s.t, 2*cluster.Patience, func() error {
		for _, n := range s.nodes {
			if n.process.HasEnded() {
				s.t.Fatalf("%s has ended with code %d", n.id, n.process.ExitCode(time.Second))
			}
		}
		is := s.members()
		if is.Joint || len(is.Members) != len(s.nodes) {
			return fmt.Errorf("%d members, joint %t; %d nodes run", len(is.Members), is.Joint, len(s.nodes))
		}
		for _, m := range is.Members {
			if m.Role == "learner" {
				status, body := s.change("POST", "/v1/members/"+m.ID+"?op=promote")
				return fmt.Errorf("%s learns; promoting it: %d %s", m.ID, status, body)
			}
			if m.Role != "voter" || m.Health != "healthy" {
				return fmt.Errorf("%s is a %s and %s %s", m.ID, m.Role, m.Health, m.Why)
			}
			for _, n := range s.nodes {
				if n.id == m.ID && (n.http != m.HTTP || n.peer != m.Peer || n.wiped && n.lost == m.Incarnation) {
					return fmt.Errorf("%s is at %s and %s, and the record says %s and %s, and the directory %s", n.id, n.http, n.peer, m.HTTP, m.Peer, m.Incarnation)
				}
			}
		}
		for _, n := range s.nodes {
			if status, err := s.askOne(n, "GET", "/readyz"); status != 200 {
				return fmt.Errorf("%s is not ready: %d %v", n.id, status, err)
			}
		}
		for _, n := range s.nodes {
			n.wiped = false
		}
		return nil
	})
}

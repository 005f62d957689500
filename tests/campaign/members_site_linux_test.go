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
	token               string // file with the token by which it joins; "": it began the cluster
	wiped               bool   // its disk was lost, and it has not come back
	lost                string // the data directory that it had then, as the record said
}

// membersSite is the processes of a cluster that began with one node.
type membersSite struct {
	t     *testing.T
	dir   string
	nodes []*membersNode // that are members
	count int            // nodes that there ever were
	named string         // the cluster's name; "": the default one
	made  int            // changes of the members

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
	if s.named != "" {
		arguments = append(arguments, "--cluster-id", s.named)
	}
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

// wipe takes a node's disk, and returns where it is.
func (s *membersSite) wipe(n *membersNode) (old string) {
	s.t.Helper()
	for _, m := range s.members().Members {
		if m.ID == n.id {
			n.wiped, n.lost = true, m.Incarnation
		}
	}
	old = fmt.Sprintf("%s.old%d", n.dir, s.made)
	if err := os.Rename(n.dir, old); err != nil {
		s.t.Fatal(err)
	}
	s.made += 3 // the old directory goes, the new one comes, and it gets its vote back
	return old
}

// startAside starts a node's old directory at other addresses beside the node, and wants it
// turned away: it ends with code 6.
func (s *membersSite) startAside(n *membersNode, old string) {
	s.t.Helper()
	ghost := &membersNode{id: n.id, dir: old}
	s.move(ghost)
	defer s.leavePlace(ghost)
	begun := time.Now()
	s.launch(ghost, "--peer", ghost.peer, "--join", s.others(n))
	if code := ghost.process.ExitCode(cluster.Patience); code != 6 {
		s.t.Errorf("the old directory of %s ends with code %d after %v", n.id, code, time.Since(begun))
	}
	if err := os.RemoveAll(old); err != nil {
		s.t.Fatal(err)
	}
}

// others returns the client addresses of the other nodes.
func (s *membersSite) others(n *membersNode) string {
	var all []string
	for _, m := range s.nodes {
		if m != n {
			all = append(all, m.http)
		}
	}
	return strings.Join(all, ",")
}

// start starts a node that is a member or is to be one. One that has a record, or has lost its
// disk, needs no token.
func (s *membersSite) start(n *membersNode, more ...string) {
	s.t.Helper()
	arguments := append([]string{"--peer", n.peer, "--join", s.others(n)}, more...)
	switch {
	case n.wiped:
		arguments = append(arguments, "--replace", n.id)
	case n.token != "":
		arguments = append(arguments, "--join-token-file", n.token)
	}
	s.launch(n, arguments...)
}

// join adds a node by a token, and makes a voter of it when it has caught up.
func (s *membersSite) join() {
	s.t.Helper()
	n := s.node()
	var token api.JoinToken
	cluster.Eventually(s.t, cluster.Patience, func() error {
		status, body := s.ask("POST", "/v1/join-tokens", fmt.Sprintf(`{"for":%q}`, n.id))
		if status != 201 {
			return fmt.Errorf("a token: %d %s", status, body)
		}
		return json.Unmarshal([]byte(body), &token)
	})
	n.token = n.dir + ".token"
	if err := os.WriteFile(n.token, []byte(token.Token), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.start(n)
	s.nodes = append(s.nodes, n)
	s.made += 2 // it joins, and gets a vote
}

// moveAll gives nodes other addresses while they are down, all at once, and starts them again:
// they look for each other at the addresses, which say nothing of which node is where.
func (s *membersSite) moveAll(nodes ...*membersNode) {
	s.t.Helper()
	for _, n := range nodes {
		n.process.Kill()
	}
	var peers []string
	for _, n := range nodes {
		s.move(n)
		peers = append(peers, n.peer)
	}
	for _, n := range nodes {
		s.start(n, "--discover", strings.Join(peers, ","))
	}
	s.made++
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

// members asks for the members.
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

package system

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"raftkv/tests/cluster"
)

// askAs sends a GET that is addressed to a host, and returns the status.
func askAs(t *testing.T, address, host string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address+"/livez", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// Goal: the flags that guard a node's door do what they say: it answers to its
// own names only, and the operator's port changes the log at run time and is
// open to nobody else.
// Method: one node with all of them; and an operator's port that would be open
// to the network.
func TestTheDoorOfANode(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 1, "--allowed-hosts", "kv.example, other.example:80", "--admin-addr", "127.0.0.1:0", "--log-level", "info")
	s := c.Nodes[0]
	for host, want := range map[string]int{s.HTTP: 200, "localhost": 200, "kv.example": 200, "other.example": 200, "evil.example": 403} {
		if got := askAs(t, s.HTTP, host); got != want {
			t.Errorf("Host %s: status %d, want %d", host, got, want)
		}
	}
	s.Says("serving the operator", cluster.Patience)
	found := regexp.MustCompile(`admin=(127\.0\.0\.1:\d+)`).FindStringSubmatch(s.Output.String())
	if found == nil {
		t.Fatalf("does not say where the operator connects: %s", s.Output)
	}
	admin := &cluster.Node{Cluster: c, ID: "admin", HTTP: found[1], Process: s.Process}
	if got := admin.Must(200, "PUT", "/v1/log-level", "error"); got != "error\n" {
		t.Errorf("the level is %q", got)
	}
	admin.Must(200, "GET", "/debug/pprof/goroutine?debug=1", "")
	admin.Must(404, "GET", "/v1/kv/k", "")
	s.Must(404, "GET", "/debug/pprof/goroutine", "")
	s.Must(404, "PUT", "/v1/log-level", "debug")

	for _, arguments := range [][]string{
		{"--admin-addr", "0.0.0.0:0"}, {"--max-connections", "0"}, {"--max-in-flight", "-1"}, {"--max-connections-per-ip", "-1"},
	} {
		other := cluster.New(t, 1, arguments...)
		p := cluster.Launch(t, "refused", nil, other.Nodes[0].CommandLine()...)
		if code := p.ExitCode(cluster.Patience); code != 2 || !strings.Contains(p.Output.String(), arguments[0]) {
			t.Errorf("%v: exit code %d, %s", arguments, code, p.Output)
		}
	}
}

// Goal: connections beyond what a node may have come in all the same while
// others keep it waiting.
// Method: a node with few places, twice as many connections that send a byte a
// second, and one honest client.
func TestSlowConnectionsDoNotLockOthersOut(t *testing.T) {
	c := cluster.Start(t, 1, "--max-connections", "100")
	s := c.Nodes[0]
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int64)
	go func() { done <- cluster.Drip(ctx, s.HTTP, 200, 0) }()
	defer func() { stop(); <-done }()
	served := 0
	cluster.Eventually(t, cluster.Patience, func() error {
		if status, _, _, err := s.Ask("PUT", fmt.Sprintf("/v1/kv/%d", served), "v"); err == nil && status == 201 {
			served++
		}
		if served < 50 {
			return fmt.Errorf("%d writes of the honest client were served", served)
		}
		return nil
	})
	cluster.Eventually(t, cluster.Patience, func() error {
		status, err := s.Status()
		if err == nil && (status.Load.Connections.Evicted == 0 || status.Load.Connections.Open > 100) {
			err = fmt.Errorf("connections: %+v", status.Load.Connections)
		}
		return err
	})
}

// Goal: a node that was given no admin port has none, and its profiles and its log
// level are nowhere else.
// Method: the sockets on which the process listens are those for clients and for
// peers; the paths are not on the client port.
func TestThereIsNoAdminPortByDefault(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 1)
	s := c.Nodes[0]
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/v1/log-level"} {
		s.Must(404, "GET", path, "")
	}
	s.Must(404, "PUT", "/v1/log-level", "debug")
	if got := listening(t, s.Command.Process.Pid); got != 2 {
		t.Errorf("the node listens on %d sockets, want 2", got)
	}
	withAdmin := cluster.Start(t, 1, "--admin-addr", "127.0.0.1:0").Nodes[0]
	if got := listening(t, withAdmin.Command.Process.Pid); got != 3 {
		t.Errorf("void: with an admin port it listens on %d sockets, want 3", got)
	}
}

// listening counts the TCP sockets on which a process listens.
func listening(t *testing.T, pid int) (count int) {
	t.Helper()
	sockets, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(sockets) == 0 {
		t.Skip("SKIPPED, NOTHING WAS TESTED: this system does not show the sockets of a process")
	}
	own := map[string]bool{}
	for _, fd := range sockets {
		if name, err := os.Readlink(fd); err == nil && strings.HasPrefix(name, "socket:[") {
			own[strings.Trim(name, "socket:[]")] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table)) // there may be no IPv6
		for line := range strings.Lines(string(text)) {
			const state, inode, listen = 3, 9, "0A"
			if fields := strings.Fields(line); len(fields) > inode && fields[state] == listen && own[fields[inode]] {
				count++
			}
		}
	}
	return count
}

package clerkd

import (
	"flag"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"raftkv/kvserver"
	"raftkv/kvserver/httpd"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/internal/pipenet"
	"raftkv/kvserver/metrics"
	"raftkv/kvserver/port"
	"raftkv/tests/virtual"
)

// TestMain runs the tests and then waits until no goroutine of this package is
// left; one that stays is a leak.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	deadline := time.Now().Add(time.Minute)
	for code == 0 {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		leaked := ""
		for _, stack := range strings.Split(string(stacks), "\n\n")[1:] {
			if strings.Contains(stack, "raftkv/kvserver/") {
				leaked = stack
			}
		}
		if leaked == "" {
			break
		}
		if time.Now().After(deadline) {
			fmt.Printf("a goroutine is left after the tests:\n%s\n", leaked)
			code = 1
		}
		time.Sleep(time.Millisecond)
	}
	os.Exit(code)
}

// testServer is a server with the doors that Clerks come through, as a node wires
// them: a connection begins at the door of HTTP.
type testServer struct {
	*kvserver.Server
	port     *port.Port
	http     *httpd.Door
	clerks   *Door
	registry *prometheus.Registry // of what is measured
}

// settings are what a testServer is made of.
type settings = kvserver.Config

// newServer starts a server named n1 over a fake log. When the test ends the
// server is closed, and nothing may be left of any request.
func newServer(t *testing.T, change func(*settings)) (*testServer, *fakelog.Log) {
	t.Helper()
	log := fakelog.New("n1")
	return newServerOver(t, log, change), log
}

func newServerOver(t *testing.T, log *fakelog.Log, change func(*settings)) *testServer {
	t.Helper()
	s := &testServer{registry: prometheus.NewRegistry()}
	measures := metrics.New(s.registry)
	c := settings{
		NodeID: string(log.Status().ID), ClusterID: "c1", Build: "test",
		Consensus: log, ApplyCh: log.ApplyCh, Observer: measures,
		ClientAddr: func(string) string { return "" },
		Logger:     slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&c)
	}
	var err error
	if s.Server, err = kvserver.New(c); err != nil {
		t.Fatal(err)
	}
	s.port = port.New(port.Config{MaxConnections: c.MaxConnections, Problem: func(err error) []byte { return s.http.Problem(err) }, Logger: c.Logger})
	s.clerks = New(s.Server, measures)
	measures.Show(s.Server, func() int { open, _, _ := s.port.Counts(); return open })
	peers := httpd.NewPeers(httpd.PeersConfig{NodeID: c.NodeID, ClusterID: c.ClusterID, ClientAddr: c.ClientAddr, Logger: c.Logger})
	s.http = httpd.New(s.Server, s.port, peers, httpd.Config{AllowedHosts: []string{"example.com", "kv", "n1", "n2", "n3"}, Clerks: s.clerks})
	t.Cleanup(func() {
		s.Close()
		if n := s.Machine().Pending(); n != 0 {
			t.Errorf("%d writes are still waiting at the end", n)
		}
		for class := kvserver.Writes; class <= kvserver.Scrapes; class++ {
			if l := s.Load(class); l.Count != 0 || l.Bytes != 0 || l.Waiting != 0 {
				t.Errorf("%+v of the %s are still there at the end", l, class)
			}
		}
		if left := s.Bodies().Used(); left != 0 {
			t.Errorf("%d bytes of bodies are still held at the end", left)
		}
	})
	return s
}

// Close ends the server and its doors, in a node's order.
func (s *testServer) Close() {
	s.Server.Close()
	s.clerks.Close()
}

// serveHTTP serves s on a loopback port with the limits of production.
func serveHTTP(t *testing.T, s *testServer) *httptest.Server {
	t.Helper()
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = port.NewServer(s.http.Handler())
	ts.Listener = s.port.Listener(ts.Listener)
	ts.Start()
	t.Cleanup(ts.Close)
	return ts
}

// servePipes serves s on a network in memory until the test ends.
func servePipes(t *testing.T, s *testServer) *pipenet.Net {
	t.Helper()
	return pipenet.Serve(t, port.NewServer(s.http.Handler()), s.port.Listener)
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	virtual.Time(t, test)
}

// stored returns what the store of s has under key.
func stored(s *testServer, key string) string {
	r := s.Machine().Get(key)
	if !r.Found {
		return "(none)"
	}
	return string(r.Item.Value)
}

// stateOf is the hash of the store, for tests that say "nothing changed".
func stateOf(s *testServer) [32]byte { return s.Machine().Freeze().Hash() }

package httpd

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkd"
	"raftkv/kvserver/httpd/page"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/internal/pipenet"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/metrics"
	"raftkv/kvserver/port"
	"raftkv/kvserver/recorder"
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

// testServer is a server with both doors, as a node wires them.
type testServer struct {
	*kvserver.Server
	door     *Door
	port     *port.Port
	peers    *Peers
	clerks   *clerkd.Door
	frames   *clerkd.Forwarder    // nil: writes go to the leader over HTTP
	registry *prometheus.Registry // of what is measured; nil: nothing is
	measures *metrics.Metrics
	recorder *recorder.Recorder
}

// settings are what a testServer is made of.
type settings struct {
	kvserver.Config
	MaxConnectionsPerIP    int
	AllowedHosts           []string
	bodyGrace, answerGrace time.Duration
	unmeasured             bool
	frames                 bool // writes go to the leader as commands
	uid                    func() string
	patience               time.Duration // with other nodes; 0: the usual
	Describe               func(*api.Status)
	page                   page.Mode // "": on
}

// Handler is that of the client port.
func (s *testServer) Handler() http.Handler { return s.door.Handler() }

// Close ends the server and its doors, in a node's order.
func (s *testServer) Close() {
	s.Server.Close()
	s.clerks.Close()
	if s.frames != nil {
		s.frames.Close()
	}
	s.peers.Close()
}

// newServer starts a server named n1 over a fake log. When the test ends the
// server is closed, and nothing may be left of any request.
func newServer(t *testing.T, change func(*settings)) (*testServer, *fakelog.Log) {
	t.Helper()
	log := fakelog.New("n1")
	return newServerOver(t, log, change), log
}

func newServerOver(t *testing.T, log *fakelog.Log, change func(*settings)) *testServer {
	t.Helper()
	c := settings{Config: kvserver.Config{
		NodeID: string(log.Status().ID), ClusterID: "c1", Build: "test",
		Consensus: log, ApplyCh: log.ApplyCh,
		ClientAddr: func(string) string { return "" },
		Logger:     slog.New(slog.DiscardHandler),
	}, AllowedHosts: []string{"example.com", "kv"}} // what the tests' requests are addressed to
	if change != nil {
		change(&c)
	}
	s, err := wired(c)
	if err != nil {
		t.Fatal(err)
	}
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
		for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() {
			gate, _, _ := s.port.Held()
			if gate == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("%d connections are still in the gate at the end", gate)
				break
			}
		}
		if left := s.Bodies().Used(); left != 0 {
			t.Errorf("%d bytes of bodies are still held at the end", left)
		}
	})
	return s
}

// wired makes a server and its doors as a node does.
func wired(c settings) (*testServer, error) {
	s := &testServer{recorder: recorder.New(recorder.Section{Node: c.NodeID, Boot: 1, Names: append([]string{c.NodeID}, c.Peers...)}, nil, time.Now())}
	s.port = port.New(port.Config{
		MaxConnections: c.MaxConnections, MaxPerIP: c.MaxConnectionsPerIP, BodyGrace: c.bodyGrace, AnswerGrace: c.answerGrace,
		Problem: func(err error) []byte { return s.door.Problem(err) }, Logger: c.Logger,
		Strict: func() bool { return s.Gate().State() == auth.Enforcing },
	})
	prove := func(to string) string { return s.LinkProof(to) }
	s.peers = NewPeers(PeersConfig{
		NodeID: c.NodeID, ClusterID: c.ClusterID, UID: c.uid, Patience: c.patience, Peers: c.Peers, ClientAddr: c.ClientAddr,
		MaxConnections: PeerConnections(s.port.MaxConnections()), Shortage: s.port.MakeRoom, Logger: c.Logger, Prove: prove,
	})
	c.AskDigests = s.peers.AskDigests
	door := Config{AllowedHosts: c.AllowedHosts, Page: cmp.Or(c.page, page.On), Describe: c.Describe, Recorder: s.recorder}
	if !c.unmeasured {
		s.registry = prometheus.NewRegistry()
		s.measures = metrics.New(s.registry)
		c.Config.Observer, door.Observer, door.Metrics = s.measures, s.measures, s.measures.Handler()
	}
	var err error
	if s.Server, err = kvserver.New(c.Config); err != nil {
		return nil, err
	}
	if s.measures == nil {
		s.clerks = clerkd.New(s.Server, nil)
	} else {
		s.clerks = clerkd.New(s.Server, s.measures)
		s.measures.Show(s.Server, func() int { open, _, _ := s.port.Counts(); return open })
	}
	door.Clerks = s.clerks
	if c.frames {
		// A busy machine must not send a command over HTTP that a test wants in a frame.
		s.frames = clerkd.NewForwarder(clerkd.ForwarderConfig{
			NodeID: c.NodeID, ClusterID: c.ClusterID, UID: c.uid, ClientAddr: c.ClientAddr, Patience: time.Minute, Logger: c.Logger, Prove: prove,
		})
		door.Forwarder = s.frames
	}
	s.door = New(s.Server, s.port, s.peers, door)
	return s, nil
}

// serveHTTP serves s on a loopback port with the limits of production.
func serveHTTP(t *testing.T, s *testServer) *httptest.Server {
	t.Helper()
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = s.door.Server()
	ts.Listener = s.port.Listener(ts.Listener)
	ts.Start()
	t.Cleanup(ts.Close)
	return ts
}

// servePipes serves s on a network in memory until the test ends.
func servePipes(t *testing.T, s *testServer) *pipenet.Net {
	t.Helper()
	return pipenet.Serve(t, s.door.Server(), s.port.Listener)
}

// answer is an HTTP answer, read whole.
type answer struct {
	status int
	header http.Header
	body   string
	asked  http.Header // of the request, where it is known
}

// ask gives one request to the handler, without a network.
func ask(s *testServer, method, target, body string, header ...string) answer {
	// A stream that is let in where it should not be would never end, in virtual time.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Hour)
	defer cancel()
	return askCtx(ctx, s, method, target, body, header...)
}

func askCtx(ctx context.Context, s *testServer, method, target, body string, header ...string) answer {
	r := httptest.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if method == "PUT" || method == "POST" {
		// net/http leaves this header in place; httptest does not put it there.
		r.Header.Set("Content-Length", fmt.Sprint(len(body)))
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String(), r.Header}
}

// send gives one request to a server on the network.
func send(t *testing.T, method, url, body string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	response, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return readAnswer(t, response)
}

func readAnswer(t *testing.T, response *http.Response) answer {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: response.StatusCode, header: response.Header, body: string(body)}
	if response.Request != nil {
		a.asked = response.Request.Header
	}
	return a
}

// wantProblem checks that an answer is a problem document with these
// properties, and that everything a problem says is said and agrees.
func wantProblem(t *testing.T, a answer, status int, code api.Code, outcome api.Outcome) api.Problem {
	t.Helper()
	return wantProblemThat(t, a, status, code, outcome, false)
}

// wantSilentProblem is wantProblem for an answer that says nothing of the cluster.
func wantSilentProblem(t *testing.T, a answer, status int, code api.Code, outcome api.Outcome) api.Problem {
	t.Helper()
	return wantProblemThat(t, a, status, code, outcome, true)
}

func wantProblemThat(t *testing.T, a answer, status int, code api.Code, outcome api.Outcome, silent bool) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Errorf("status %d with a body that is no problem document: %v\n%s", a.status, err, a.body)
		return p
	}
	if a.status != status || p.Code != code || p.Outcome != outcome {
		t.Errorf("answered %d %s %q (%s), want %d %s %q", a.status, p.Code, p.Outcome, p.Detail, status, code, outcome)
	}
	// About the cluster; a page of another site is told of it while identities are not enforced.
	silent = silent || code == api.CodeUnauthenticated || code == api.CodeForbidden && p.Node == ""
	if p.Status != a.status || p.Title == "" || p.Type == "" || p.Detail == "" || (p.Node == "") != silent || p.RequestID == "" {
		t.Errorf("the problem is incomplete: %+v", p)
	}
	want := string(code)
	if outcome != "" {
		want += "; outcome=" + string(outcome)
	}
	for name, value := range map[string]string{
		"Content-Type": api.MediaProblem, api.HeaderError: want, api.HeaderNode: p.Node, api.HeaderLeader: p.Leader,
		api.HeaderTerm: strings.TrimSuffix(fmt.Sprint(p.Term), map[bool]string{true: "0"}[silent]), api.HeaderRequestID: p.RequestID, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
	} {
		if got := a.header.Get(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if soon := status == 429 || status == 503; soon != (a.header.Get("Retry-After") != "") {
		t.Errorf("status %d with Retry-After %q", status, a.header.Get("Retry-After"))
	}
	if p.Retryable && outcome == api.OutcomeUnknown && a.asked.Get(api.HeaderIdempotencyKey) == "" {
		t.Error("a write of unknown outcome is said to be safe to send again")
	}
	return p
}

func wantStatus(t *testing.T, a answer, status int) {
	t.Helper()
	if a.status != status {
		t.Errorf("answered %d %s, want %d", a.status, a.body, status)
	}
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

// contentOf describes what a store holds, wherever in the log it stands.
func contentOf(s *testServer) string {
	view := s.Machine().Freeze()
	var b strings.Builder
	fmt.Fprintf(&b, "revision %d", view.Revision())
	view.Ascend("", "", func(key string, item kv.Item) bool {
		fmt.Fprintf(&b, ", %q = %q (%d, %d)", key, item.Value, item.Revision, item.Version)
		return true
	})
	return b.String()
}

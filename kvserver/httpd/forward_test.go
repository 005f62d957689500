package httpd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/port"
	"raftkv/raft"
)

// pair is a follower n1 that forwards to a leader n2, both on loopback ports.
type pair struct {
	follower, leader       *testServer
	followerLog, leaderLog *fakelog.Log
	url                    string // of the follower
	address                atomic.Value
	reached                atomic.Int64 // requests that came to the leader
	connected              atomic.Int64 // connections likewise
}

func newPair(t *testing.T) *pair {
	t.Helper()
	return newPairWith(t, func(*settings) {})
}

// newPairWith is newPair with other settings of both.
func newPairWith(t *testing.T, change func(*settings)) *pair {
	t.Helper()
	p := &pair{leaderLog: fakelog.New("n2")}
	p.leader = newServerOver(t, p.leaderLog, change)
	leaderPort := httptest.NewUnstartedServer(nil)
	leaderPort.Config = port.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.reached.Add(1)
		p.leader.Handler().ServeHTTP(w, r)
	}))
	leaderPort.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			p.connected.Add(1)
		}
	}
	leaderPort.Start()
	t.Cleanup(leaderPort.Close)
	p.address.Store(leaderPort.Listener.Addr().String())
	p.follower, p.followerLog = newServer(t, func(c *settings) { p.config(c); change(c) })
	p.followerLog.SetLeader("n2")
	p.url = serveHTTP(t, p.follower).URL
	return p
}

// config makes a server look for the leader at p.address.
func (p *pair) config(c *settings) {
	// On a busy machine a single try may take longer than clients are to wait.
	c.LeaderWait, c.RequestTimeout = time.Minute, time.Minute
	c.ClientAddr = func(string) string { return p.address.Load().(string) }
}

// newFollowerOf starts a follower of whatever listens at address.
func newFollowerOf(t *testing.T, address string, change func(*settings)) (*testServer, *fakelog.Log) {
	t.Helper()
	s, log := newServer(t, func(c *settings) {
		c.LeaderWait = 100 * time.Millisecond
		c.ClientAddr = func(string) string { return address }
		if change != nil {
			change(c)
		}
	})
	log.SetLeader("n2")
	return s, log
}

// listener accepts connections on a loopback port and gives each to serve, with
// the request line that was read from it.
func listener(t *testing.T, serve func(conn net.Conn, request *http.Request)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if request, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				serve(conn, request)
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// deadAddress is an address at which nothing listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Goal: a call that takes no body may come to a follower, which passes it on as a request
// whose length is not known. Method: each of them by chunks of nothing, of which none may be
// refused for its body, and by a chunk of something, of which each must be.
func TestChunksOfNothingAreNoBody(t *testing.T) {
	s, log := newServer(t, atLevel3)
	log.SetLeader("n1")
	for _, target := range []string{"/v1/kv/k?op=touch&ttl=10s", "/v1/leases/7/keepalive", "/v1/members/n2?op=promote"} {
		for _, body := range []string{"", "x"} {
			r := httptest.NewRequest("POST", target, struct{ io.Reader }{strings.NewReader(body)})
			if r.ContentLength != -1 {
				t.Fatalf("void: the length is known, %d", r.ContentLength)
			}
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if refused := strings.Contains(w.Body.String(), "no body"); refused != (body != "") {
				t.Errorf("POST %s with %q: %d %s", target, body, w.Code, w.Body)
			}
		}
	}
}

// Goal: a write at a follower is answered as if it had been sent to the leader:
// same key, same value, same status, header and body.
// Method: every kind of write through both, with an awkward key.
func TestAFollowerPassesWritesOnUnchanged(t *testing.T) {
	p := newPair(t)
	key := "/v1/kv/a%2Fb//..%00%ff/"
	big := strings.Repeat("0123456789abcdef", 40_000)
	steps := []struct {
		method, target, body string
		status               int
	}{
		{"PUT", key, "v1", 201},
		{"PUT", key, "v2", 200},
		{"POST", key + "?op=append", "+more", 200},
		{"PUT", "/v1/kv/empty", "", 201},
		{"PUT", "/v1/kv/big", big, 201},
		{"POST", "/v1/kv/big?op=append", strings.Repeat("x", api.DefaultMaxValueBytes), 413},
		{"DELETE", key, "", 204},
		{"DELETE", key, "", 204},
	}
	for _, step := range steps {
		a := send(t, step.method, p.url+step.target, step.body, api.HeaderRequestID, "my-name")
		wantStatus(t, a, step.status)
		if a.header.Get(api.HeaderNode) != "n2" || a.header.Get(api.HeaderRequestID) != "my-name" {
			t.Errorf("%s: answered by %q for %q", step.method, a.header.Get(api.HeaderNode), a.header.Get(api.HeaderRequestID))
		}
		switch {
		case step.method == "DELETE" && a.header.Get(api.HeaderDeleted) == "":
			t.Errorf("DELETE: header %v", a.header)
		case step.method != "DELETE" && step.status < 300 && (a.header.Get("ETag") == "" || !strings.Contains(a.body, `"revision":`)):
			t.Errorf("%s: header %v, body %s", step.method, a.header, a.body)
		case step.status == 413:
			wantProblem(t, a, 413, api.CodeValueTooLarge, api.OutcomeNotApplied)
		}
	}
	if got := stored(p.leader, "big"); got != big {
		t.Errorf("the leader has %d bytes, want %d", len(got), len(big))
	}
	if got := stored(p.leader, "a/b//..\x00\xff/"); got != "(none)" {
		t.Errorf("the leader has %q", got)
	}
	if n := p.reached.Load(); n != int64(len(steps)) {
		t.Errorf("%d requests came to the leader for %d", n, len(steps))
	}
	if n := p.followerLog.Attempts(); n != 0 {
		t.Errorf("the follower proposed %d commands itself", n)
	}
}

// Goal: a request that was forwarded once goes no further, and a node of
// another cluster does not take it.
// Method: send what a forwarding node would send.
func TestAForwardedRequestGoesNoFurther(t *testing.T) {
	p := newPair(t)
	a := send(t, "PUT", p.url+"/v1/kv/k", "v", api.HeaderForwarded, "n3", api.HeaderCluster, "c1")
	wantProblem(t, a, 503, api.CodeNoLeader, api.OutcomeNotApplied)
	a = send(t, "POST", p.url+"/v1/leader", "{}", "Content-Type", "application/json", api.HeaderForwarded, "n3", api.HeaderCluster, "c1")
	wantProblem(t, a, 503, api.CodeNoLeader, api.OutcomeNotApplied)
	if p.reached.Load() != 0 {
		t.Error("the request was forwarded a second time")
	}
	wantProblem(t, ask(p.leader, "PUT", "/v1/kv/k", "v", api.HeaderForwarded, "n3", api.HeaderCluster, "c2"),
		503, api.CodeNoLeader, api.OutcomeNotApplied)
	wantStatus(t, ask(p.leader, "PUT", "/v1/kv/k", "v", api.HeaderForwarded, "n3", api.HeaderCluster, "c1"), 201)
}

// Goal (audit 15): a write that is forwarded goes to no other cluster of the same name, by
// either road, nor does anything else that nodes ask of each other. Method: the leader's
// client address leads to a node with the right id and name, and another uid, or none yet.
func TestAForwardedWriteGoesToNoOtherClusterOfTheSameName(t *testing.T) {
	own := raft.UID{1}
	for name, uid := range map[string]raft.UID{"another": {2}, "none yet": {}} {
		for _, frames := range []bool{true, false} {
			p := newPairWith(t, func(c *settings) {
				c.frames, c.LeaderWait = frames, time.Millisecond
				c.uid = func() string { return own.String() }
			})
			p.leaderLog.Set(func(s *raft.Status) { s.UID = uid })
			p.followerLog.Set(func(s *raft.Status) { s.UID = own })
			wantProblem(t, ask(p.follower, "PUT", "/v1/kv/k", "v"), 503, api.CodeNoLeader, api.OutcomeNotApplied)
			if n := p.leaderLog.Attempts(); n != 0 {
				t.Errorf("%s, frames %v: the other cluster took the write", name, frames)
			}
			if status, err := p.follower.peers.Ask(t.Context(), "n2", "GET", "/v1/integrity?at=1", nil, new(api.Digest)); err != nil || (status == 200) != (uid == raft.UID{}) {
				t.Errorf("%s: asked for a digest it answers %d, %v", name, status, err)
			}
			p.leaderLog.Set(func(s *raft.Status) { s.UID = own })
			wantStatus(t, ask(p.follower, "PUT", "/v1/kv/k", "v"), 201)
		}
	}
}

// Goal: while no connection can be made, nothing happened, and the node goes on
// looking for a leader.
// Method: nothing listens at the leader's address, or no address is known; then
// in the second half the leader appears where it should be.
func TestALeaderThatCannotBeReachedIsNoLeader(t *testing.T) {
	for _, address := range []string{deadAddress(t), ""} {
		s, _ := newFollowerOf(t, address, nil)
		wantProblem(t, ask(s, "PUT", "/v1/kv/k", "v"), 503, api.CodeNoLeader, api.OutcomeNotApplied)
		wantProblem(t, ask(s, "DELETE", "/v1/kv/k", ""), 503, api.CodeNoLeader, api.OutcomeNotApplied)
	}
	p := newPair(t)
	alive := p.address.Swap(deadAddress(t))
	var asked atomic.Int64
	p.follower.peers.config.ClientAddr = func(string) string {
		if asked.Add(1) == 3 {
			p.address.Store(alive)
		}
		return p.address.Load().(string)
	}
	wantStatus(t, ask(p.follower, "PUT", "/v1/kv/k", "v"), 201)
	if p.reached.Load() != 1 {
		t.Errorf("%d requests came to the leader", p.reached.Load())
	}
}

// Goal: once the request may have left, its outcome is unknown, and it is not
// sent again, by this program or by net/http.
// Method: a leader that reads the request and then breaks off in various ways.
func TestAnAnswerThatIsLostLeavesTheOutcomeUnknown(t *testing.T) {
	header := "HTTP/1.1 200 OK\r\n" + api.HeaderNode + ": n2\r\n"
	cases := []struct {
		name, sent string
	}{
		{"nothing is answered", ""},
		{"half a status line", "HTTP/1.1 2"},
		{"half a header", header},
		{"half a body", header + "Content-Length: 100\r\n\r\n{"},
		{"too long a body", header + "Content-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000)},
		{"not a node", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var requests atomic.Int64
			address := listener(t, func(conn net.Conn, _ *http.Request) {
				requests.Add(1)
				conn.Write([]byte(c.sent))
			})
			s, _ := newFollowerOf(t, address, nil)
			for i, method := range []string{"PUT", "DELETE"} {
				body := map[string]string{"PUT": "v"}[method]
				wantProblem(t, ask(s, method, "/v1/kv/k", body), 504, api.CodeLeadershipLost, api.OutcomeUnknown)
				if n := requests.Load(); n != int64(i+1) {
					t.Errorf("the request was sent %d times", n)
				}
			}
		})
	}
}

// Goal: a leader that does not answer in time leaves the outcome unknown, and
// so does a node that stops meanwhile.
// Method: a leader that keeps the request; the time-out is short, or long while
// the follower is closed.
func TestALeaderThatKeepsSilentLeavesTheOutcomeUnknown(t *testing.T) {
	silent := func(t *testing.T) (address string, has chan struct{}) {
		has = make(chan struct{}, 1)
		release := make(chan struct{})
		address = listener(t, func(net.Conn, *http.Request) { has <- struct{}{}; <-release })
		t.Cleanup(func() { close(release) })
		return address, has
	}
	address, _ := silent(t)
	// On a busy machine the time may be over before the leader has the request.
	// Then nothing has happened, and it is for the next one.
	for timeout := 50 * time.Millisecond; ; timeout *= 2 {
		s, _ := newFollowerOf(t, address, func(c *settings) { c.RequestTimeout = timeout })
		a := ask(s, "PUT", "/v1/kv/k", "v")
		if a.status == 504 || timeout > time.Minute {
			wantProblem(t, a, 504, api.CodeTimeout, api.OutcomeUnknown)
			break
		}
	}

	address, has := silent(t)
	s, _ := newFollowerOf(t, address, func(c *settings) { c.LeaderWait = time.Minute })
	answered := later(func() answer { return ask(s, "PUT", "/v1/kv/k", "v") })
	<-has
	s.Close()
	wantProblem(t, <-answered, 504, api.CodeStopping, api.OutcomeUnknown)
}

// Goal: a node that answers "I do not lead" or "I am stopping" has done nothing,
// so the follower looks on; other refusals are passed on.
// Method: the leader refuses once in each way, then serves.
func TestARefusalByAFormerLeaderIsTriedAgain(t *testing.T) {
	p := newPair(t)
	var once atomic.Bool
	refuse := raft.ErrNotLeader
	p.leaderLog.OnPropose = func(proposal *raft.Proposal) {
		if once.CompareAndSwap(false, true) {
			proposal.Failed(refuse)
			return
		}
		p.leaderLog.Choose(proposal)
	}
	for i, err := range []error{raft.ErrNotLeader, raft.ErrStopped, raft.ErrTransferring} {
		refuse = err
		once.Store(false)
		before := p.reached.Load()
		wantStatus(t, ask(p.follower, "POST", "/v1/kv/k?op=append", "x"), 200)
		if got := stored(p.leader, "k"); got != strings.Repeat("x", i+1) {
			t.Errorf("after %v the leader has %q", err, got)
		}
		if n := p.reached.Load() - before; n != 2 {
			t.Errorf("after %v the leader was asked %d times, want 2", err, n)
		}
	}
	p.leaderLog.OnPropose = func(proposal *raft.Proposal) { proposal.Failed(raft.ErrOverloaded) }
	a := ask(p.follower, "PUT", "/v1/kv/k", "v")
	if wantProblem(t, a, 429, api.CodeOverloaded, api.OutcomeNotApplied).Node != "n2" {
		t.Error("the refusal is not the leader's own")
	}
}

// Goal: connections are kept for the next request, and one that the leader
// closed meanwhile costs no request its certainty for long: each write is
// applied exactly once or refused.
// Method: write, restart the leader's port, write again through the follower.
func TestAKeptConnectionThatDiedDoublesNothing(t *testing.T) {
	p := newPair(t)
	for range 3 {
		wantStatus(t, ask(p.follower, "POST", "/v1/kv/k?op=append", "x"), 200)
	}
	applied := 3
	for range 5 {
		second := httptest.NewUnstartedServer(nil)
		second.Config = port.NewServer(p.leader.Handler())
		second.Start()
		p.address.Store(second.Listener.Addr().String())
		wantStatus(t, ask(p.follower, "POST", "/v1/kv/k?op=append", "x"), 200)
		applied++
		second.CloseClientConnections()
		// The follower may or may not have noticed yet.
		a := ask(p.follower, "POST", "/v1/kv/k?op=append", "x")
		switch a.status {
		case 200:
			applied++
		case 503:
			wantProblem(t, a, 503, api.CodeNoLeader, api.OutcomeNotApplied)
		default:
			if wantProblem(t, a, 504, api.CodeLeadershipLost, api.OutcomeUnknown); len(stored(p.leader, "k")) == applied+1 {
				applied++
			}
		}
		second.Close()
	}
	if got := len(stored(p.leader, "k")); got != applied {
		t.Errorf("%d appends took effect, want %d", got, applied)
	}
}

// Goal: a crowd at a follower does not become a crowd of connections: writes
// wait for one of a bounded number, and all are served.
// Method: more writes than that at once, which the leader holds until all are
// under way; it counts the connections that come to it.
func TestAFollowerOpensABoundedNumberOfConnections(t *testing.T) {
	// On a busy machine it takes a while until all are there.
	p := newPairWith(t, func(c *settings) { c.RequestTimeout = time.Minute })
	// Some hundred connections at once may take longer to make on a busy machine
	// than a leader is given.
	p.follower.peers.transport.DialContext = func(_ context.Context, network, address string) (net.Conn, error) {
		conn, err := net.Dial(network, address)
		return &leaderConn{Conn: conn}, err
	}
	held := make(chan *raft.Proposal, 2*DefaultPeerConnections)
	p.leaderLog.OnPropose = func(proposal *raft.Proposal) { held <- proposal }
	const writes = DefaultPeerConnections + 100
	answered := make(chan answer, writes)
	for i := range writes {
		go func() { answered <- ask(p.follower, "PUT", "/v1/kv/"+strconv.Itoa(i), "v") }()
	}
	var came []*raft.Proposal
	for len(came) < DefaultPeerConnections {
		select {
		case proposal := <-held:
			came = append(came, proposal)
		case early := <-answered:
			t.Fatalf("a write was answered while the leader held %d: %d %s", len(came), early.status, early.body)
		}
	}
	for deadline := time.Now().Add(time.Minute); p.follower.Load(kvserver.Writes).Count < writes; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", p.follower.Load(kvserver.Writes))
		}
	}
	for _, proposal := range came {
		p.leaderLog.Choose(proposal)
	}
	for range writes - DefaultPeerConnections {
		p.leaderLog.Choose(<-held)
	}
	for range writes {
		wantStatus(t, <-answered, 201)
	}
	if n := p.connected.Load(); n > DefaultPeerConnections {
		t.Errorf("%d connections came to the leader", n)
	}
}

// Goal: reads are not forwarded: a follower serves them itself.
// Method: a follower whose leader cannot be reached by HTTP reads.
func TestReadsAreNotForwarded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newFollowerOf(t, "", nil)
		log.Deliver(fakelog.PutCommand("k", "v"))
		synctest.Wait()
		if a := ask(s, "GET", "/v1/kv/k", ""); a.status != 200 || a.body != "v" || a.header.Get(api.HeaderNode) != "n1" {
			t.Errorf("%+v", a)
		}
	})
}

// Goal: what concerns one connection only does not travel; everything else does.
// Method: a request with both kinds of header, seen by a leader that records it.
func TestOnlyEndToEndHeadersTravel(t *testing.T) {
	seen := make(chan *http.Request, 1)
	address := listener(t, func(conn net.Conn, r *http.Request) {
		seen <- r
		conn.Write([]byte("HTTP/1.1 201 Created\r\nKv-Node: n2\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Stays: 1\r\nContent-Length: 0\r\n\r\n"))
	})
	s, _ := newFollowerOf(t, address, nil)
	a := ask(s, "PUT", "/v1/kv/a%20b", "v",
		"Connection", "X-Private", "X-Private", "1", "Te", "trailers", "Expect", "100-continue", "Authorization", "Bearer t")
	wantStatus(t, a, 201)
	if a.header.Get("X-Hop") != "" || a.header.Get("Connection") != "" || a.header.Get("X-Stays") != "1" {
		t.Errorf("answer header %v", a.header)
	}
	r := <-seen
	for _, name := range []string{"X-Private", "Te", "Expect", "Connection"} {
		if r.Header.Get(name) != "" {
			t.Errorf("%s travelled: %q", name, r.Header.Get(name))
		}
	}
	if r.Header.Get("Authorization") != "Bearer t" || r.Header.Get(api.HeaderForwarded) != "n1" || r.Header.Get(api.HeaderCluster) != "c1" || r.RequestURI != "/v1/kv/a%20b" {
		t.Errorf("%s with %v", r.RequestURI, r.Header)
	}
}

// Goal: a write through a follower keeps its condition and its idempotency key,
// whatever its header says of them.
// Method: a header that declares them to be for this connection only, as it may
// be said to any proxy, at a follower.
func TestAConditionTravelsThoughConnectionNamesIt(t *testing.T) {
	p := newPair(t)
	wantStatus(t, ask(p.leader, "PUT", "/v1/kv/k", "old"), 201)
	for _, condition := range [][]string{{"If-Match", `"77"`}, {"If-None-Match", "*"}} {
		w := dialWire(t, p.url)
		w.send("PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: " + condition[0] + "\r\n" + condition[0] + ": " + condition[1] + "\r\n\r\nnew")
		wantProblem(t, w.receive("PUT"), 412, api.CodePreconditionFailed, api.OutcomeNotApplied)
	}
	for range 2 {
		w := dialWire(t, p.url)
		w.send("POST /v1/kv/k?op=append HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nConnection: Idempotency-Key\r\nIdempotency-Key: once\r\n\r\n+")
		wantStatus(t, w.receive("POST"), 200)
	}
	if got := stored(p.leader, "k"); got != "old+" {
		t.Errorf("the leader has %q", got)
	}
}

// Goal: a connection is sealed only if nothing was written since the mark, and
// then nothing can be.
// Method: marks and writes in both orders.
func TestASealedConnectionNeverWrites(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() {
		for b := make([]byte, 10); ; {
			if _, err := theirs.Read(b); err != nil {
				return
			}
		}
	}()
	c := &leaderConn{Conn: ours}
	c.Write([]byte("first request"))
	mark := c.mark()
	c.Write([]byte("second request"))
	if c.seal(mark) {
		t.Error("sealed although the request was written")
	}
	if _, err := c.Write([]byte("more")); err != nil {
		t.Errorf("a failed seal had an effect: %v", err)
	}
	if !c.seal(c.mark()) {
		t.Error("not sealed although nothing was written since")
	}
	if n, err := c.Write([]byte("late")); n != 0 || !errors.Is(err, errSealed) {
		t.Errorf("wrote %d bytes to a sealed connection: %v", n, err)
	}
}

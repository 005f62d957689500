package httpd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/port"
	"raftkv/raft"
)

// Goal: a connection for which there is no room is told so in full, and the
// problem is honest.
func TestARefusedConnectionIsTold(t *testing.T) {
	s, log := newServer(t, func(c *settings) { c.MaxConnections = 1 })
	held := log.Held()
	url := serveHTTP(t, s).URL
	first := dialWire(t, url)
	first.send("PUT /v1/kv/first HTTP/1.1\r\nHost: kv\r\nContent-Length: 1\r\n\r\nv")
	p := <-held // a request that is being served
	second := dialWire(t, url)
	second.send("PUT /v1/kv/k HTTP/1.1\r\nHost: kv\r\nContent-Length: 1\r\n\r\nv")
	wantProblem(t, second.receive("PUT"), 429, api.CodeOverloaded, api.OutcomeNotApplied)
	if !second.closed() {
		t.Error("the refused connection stays open")
	}
	log.Deliver(p.Command)
	wantStatus(t, first.receive("PUT"), 201)
	if got := stored(s, "k"); got != "(none)" {
		t.Errorf("the store has %q", got)
	}
}

// Goal: clients that send one byte at a time, in the header or in the body, do
// not keep an honest one from being served, also when they take all places.
// Method: as many slow connections as there are places; then an honest client
// with connections of its own.
func TestSlowClientsDoNotDisturbAnHonestOne(t *testing.T) {
	const places = 300
	s, _ := newServer(t, func(c *settings) { c.MaxConnections = places })
	url := serveHTTP(t, s).URL
	address := strings.TrimPrefix(url, "http://")
	for i := range places {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		begun := "GET /v1/kv/k HTTP/1.1\r\nHost: k"
		if i%2 == 1 {
			begun = "PUT /v1/kv/slow HTTP/1.1\r\nHost: kv\r\nContent-Length: 1000\r\n\r\nx"
		}
		if _, err := io.WriteString(conn, begun); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for served := 0; served < 100; {
		if time.Now().After(deadline) {
			t.Fatalf("only %d requests of the honest client were served", served)
		}
		// A connection of its own for each, as from a hundred clients.
		r, err := http.NewRequest("PUT", url+fmt.Sprintf("/v1/kv/%d", served), strings.NewReader("v"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		if err != nil {
			continue
		}
		if a := readAnswer(t, response); a.status == 201 {
			served++
		} else {
			wantProblem(t, a, 429, api.CodeOverloaded, api.OutcomeNotApplied) // until the slow ones are old enough to go
			time.Sleep(10 * time.Millisecond)
		}
	}
	if got := s.Load(kvserver.Writes); got.Count != 0 {
		t.Errorf("slow bodies take %d places of writes", got.Count)
	}
	if got := stored(s, "slow"); got != "(none)" {
		t.Errorf("half a body was stored: %q", got)
	}
}

// Goal: nobody waits inside the gate, so nobody waits at it for long. (That others
// get through if somebody does is for the tests of package port.)
// Method: many connections whose requests wait for each of the things that a
// request can wait for, and then one that must be served at once.
func TestNobodyWaitsInsideTheGate(t *testing.T) {
	s, log := newServer(t, func(c *settings) { c.LeaderWait = time.Minute })
	log.Mu.Lock()
	log.OnRead = func(ctx context.Context) (uint64, error) { <-ctx.Done(); return 0, ctx.Err() }
	log.Mu.Unlock()
	held := log.Held()
	url := serveHTTP(t, s).URL
	const each = 10
	for range each {
		for _, raw := range []string{
			rawRequest("PUT", "/v1/kv/k", "v"),                         // for the log
			rawRequest("PUT", "/v1/kv/k", "v", "Content-Length", "10"), // for its body
			rawRequest("GET", "/v1/kv/k", ""),                          // for a read index
			rawRequest("GET", "/v1/kv/k?min_revision=9", ""),           // for a revision
			"GET /v1/kv/k HTTP/1.1\r\nHost:",                           // for its header
			rawRequest("POST", "/v1/leader", "", "Content-Type", "application/json", "Content-Length", "10"),
			rawRequest("GET", "/v1/clerk", "", "Connection", "Upgrade", "Upgrade", "raftkv-clerk/1"),
		} {
			dialWire(t, url).send(raw)
		}
	}
	for range each {
		<-held
	}
	log.SetLeader("n2") // of whom nobody knows where it is
	for range 3 * each {
		dialWire(t, url).send(rawRequest("PUT", "/v1/kv/k?redirect", strings.Repeat("x", 10_000)))
	}
	began := time.Now()
	w := dialWire(t, url)
	for range 100 {
		wantStatus(t, w.ask("GET", "/livez", ""), 200)
	}
	if took := time.Since(began); took > 3*each/2*time.Second {
		t.Errorf("100 requests took %v", took)
	}
	log.Mu.Lock()
	log.OnRead = nil
	log.Mu.Unlock()
	s.Close() // so that nobody need wait for the time of all that waits
}

// Goal: a client that does not read its answer takes no place among the reads.
// Method: room for one read, and a client that asks for a value larger than all
// buffers and reads nothing; then another one.
func TestAClientThatReadsSlowlyTakesNoPlaceAmongTheReads(t *testing.T) {
	s, _ := newServer(t, func(c *settings) { c.MaxInFlight, c.MaxValueBytes = 1, api.MaxValueBytes })
	wantStatus(t, ask(s, "PUT", "/v1/kv/k", strings.Repeat("x", api.MaxValueBytes)), 201)
	url := serveHTTP(t, s).URL
	for _, accept := range []string{"*/*", api.MediaJSON} {
		w := dialWire(t, url)
		w.send("GET /v1/kv/k HTTP/1.1\r\nHost: kv\r\nAccept: " + accept + "\r\n\r\n")
		if _, err := w.in.Peek(1); err != nil { // it is being answered
			t.Fatal(err)
		}
		a := send(t, "GET", url+"/v1/kv/k", "")
		if a.status != 200 || len(a.body) != api.MaxValueBytes {
			t.Errorf("%s: %d with %d bytes", accept, a.status, len(a.body))
		}
	}
}

// Goal: the Host and Origin of a request decide whether it may come in: a page
// of another site can neither read through a name of its own nor write.
// Method: names and origins that are right and some that are not (those that are
// wrong on every route are in the table of bad input).
func TestOnlyOwnNamesAndOriginsComeIn(t *testing.T) {
	s, _ := newServer(t, func(c *settings) { c.AllowedHosts = []string{"kv.example", "node1:8701", "[2001:db8::1]:1"} })
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:8701": 200, "localhost.": 200, "dev.localhost:1": 200, "127.0.0.1:8701": 200, "10.1.2.3": 200, "[::1]:8701": 200, "[::1]": 200,
		"kv.example": 200, "KV.example.:80": 200, "node1": 200, "node1:9": 200, "": 200,
		"example.com": 403, "kv.example.evil": 403, "xkv.example": 403, "node11": 403, "localhost.evil": 403, "127.0.0.1.nip.io": 403, "0x7f.1": 403,
	} {
		r, err := http.NewRequest("GET", "/livez", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		w := newRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.status != want {
			t.Errorf("Host %q: %d, want %d", host, w.status, want)
		}
	}
	anyName, _ := newServer(t, func(c *settings) { c.AllowedHosts = []string{"*"} })
	wantStatus(t, ask(anyName, "GET", "/livez", ""), 200)
	for _, c := range []struct {
		header []string
		want   int
	}{
		{nil, 204}, {[]string{"Origin", "http://localhost:8701"}, 204}, {[]string{"Origin", "http://localhost:8701", "Sec-Fetch-Site", "same-origin"}, 204},
		{[]string{"Sec-Fetch-Site", "none"}, 204}, {[]string{"Origin", "http://localhost:9"}, 403}, {[]string{"Sec-Fetch-Site", "same-site"}, 403},
	} {
		if a := ask(s, "DELETE", "http://localhost:8701/v1/kv/k", "", c.header...); a.status != c.want {
			t.Errorf("%v: %d, want %d", c.header, a.status, c.want)
		}
	}
	for _, header := range [][]string{{"Origin", "http://evil.example"}, {"Sec-Fetch-Site", "cross-site"}} {
		a := ask(s, "GET", "http://localhost:8701/v1/kv/k", "", header...)
		wantStatus(t, a, 404) // a browser keeps the answer from the page
		if got := a.header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("Access-Control-Allow-Origin is %q", got)
		}
	}
}

// Goal: what was judged at the first node is not judged again, by other names,
// at the leader; and nothing of a browser travels.
// Method: a write with an Origin through a follower, to a leader that knows
// other names.
func TestOriginIsJudgedWhereTheRequestComesIn(t *testing.T) {
	p := newPair(t)
	host := strings.TrimPrefix(p.url, "http://")
	a := send(t, "PUT", p.url+"/v1/kv/k", "v", "Origin", "http://"+host, "Sec-Fetch-Site", "same-origin", "Cookie", "c=secret")
	wantStatus(t, a, 201)
}

// Goal: after a request with a chunked body the connection ends, so that
// nothing behind it can be taken for a request by one side only; and one with
// both lengths is refused also when another came before it.
// Method: a smuggled request behind a chunked body; the header that net/http
// hides on the second request of a connection.
func TestNothingIsSmuggledBehindAChunkedBody(t *testing.T) {
	s, log := newServer(t, nil)
	url := serveHTTP(t, s).URL
	w := dialWire(t, url)
	w.send("PUT /v1/kv/a HTTP/1.1\r\nHost: kv\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nv\r\n0\r\n\r\n" +
		"PUT /v1/kv/smuggled HTTP/1.1\r\nHost: kv\r\nContent-Length: 1\r\n\r\nv")
	a := w.receive("PUT")
	wantStatus(t, a, 201)
	if !w.closed() {
		t.Error("the connection stays open after a chunked body")
	}
	both := "PUT /v1/kv/b HTTP/1.1\r\nHost: kv\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n1\r\nv\r\n0\r\n\r\n"
	w = dialWire(t, url)
	wantStatus(t, w.ask("PUT", "/v1/kv/a", "w"), 200)
	w.send(both)
	wantProblem(t, w.receive("PUT"), 400, api.CodeBadRequest, api.OutcomeNotApplied)
	// Right behind another one the header cannot be seen, so it is refused
	// whatever it says.
	w = dialWire(t, url)
	w.send("GET /livez HTTP/1.1\r\nHost: kv\r\n\r\n" + strings.Replace(both, "Content-Length: 6\r\n", "", 1))
	wantStatus(t, w.receive("GET"), 200)
	wantProblem(t, w.receive("PUT"), 400, api.CodeBadRequest, api.OutcomeNotApplied)
	if log.Attempts() != 2 {
		t.Errorf("%d commands were proposed", log.Attempts())
	}
}

// Goal: neither keys nor values nor anything a client calls a secret is ever
// logged, whatever goes wrong.
// Method: requests with a canary in every place, through every kind of failure,
// with the log at its most talkative.
func TestNothingOfARequestIsLogged(t *testing.T) {
	var log bytes.Buffer
	chatty := func(c *settings) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug - 10}))
		c.RequestTimeout = 50 * time.Millisecond
	}
	const canary = "canary7d1"
	secrets := []string{"Idempotency-Key", canary, "Authorization", "Bearer " + canary, "Cookie", canary, "X-Anything", canary}
	write := func(s *testServer, method string) {
		ask(s, method, "/v1/kv/"+canary+"%00", canary, secrets...)
		ask(s, method, "/v1/kv/k?"+canary+"="+canary, canary, secrets...)
	}
	for _, address := range []string{deadAddress(t), "", listener(t, func(conn net.Conn, _ *http.Request) { io.WriteString(conn, "HTTP/1.1 200 OK\r\nnonsense") })} {
		s, _ := newFollowerOf(t, address, chatty)
		for _, method := range []string{"PUT", "DELETE", "GET", "POST", "PATCH"} {
			write(s, method)
		}
	}
	s, fake := newServer(t, chatty)
	for _, end := range []func(p *raft.Proposal){
		func(p *raft.Proposal) { p.Failed(raft.ErrLost) }, func(p *raft.Proposal) { p.Failed(io.EOF) }, func(*raft.Proposal) {}, func(*raft.Proposal) { panic("planted") },
	} {
		fake.OnPropose = end
		write(s, "PUT")
	}
	server := port.NewServer(s.Handler())
	server.ErrorLog = slog.NewLogLogger(s.Config().Logger.Handler(), slog.LevelDebug)
	if !strings.Contains(log.String(), "planted") {
		t.Error("the log does not even hold what it should")
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, canary) {
			t.Errorf("the log holds what a client sent: %s", line)
		}
	}
}

// newRecorder returns a ResponseWriter that keeps the status.
func newRecorder() *discarded { return &discarded{header: http.Header{}} }

type discarded struct {
	header http.Header
	status int
}

func (r *discarded) Header() http.Header         { return r.header }
func (r *discarded) Write(p []byte) (int, error) { return len(p), nil }
func (r *discarded) WriteHeader(status int)      { r.status = status }

// Goal: connections to a leader are bounded by the places for clients, too.
// Method: small numbers, and the defaults.
func TestFewPlacesBoundEverything(t *testing.T) {
	for _, c := range []struct{ places, forwards int }{{1, 1}, {20, 20}, {512, 512}, {0, 512}} {
		s, _ := newServer(t, func(config *settings) { config.MaxConnections = c.places })
		if got := s.peers.transport.MaxConnsPerHost; got != c.forwards {
			t.Errorf("%d places: %d connections to a leader, want %d", c.places, got, c.forwards)
		}
	}
}

package kvserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/raft"
)

// fakeConn is a connection from some address that never says anything.
type fakeConn struct {
	net.Conn
	from   string
	closed bool
	until  time.Time
	wrote  bytes.Buffer
}

func (f *fakeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.from))
}
func (f *fakeConn) Close() error                      { f.closed = true; return nil }
func (f *fakeConn) SetDeadline(time.Time) error       { return nil }
func (f *fakeConn) Write(p []byte) (int, error)       { return f.wrote.Write(p) }
func (f *fakeConn) Read([]byte) (int, error)          { return 0, io.EOF }
func (f *fakeConn) SetReadDeadline(t time.Time) error { f.until = t; return nil }
func (f *fakeConn) SetWriteDeadline(time.Time) error  { return nil }

// Goal: when all places are taken, the connections make room whose clients keep
// the server waiting: first those in the middle of a request, then idle ones,
// the oldest first, none that has just come, and none that is being served. If
// nobody can go, who comes is refused.
// Method: a port with few places and connections in known phases.
func TestAFullHouseMakesRoomForNewConnections(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, func(c *Config) { c.MaxConnections = 5 })
		come := func() (*fakeConn, *clientConn) {
			f := &fakeConn{from: "127.0.0.1:1000"}
			return f, s.conns.take(f)
		}
		slow, _ := come()
		time.Sleep(time.Second)
		slower, _ := come() // but not for as long
		time.Sleep(time.Second)
		idle, idleConn := come()
		noteState(idleConn, http.StateIdle)
		served, servedConn := come()
		servedConn.serving()
		time.Sleep(2 * time.Second)
		fresh, freshConn := come()
		for i, step := range []struct {
			leaves *fakeConn
			comes  bool
		}{{slow, true}, {slower, true}, {idle, true}, {nil, false}} {
			if i == 1 && slower.closed {
				t.Error("the younger of two slow connections had to go first")
			}
			f, c := come()
			if (c != nil) != step.comes || f.closed {
				t.Fatalf("step %d: the new connection is taken: %v", i, c != nil)
			}
			if step.leaves != nil && !step.leaves.closed {
				t.Errorf("step %d: the connection that should have made room has not", i)
			}
		}
		if served.closed || fresh.closed {
			t.Error("a connection that is served, or has just come, was closed")
		}
		if now, evicted, refused := s.conns.counts(); now != 5 || evicted != 3 || refused != 1 {
			t.Errorf("%d connections, %d evicted, %d refused", now, evicted, refused)
		}
		freshConn.Close()
		freshConn.Close() // net/http does
		if _, c := come(); c == nil {
			t.Error("no room after one left")
		}
	})
}

// Goal: a connection whose request has come, and which this server keeps waiting
// at the gate, does not make room for others, however long its header took.
// Method: one place, a full gate, and a header whose end comes after two seconds.
func TestWhoWaitsAtTheGateMakesNoRoom(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, func(c *Config) { c.MaxConnections = 1 })
		for range cap(s.conns.gate) {
			s.conns.gate <- struct{}{}
		}
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c := s.conns.take(ours)
		read := make(chan error)
		go func() {
			for range 2 {
				_, err := c.Read(make([]byte, 100))
				read <- err
			}
		}()
		_, _ = io.WriteString(theirs, "GET /livez HTTP/1.1\r\nHost: kv\r\n")
		<-read
		time.Sleep(2 * evictionAge)
		_, _ = io.WriteString(theirs, "\r\n")
		synctest.Wait() // it waits at the gate
		if s.conns.take(&fakeConn{from: "127.0.0.1:1000"}) != nil {
			t.Error("a connection made room while its request waited for this server")
		}
		for range cap(s.conns.gate) {
			<-s.conns.gate
		}
		if err := <-read; err != nil {
			t.Error(err)
		}
		c.leaveGate()
		if s.conns.take(&fakeConn{from: "127.0.0.1:1000"}) == nil {
			t.Error("a connection that keeps the server waiting made no room")
		}
	})
}

// Goal: the operator on the machine itself is never locked out, and one address
// cannot take all places.
// Method: addresses beyond and on this machine.
func TestPlacesAreKept(t *testing.T) {
	s, _ := newServer(t, func(c *Config) { c.MaxConnections, c.MaxConnectionsPerIP = 10, 3 })
	taken := func(from string) bool { return s.conns.take(&fakeConn{from: from}) != nil }
	for i, c := range []struct {
		from string
		want bool
	}{
		{"10.0.0.1:1", true}, {"10.0.0.1:2", true}, {"10.0.0.1:3", true}, {"10.0.0.1:4", false},
		{"10.0.0.2:1", true}, {"[2001:db8::1]:1", true}, {"10.0.0.3:1", false}, // half of the places are left for loopback
		{"127.0.0.1:1", true}, {"[::1]:1", true}, {"127.0.0.1:2", true}, {"127.0.0.1:3", true}, {"[::ffff:127.0.0.1]:4", true}, {"127.0.0.1:5", false},
	} {
		if got := taken(c.from); got != c.want {
			t.Errorf("connection %d, from %s: taken %v", i, c.from, got)
		}
	}
}

// Goal: a connection frees its place once, however often it is closed.
// Method: an address with all the connections that it may have; one is closed
// twice, as net/http does, and others come.
func TestAPlaceIsFreedOnce(t *testing.T) {
	s, _ := newServer(t, func(c *Config) { c.MaxConnectionsPerIP = 3 })
	come := func() *clientConn { return s.conns.take(&fakeConn{from: "10.0.0.1:1"}) }
	first := come()
	come()
	come()
	first.Close()
	first.Close()
	if come() == nil {
		t.Error("no room after one left")
	}
	if come() != nil {
		t.Error("a connection that was closed twice made room for two")
	}
}

// Goal: slow clients that came at one moment are not ended at one moment, and
// everybody has half of the time at least; other times are what they are said to be.
// Method: many connections, and the deadlines that they get for a header, for a
// body, and between two requests.
func TestSlowClientsThatCameTogetherAreEndedOneByOne(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, nil)
		const most = 10 * time.Second
		s.bodyGrace = most
		var header, body []time.Duration
		for range 200 {
			f := &fakeConn{from: "127.0.0.1:1000"}
			c := s.conns.take(f)
			last := func() time.Duration { return time.Until(f.until) }
			_ = c.SetReadDeadline(time.Now().Add(most))
			header = append(header, last())
			c.note([]byte("PUT /v1/kv/k HTTP/1.1\r\nContent-Length: 10\r\n\r\n"))
			_ = c.SetReadDeadline(time.Now().Add(most))
			if last() != most {
				t.Fatalf("the time for the whole request: %v", last())
			}
			r := httptest.NewRequest("PUT", "/v1/kv/k", nil).WithContext(keepConn(t.Context(), c))
			x := &exchange{server: s, w: connWriter{httptest.NewRecorder(), c}, r: r}
			x.allowReading(bodyPace)
			body = append(body, last()-time.Second)
			noteState(c, http.StateIdle)
			_ = c.SetReadDeadline(time.Now().Add(most))
			if last() != most {
				t.Fatalf("the time between two requests: %v", last())
			}
			_ = c.SetReadDeadline(time.Time{})
			if !f.until.IsZero() {
				t.Fatalf("no limit became %v", f.until)
			}
			c.Close()
		}
		for what, times := range map[string][]time.Duration{"header": header, "body": body} {
			slices.Sort(times)
			if first, last := times[0], times[len(times)-1]; first < most/2 || first > most*6/10 || last < most*9/10 || last > most {
				t.Errorf("the times for a %s are from %v to %v", what, first, last)
			}
			for i, next := range times[1:] {
				if next-times[i] > most/10 {
					t.Errorf("between %v and %v no %s comes to its end", times[i], next, what)
				}
			}
		}
	})
}

// Goal: slow clients may take their time while there is room, and a third of it
// when places are short.
// Method: the deadline for a header and for a body, with three in four places
// taken, with one more, and when that one has left.
func TestSlowClientsGetLessTimeWherePlacesAreShort(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const most = 12 * time.Second
		s, _ := newServer(t, func(c *Config) { c.MaxConnections = 8 })
		s.bodyGrace = most
		f := &fakeConn{from: "127.0.0.1:1000"}
		c := s.conns.take(f)
		c.haste = 0
		x := &exchange{server: s, w: connWriter{httptest.NewRecorder(), c}, r: httptest.NewRequest("PUT", "/v1/kv/k", nil).WithContext(keepConn(t.Context(), c))}
		want := func(when string, want time.Duration) {
			t.Helper()
			_ = c.SetReadDeadline(time.Now().Add(most))
			header := time.Until(f.until)
			c.recording = false // the header has come
			x.allowReading(0)
			c.recording = true
			if body := time.Until(f.until); header != want || body != want {
				t.Errorf("%s: %v for a header and %v for a body, want %v", when, header, body, want)
			}
		}
		for range 5 {
			s.conns.take(&fakeConn{from: "127.0.0.1:1000"})
		}
		want("with room", most)
		last := s.conns.take(&fakeConn{from: "127.0.0.1:1000"})
		want("with little room", most/3)
		c.haste = 1
		want("with little room and in haste", most/6)
		last.Close()
		want("with room again", most/2)
	})
}

// connWriter is an answer whose deadlines are a connection's.
type connWriter struct {
	http.ResponseWriter
	conn net.Conn
}

func (w connWriter) SetReadDeadline(t time.Time) error { return w.conn.SetReadDeadline(t) }

// Goal: who sends a part of a header, or a crumb of a body, does not queue for
// it; who sends a whole request does.
// Method: a gate that is full, and a connection that gets a request in pieces;
// time is the bubble's.
func TestCrumbsDoNotQueueAtTheGate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, nil)
		for len(s.conns.gate) < cap(s.conns.gate) {
			s.conns.gate <- struct{}{}
		}
		defer func() {
			for len(s.conns.gate) > 0 {
				<-s.conns.gate
			}
		}()
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c := s.conns.take(ours)
		defer c.Close()
		for _, piece := range []struct {
			text  string
			waits bool
		}{
			{"PUT /v1/kv/k HTTP/1.1\r\nHo", false}, {"st: kv\r\n", false}, {"Content-Length: 200\r\n\r", false}, {"\n", true},
			{"x", false}, {strings.Repeat("x", crumb), false}, {strings.Repeat("x", crumb+1), true},
		} {
			go func() { _, _ = io.WriteString(theirs, piece.text) }()
			began := time.Now()
			n, err := c.Read(make([]byte, 4096))
			if took := time.Since(began); err != nil || n != len(piece.text) || (took >= gateLimit) != piece.waits {
				t.Errorf("%.20q: %d bytes after %v: %v", piece.text, n, took, err)
			}
		}
	})
}

// Goal: a connection for which there is no room is told so in full, and the
// problem is honest.
func TestARefusedConnectionIsTold(t *testing.T) {
	s, _ := newServer(t, func(c *Config) { c.MaxConnections = 1 })
	url := serveHTTP(t, s).URL
	first := dialWire(t, url)
	wantStatus(t, first.ask("GET", "/livez", ""), 200)
	noteState(onlyConn(s), http.StateActive)
	onlyConn(s).serving() // as if a request were being served
	second := dialWire(t, url)
	second.send("PUT /v1/kv/k HTTP/1.1\r\nHost: kv\r\nContent-Length: 1\r\n\r\nv")
	wantProblem(t, second.receive("PUT"), 429, api.CodeOverloaded, api.OutcomeNotApplied)
	if !second.closed() {
		t.Error("the refused connection stays open")
	}
	if got := stored(s, "k"); got != "(none)" {
		t.Errorf("the store has %q", got)
	}
}

func onlyConn(s *Server) *clientConn {
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	for c := range s.conns.all {
		return c
	}
	return nil
}

// Goal: clients that send one byte at a time, in the header or in the body, do
// not keep an honest one from being served, also when they take all places.
// Method: as many slow connections as there are places; then an honest client
// with connections of its own.
func TestSlowClientsDoNotDisturbAnHonestOne(t *testing.T) {
	const places = 300
	s, _ := newServer(t, func(c *Config) { c.MaxConnections = places })
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
	if got := s.writes.crowd(); got.count != 0 {
		t.Errorf("slow bodies take %d places of writes", got.count)
	}
	if got := stored(s, "slow"); got != "(none)" {
		t.Errorf("half a body was stored: %q", got)
	}
}

// Goal: nobody waits inside the gate, so nobody waits at it for long; and if
// somebody did all the same, others would get through.
// Method: many connections whose requests wait for each of the things that a
// request can wait for, and then one that must be served at once; then the
// gate is filled by force.
func TestNobodyWaitsInsideTheGate(t *testing.T) {
	s, log := newServer(t, func(c *Config) { c.LeaderWait = time.Minute })
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
	if took := time.Since(began); took > 3*each/2*gateLimit {
		t.Errorf("100 requests took %v", took)
	}
	for len(s.conns.gate) < cap(s.conns.gate) {
		s.conns.gate <- struct{}{}
	}
	wantStatus(t, w.ask("GET", "/livez", ""), 200)
	for len(s.conns.gate) > 0 {
		<-s.conns.gate
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
	s, _ := newServer(t, func(c *Config) { c.MaxInFlight, c.MaxValueBytes = 1, api.MaxValueBytes })
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
	s, _ := newServer(t, func(c *Config) { c.AllowedHosts = []string{"kv.example", "node1:8701", "[2001:db8::1]:1"} })
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
	anyName, _ := newServer(t, func(c *Config) { c.AllowedHosts = []string{"*"} })
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
	chatty := func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug - 10}))
		c.RequestTimeout = 50 * time.Millisecond
	}
	const canary = "canary7d1"
	secrets := []string{"Idempotency-Key", canary, "Authorization", "Bearer " + canary, "Cookie", canary, "X-Anything", canary}
	write := func(s *Server, method string) {
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
	server := NewHTTPServer(s.Handler())
	server.ErrorLog = slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelDebug)
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
func newRecorder() *recorder { return &recorder{header: http.Header{}} }

type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }
func (r *recorder) WriteHeader(status int)      { r.status = status }

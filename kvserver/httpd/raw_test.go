package httpd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/port"
)

// wire is a client that sends exactly the bytes it is told to.
type wire struct {
	t    *testing.T
	conn *net.TCPConn
	in   *bufio.Reader
}

func dialWire(t *testing.T, address string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &wire{t, conn.(*net.TCPConn), bufio.NewReader(conn)}
}

// send writes raw bytes; an error is for receive to find.
func (w *wire) send(raw string) { _, _ = io.WriteString(w.conn, raw) }

// receive reads one answer to a request with the method.
func (w *wire) receive(method string) answer {
	w.t.Helper()
	response, err := http.ReadResponse(w.in, &http.Request{Method: method})
	if err != nil {
		w.t.Fatalf("no answer to a %s: %v", method, err)
	}
	return readAnswer(w.t, response)
}

// ask sends a request with this very target and reads the answer.
func (w *wire) ask(method, target, body string) answer {
	w.t.Helper()
	w.send(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: kv\r\nContent-Length: %d\r\n\r\n%s", method, target, len(body), body))
	return w.receive(method)
}

// closed reports whether the server has closed the connection.
func (w *wire) closed() bool {
	_, err := w.in.ReadByte()
	return err == io.EOF || err != nil && strings.Contains(err.Error(), "reset")
}

func percent(key string) string {
	var b strings.Builder
	for i := range len(key) {
		fmt.Fprintf(&b, "%%%02x", key[i])
	}
	return b.String()
}

// Goal: every key comes back exactly, whatever bytes it has and however the
// path spells them, at the leader and through a follower.
// Method: raw requests. Each key is written under a fully encoded path and read
// under every other spelling of it; the store must hold the very bytes.
func TestKeysAreAnyBytesAndComeBackExactly(t *testing.T) {
	p := newPair(t)
	leader := dialWire(t, p.address.Load().(string))
	follower := dialWire(t, p.url)
	// spellings of keys in a path, as a client may send them unencoded.
	plain := []string{
		"a/b", "/", "//", "a//b", "/a", "a/", "a//", ".", "..", "../..", "./a", "a/./b", "a/../b", "/../", "...",
		"%2F", "%2f%2F", "a%2Fb", "%2E%2E", "%252F", "%25", "%00", "+", "a+b", "%20", "a=b&c=d", ";", ":", "@", "!$'()*,", "~",
		"%C3%A4", "\xc3\xa4", "%FF", "[", "{key}", "a|b", "^", "\"", "<x>", "`", "\\", "#", "%23", "%3F", "livez", "v1/kv/x", "%0d%0a", "%7f",
	}
	keys := map[string]string{} // spelling → key
	for b := range 256 {
		key := string([]byte{byte(b)})
		keys[percent(key)] = key
		keys[percent("x"+key+"y"+key)] = "x" + key + "y" + key
	}
	for _, spelling := range plain {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET /v1/kv/" + spelling + " HTTP/1.1\r\nHost: h\r\n\r\n")))
		if err != nil {
			t.Fatalf("%q cannot be sent: %v", spelling, err)
		}
		keys[spelling] = strings.TrimPrefix(r.URL.Path, "/v1/kv/")
	}
	keys[strings.Repeat("%61", api.MaxKeyBytes)] = strings.Repeat("a", api.MaxKeyBytes)
	for spelling, key := range keys {
		value := "value of " + key
		a := leader.ask("PUT", "/v1/kv/"+percent(key), value)
		if a.status != 201 && a.status != 200 {
			t.Fatalf("PUT of %q: %d %s", key, a.status, a.body)
		}
		if got := stored(p.leader, key); got != value {
			t.Errorf("PUT of %q: the store has %q", key, got)
		}
		if a := leader.ask("GET", "/v1/kv/"+spelling, ""); a.status != 200 || a.body != value {
			t.Errorf("GET of %q spelt %q: %d %q", key, spelling, a.status, a.body)
		}
		if a := follower.ask("POST", "/v1/kv/"+spelling+"?op=append", "+"); a.status != 200 {
			t.Errorf("append to %q spelt %q: %d %s", key, spelling, a.status, a.body)
		}
		if got := stored(p.leader, key); got != value+"+" {
			t.Errorf("append to %q spelt %q: the store has %q", key, spelling, got)
		}
		if a := follower.ask("DELETE", "/v1/kv/"+spelling, ""); a.status != 204 || a.header.Get(api.HeaderDeleted) != "1" {
			t.Errorf("DELETE of %q spelt %q: %d", key, spelling, a.status)
		}
	}
	if n := p.leader.Machine().Describe().Keys; n != 0 {
		t.Errorf("%d keys are left: some request went to another key than its own", n)
	}
}

// Goal: requests that are broken on the wire are refused with a 4xx, change
// nothing, and propose nothing.
// Method: raw bytes, of which net/http refuses many by itself.
func TestBrokenRequestsAreRefused(t *testing.T) {
	head := "PUT /v1/kv/k HTTP/1.1\r\nHost: kv\r\n"
	cases := []struct {
		name, raw string
		status    int
		code      api.Code
	}{
		{"two Content-Lengths", head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400, api.CodeBadRequest},
		{"negative Content-Length", head + "Content-Length: -5\r\n\r\nhello", 400, api.CodeBadRequest},
		{"overflowing Content-Length", head + "Content-Length: 99999999999999999999\r\n\r\nhello", 400, api.CodeBadRequest},
		{"unknown transfer coding", head + "Transfer-Encoding: gzip\r\n\r\nhello", 501, api.CodeNotImplemented},
		{"bad percent-encoding", "PUT /v1/kv/%zz HTTP/1.1\r\nHost: kv\r\nContent-Length: 1\r\n\r\nv", 400, api.CodeBadRequest},
		{"percent at the end", "PUT /v1/kv/a% HTTP/1.1\r\nHost: kv\r\nContent-Length: 1\r\n\r\nv", 400, api.CodeBadRequest},
		{"space in the path", "PUT /v1/kv/a b HTTP/1.1\r\nHost: kv\r\nContent-Length: 1\r\n\r\nv", 400, api.CodeBadRequest},
		{"control byte in the path", "PUT /v1/kv/a\x01 HTTP/1.1\r\nHost: kv\r\nContent-Length: 1\r\n\r\nv", 400, api.CodeBadRequest},
		{"no Host", "PUT /v1/kv/k HTTP/1.1\r\nContent-Length: 1\r\n\r\nv", 400, api.CodeBadRequest},
		{"header too large", head + "X: " + strings.Repeat("x", 48<<10) + "\r\n\r\n", 431, api.CodeHeaderTooLarge},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, api.CodeVersion},
		{"not HTTP", "SSH-2.0-hello\r\n\r\n", 400, api.CodeBadRequest},
		{"no length at all", head + "\r\n", 411, api.CodeLengthRequired},
		{"body stops half-way", head + "Content-Length: 10\r\n\r\nhello", 400, api.CodeBadRequest},
		{"chunk stops half-way", head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", 400, api.CodeBadRequest},
		{"chunks without an end", head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 400, api.CodeBadRequest},
		{"bad chunk length", head + "Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n", 400, api.CodeBadRequest},
		{"huge Content-Length", head + "Content-Length: 100000000000\r\n\r\n", 413, api.CodeValueTooLarge},
	}
	s, log := newServer(t, nil)
	wantStatus(t, ask(s, "PUT", "/v1/kv/k", "old"), 201)
	url := serveHTTP(t, s).URL
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := dialWire(t, url)
			w.send(c.raw)
			if err := w.conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			a := w.receive("PUT")
			wantProblem(t, a, c.status, c.code, api.OutcomeNotApplied)
			if got := stored(s, "k"); got != "old" || log.Attempts() != 1 {
				t.Errorf("the store has %q after %d proposals", got, log.Attempts())
			}
		})
	}
}

// Goal: a client that sends a key without percent-encoding is told what is
// wrong, in words that can be read.
// Method: a percent sign and a space in a path, and a query that cannot be
// split; no escapes meant for HTML in the answers.
func TestARefusalOfAPathSaysHowToWriteIt(t *testing.T) {
	s, _ := newServer(t, nil)
	url := serveHTTP(t, s).URL
	for target, want := range map[string]string{
		"/v1/kv/100%": "%25", "/v1/kv/a b": "%20", "/v1/kv?prefix=a;b": "separate parameters by & and",
	} {
		w := dialWire(t, url)
		w.send("GET " + target + " HTTP/1.1\r\nHost: kv\r\n\r\n")
		a := w.receive("GET")
		wantProblem(t, a, 400, api.CodeBadRequest, api.OutcomeNotApplied)
		if !strings.Contains(a.body, want) {
			t.Errorf("GET %s: %s, want %q in it", target, a.body, want)
		}
	}
}

// Goal: a body that is announced too large is refused at once, without asking
// for it, and the connection ends.
// Method: Expect: 100-continue with a length over the limit; the client sends
// no body at all.
func TestATooLargeBodyIsNotAskedFor(t *testing.T) {
	s, _ := newServer(t, nil)
	w := dialWire(t, serveHTTP(t, s).URL)
	w.send(fmt.Sprintf("PUT /v1/kv/k HTTP/1.1\r\nHost: kv\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", api.DefaultMaxValueBytes+1))
	a := w.receive("PUT")
	wantProblem(t, a, 413, api.CodeValueTooLarge, api.OutcomeNotApplied)
	if !w.closed() {
		t.Error("the connection stays open")
	}
	w = dialWire(t, serveHTTP(t, s).URL)
	w.send("PUT /v1/kv/k HTTP/1.1\r\nHost: kv\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	if a := w.receive("PUT"); a.status != 100 {
		t.Fatalf("answered %d, want 100", a.status)
	}
	w.send("ok")
	wantStatus(t, w.receive("PUT"), 201)
}

// counting counts what is read of an endless body.
type counting struct{ read int64 }

func (c *counting) Read(p []byte) (int, error) {
	c.read += int64(len(p))
	return len(p), nil
}

// Goal: nothing is read past the limit, and a body that is announced but does
// not come holds almost no memory.
// Method: an endless chunked body; and the buffer for a large announced length.
func TestABodyIsReadNoFurtherThanItsLimit(t *testing.T) {
	s, _ := newServer(t, func(c *settings) { c.MaxValueBytes = 100_000 })
	body := &counting{}
	r := httptest.NewRequest("PUT", "/v1/kv/k", body)
	r.ContentLength = -1
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	wantProblem(t, answer{w.Code, w.Header(), w.Body.String(), nil}, 413, api.CodeValueTooLarge, api.OutcomeNotApplied)
	if body.read > 100_001 {
		t.Errorf("%d bytes were read of a body that may have 100000", body.read)
	}
	stalled := strings.NewReader("only this")
	r = httptest.NewRequest("PUT", "/v1/kv/k", stalled)
	x := &exchange{door: s.door, w: w, r: r}
	got, err := x.readBody(1 << 40)
	if err != nil || cap(got.bytes) > firstBodyBytes+1 {
		t.Errorf("a body of %d bytes took a buffer of %d: %v", len(got.bytes), cap(got.bytes), err)
	}
	got.release()
}

// Goal: a client that stalls in the middle of a body loses, not the server.
// Method: a server with a short read time-out; the body never ends.
func TestABodyThatStallsIsRefused(t *testing.T) {
	s, log := newServer(t, func(c *settings) { c.bodyGrace = 50 * time.Millisecond })
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = port.NewServer(s.Handler())
	ts.Start()
	t.Cleanup(ts.Close)
	w := dialWire(t, ts.URL)
	w.send("PUT /v1/kv/k HTTP/1.1\r\nHost: kv\r\nContent-Length: 10\r\n\r\nhello")
	wantProblem(t, w.receive("PUT"), 400, api.CodeBadRequest, api.OutcomeNotApplied)
	if !w.closed() {
		t.Error("the connection stays open")
	}
	if log.Attempts() != 0 {
		t.Error("half a value was proposed")
	}
}

// Goal: the time for a request's body does not bound the time for its answer.
// Method: a short grace, and a write that is held for longer; a read likewise.
func TestTheTimeForABodyIsNotTheTimeForItsAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const grace = 200 * time.Millisecond
		s, log := newServer(t, func(c *settings) { c.bodyGrace = grace })
		held := log.Held()
		conn := servePipes(t, s).Open(t, rawRequest("PUT", "/v1/kv/k", "v"))
		p := <-held
		time.Sleep(2 * grace)
		log.Deliver(p.Command)
		in := bufio.NewReader(conn)
		for _, want := range []int{201, 200} {
			response, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			wantStatus(t, readAnswer(t, response), want)
			if want == 201 {
				_, _ = io.WriteString(conn, rawRequest("GET", "/v1/kv/k", ""))
			}
		}
	})
}

// Goal: several requests on one connection, sent without waiting, are answered
// in order.
// Method: pipelined raw requests.
func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	s, _ := newServer(t, nil)
	w := dialWire(t, serveHTTP(t, s).URL)
	const n = 20
	for i := range n {
		w.send(fmt.Sprintf("POST /v1/kv/k?op=append HTTP/1.1\r\nHost: kv\r\nContent-Length: 1\r\n\r\n%c", 'a'+i))
	}
	for i := range n {
		if a := w.receive("POST"); a.status != 200 || a.header.Get(api.HeaderVersion) != fmt.Sprint(i+1) {
			t.Fatalf("answer %d: %d, version %s", i, a.status, a.header.Get(api.HeaderVersion))
		}
	}
	if got := stored(s, "k"); got != "abcdefghijklmnopqrst" {
		t.Errorf("the store has %q", got)
	}
}

// Goal: a client that hangs up while its write waits leaves nothing behind.
// Method: hold the proposal, close the connection, wait for the write to end.
func TestAClientThatHangsUpEndsItsWrite(t *testing.T) {
	s, log := newServer(t, nil)
	held := log.Held()
	w := dialWire(t, serveHTTP(t, s).URL)
	w.send("PUT /v1/kv/k HTTP/1.1\r\nHost: kv\r\nContent-Length: 1\r\n\r\nv")
	<-held
	w.conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for s.Load(kvserver.Writes).Count != 0 {
		if ctx.Err() != nil {
			t.Fatal("the write is still being served")
		}
		time.Sleep(time.Millisecond)
	}
}

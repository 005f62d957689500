package httpd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"raftkv/kvserver/api"
)

// scriptedLeader answers requests on connections that are kept. The script gets
// each request when it was read whole and returns its answer; "" ends the
// connection without a word, as when a leader is killed.
type scriptedLeader struct {
	address string
	mu      sync.Mutex // guards the fields below
	got     []string   // method, path and body of each request
	headers []http.Header
}

// leaderAnswer is an answer of node n2 without a body.
const leaderAnswer = "HTTP/1.1 204 No Content\r\n" + api.HeaderNode + ": n2\r\n\r\n"

func newScriptedLeader(t *testing.T, script func(n int, r *http.Request) string) *scriptedLeader {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &scriptedLeader{address: l.Addr().String()}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(conn, script)
		}
	}()
	return f
}

func (f *scriptedLeader) serve(conn net.Conn, script func(n int, r *http.Request) string) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		f.mu.Lock()
		f.got = append(f.got, r.Method+" "+r.URL.Path+" "+string(body))
		f.headers = append(f.headers, r.Header)
		n := len(f.got)
		f.mu.Unlock()
		said := script(n, r)
		if said == "" {
			return
		}
		_, _ = io.WriteString(conn, said)
	}
}

func (f *scriptedLeader) copies(of string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, got := range f.got {
		if got == of {
			n++
		}
	}
	return n
}

// Goal: a forwarded write is sent once, whatever its method, body and headers:
// not even net/http sends it again when its connection dies.
// Method: a leader that takes each write whole, on a connection that was used
// before, and dies; headers that net/http reads as leave to repeat a request.
func TestAForwardedWriteIsNeverRepeated(t *testing.T) {
	for _, method := range []string{"PUT", "POST", "DELETE"} {
		for _, body := range []string{"", "v"} {
			if method == "DELETE" && body != "" {
				continue
			}
			for _, header := range []string{"X-Idempotency-Key", api.HeaderIdempotencyKey, "x-idempotency-key", "Idempotency-key", "X-Nothing"} {
				f := newScriptedLeader(t, func(n int, _ *http.Request) string {
					if n == 2 {
						return ""
					}
					return leaderAnswer
				})
				s, _ := newFollowerOf(t, f.address, nil)
				url := serveHTTP(t, s).URL
				wantStatus(t, send(t, "DELETE", url+"/v1/kv/before", ""), 204)
				target := url + "/v1/kv/k"
				if method == "POST" {
					target += "?op=append"
				}
				a := send(t, method, target, body, header, "abc")
				if n := f.copies(method + " /v1/kv/k " + body); n != 1 {
					t.Errorf("a %s of %q with %s was sent %d times; answered %d", method, body, header, n, a.status)
				}
				wantProblem(t, answer{a.status, a.header, a.body, http.Header{api.HeaderIdempotencyKey: {"abc"}}}, 504, api.CodeLeadershipLost, api.OutcomeUnknown)
			}
		}
	}
}

// Goal: what forwarding needs of a header arrives, and X-Idempotency-Key, which
// means nothing to any node, does not; an empty body arrives as an empty body.
// Method: a leader that notes what comes.
func TestAnEmptyBodyIsForwardedAsOne(t *testing.T) {
	f := newScriptedLeader(t, func(int, *http.Request) string { return leaderAnswer })
	s, _ := newFollowerOf(t, f.address, nil)
	url := serveHTTP(t, s).URL
	wantStatus(t, send(t, "PUT", url+"/v1/kv/k", "", "Content-Length", "0", api.HeaderIdempotencyKey, "abc", "X-Idempotency-Key", "abc"), 204)
	wantStatus(t, send(t, "DELETE", url+"/v1/kv/k", ""), 204)
	p := newPair(t)
	for range 20 {
		wantStatus(t, ask(p.follower, "DELETE", "/v1/kv/k", ""), 204)
		wantStatus(t, ask(p.follower, "PUT", "/v1/kv/k", ""), 201)
	}
	if got := stored(p.leader, "k"); got != "" {
		t.Errorf("the leader has %q", got)
	}
	if len(f.headers) != 2 || f.headers[0].Get(api.HeaderIdempotencyKey) != "abc" || f.headers[0].Get("X-Idempotency-Key") != "" {
		t.Errorf("came %v with %v", f.got, f.headers)
	}
}

// Goal: "not applied" is said of a forwarded write only if nothing of it was
// written on any connection that was tried.
// Method: trails of connections on which something or nothing was written.
func TestAWriteIsNotSentOnlyIfNoConnectionTookIt(t *testing.T) {
	for _, written := range [][]bool{{}, {false}, {true}, {true, false}, {false, true}, {false, false}} {
		var trail trail
		want := true
		for _, wrote := range written {
			ours, theirs := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			t.Cleanup(func() { ours.Close(); theirs.Close() })
			c := &leaderConn{Conn: ours}
			trail.add(c)
			if wrote {
				want = false
				if _, err := c.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := trail.seal(); got != want {
			t.Errorf("written %v: not sent is said to be %v", written, got)
		}
		for i, h := range trail {
			if _, err := h.conn.Write([]byte("late")); !written[i] && !errors.Is(err, errSealed) {
				t.Errorf("written %v: connection %d can still be written to: %v", written, i, err)
			}
		}
	}
}

// Goal: where the leader's client address leads to another node, this is what
// the answer says, with both nodes, the address and the setting; the reader is
// not sent to look for elections.
// Method: another node answers at that address, this one itself, and the leader
// that does lead no more.
func TestAWrongClientAddressOfTheLeaderIsNamed(t *testing.T) {
	at := func(node, detail string) *scriptedLeader {
		body, err := json.Marshal(api.Problem{Detail: detail})
		if err != nil {
			t.Fatal(err)
		}
		return newScriptedLeader(t, func(int, *http.Request) string {
			return fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\n%s: %s\r\n%s: no_leader; outcome=not_applied\r\nContent-Length: %d\r\n\r\n%s", api.HeaderNode, node, api.HeaderError, len(body), body)
		})
	}
	for _, c := range []struct {
		node string
		want []string
	}{
		{"n3", []string{"n2", "leads to n3", "--http"}},
		{"n1", []string{"n2", "leads to this node, n1", "--http"}},
		{"n2", []string{"node n2, which was the leader", "the reason"}},
	} {
		f := at(c.node, "the reason")
		s, _ := newFollowerOf(t, f.address, nil)
		p := wantProblem(t, ask(s, "PUT", "/v1/kv/k", "v"), 503, api.CodeNoLeader, api.OutcomeNotApplied)
		for _, want := range c.want {
			if !strings.Contains(p.Detail, want) {
				t.Errorf("%s answers: %q, want %q in it", c.node, p.Detail, want)
			}
		}
	}
}

// Goal: a connection to the leader that cannot be made for want of file
// descriptors is said to be that, idle clients make room, and the write is tried
// again.
// Method: a dialler that fails once in this way, and one that always does.
func TestAWriteThatFindsNoDescriptorIsTriedAgain(t *testing.T) {
	// The last write looks for a leader for all of LeaderWait.
	p := newPairWith(t, func(c *settings) { c.LeaderWait = 2 * time.Second })
	shortages := 0
	p.follower.peers.config.Shortage = func(error) { shortages++ }
	dial := p.follower.peers.transport.DialContext
	failures := 1
	p.follower.peers.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if failures > 0 {
			failures--
			return nil, &net.OpError{Op: "dial", Err: syscall.EMFILE}
		}
		return dial(ctx, network, address)
	}
	wantStatus(t, ask(p.follower, "PUT", "/v1/kv/k", "v"), 201)
	if shortages != 1 {
		t.Errorf("%d times idle clients had to make room", shortages)
	}
	failures = 1 << 30
	p.follower.peers.transport.CloseIdleConnections()
	problem := wantProblem(t, ask(p.follower, "PUT", "/v1/kv/k", "v"), 503, api.CodeNoLeader, api.OutcomeNotApplied)
	if !strings.Contains(problem.Detail, "file descriptor") {
		t.Errorf("it is said that %s", problem.Detail)
	}
}

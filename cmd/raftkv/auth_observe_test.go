package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/api"
)

// lockedBuffer is what a command prints, to be read while it runs.
type lockedBuffer struct {
	mu   sync.Mutex // guards what follows
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// observed is a node that only tells what it would refuse: by answer, which may change.
type observed struct {
	*httptest.Server
	answer atomic.Pointer[http.HandlerFunc]
}

func newObserved(t *testing.T, answer http.HandlerFunc) *observed {
	o := &observed{}
	o.answer.Store(&answer)
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*o.answer.Load())(w, r) }))
	t.Cleanup(o.Close)
	return o
}

func (o *observed) address() string { return o.Listener.Addr().String() }

// tells answers with a list.
func tells(list ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(api.AuthState{State: "observe", WouldDeny: list})
	}
}

// refuses answers as a node that does not take the token.
func refuses(status int, code api.Code) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(api.Problem{Status: status, Code: code, Detail: "no"})
	}
}

func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// Goal: what a node would refuse is told whatever the other nodes do: hang, do not run, or
// refuse the caller, as one does that lags behind. Such a node is a missing one, by code 3; only
// where all that answer refuse alike is the caller refused. Nobody is asked if a cluster runs
// where a node has answered, or has been too slow to.
// Method: nodes of each kind, the missing ones in front.
func TestANodeHidesNoOtherFromObserve(t *testing.T) {
	withoutToken(t)
	good := newObserved(t, tells("anonymous write"))
	hung, lags := newObserved(t, hangs), newObserved(t, refuses(401, api.CodeUnauthenticated))
	denies, starts := newObserved(t, refuses(403, api.CodeForbidden)), newObserved(t, refuses(503, api.CodeNoLeader))
	const nobody = "127.0.0.1:1"
	for _, c := range []struct {
		endpoints []string
		code      int
		says      string
	}{
		{[]string{hung.address(), good.address()}, exit.Unavailable, "the list lacks 1 of 2 nodes: " + hung.address()},
		{[]string{lags.address(), good.address()}, exit.Unavailable, "the list lacks 1 of 2 nodes: " + lags.address()},
		{[]string{nobody, lags.address(), good.address()}, exit.Unavailable, "the list lacks 2 of 3 nodes: " + nobody},
		{[]string{nobody, good.address()}, exit.Unavailable, "the list lacks 1 of 2 nodes: " + nobody},
		{[]string{nobody, lags.address(), lags.address()}, exit.Denied, "No token was sent"},
		{[]string{starts.address()}, exit.Unavailable, "no node tells its list: "},
		{[]string{lags.address(), denies.address()}, exit.Denied, "no node tells its list: "},
		{[]string{nobody}, exit.Unavailable, "Does a cluster run there?"},
		{[]string{good.address()}, exit.Done, ""},
	} {
		var stdout, stderr bytes.Buffer
		code := run([]string{"auth", "observe", "--timeout", "500ms", "--endpoints", strings.Join(c.endpoints, ",")}, &stdout, &stderr)
		told := strings.Contains(stdout.String(), good.address()+"  anonymous write\n")
		if code != c.code || !strings.Contains(stderr.String(), c.says) || told != slices.Contains(c.endpoints, good.address()) {
			t.Errorf("%v: code %d, want %d and %q:\n%s%s", c.endpoints, code, c.code, c.says, stdout.String(), stderr.String())
		}
		if hint := strings.Contains(stderr.String(), "Does a cluster run there?"); hint != (len(c.endpoints) == 1 && c.endpoints[0] == nobody) {
			t.Errorf("%v: asked if a cluster runs there: %v", c.endpoints, hint)
		}
	}
}

// Goal: --watch tells each time that a node goes and comes back, and what is new then. An
// interrupt ends it by code 3 while a node is missing, by 0 if none is; a refusal by all that
// answer ends it by itself.
// Method: one node that always tells, and one that changes; each step waits for what is printed.
func TestAWatchTellsWhenANodeComesAndGoes(t *testing.T) {
	withoutToken(t)
	steady, other := newObserved(t, tells("anonymous write")), newObserved(t, tells())
	missing := other.address() + "  does not tell, so what it served is missing here: no (no_leader)\n"
	again := other.address() + "  is heard again\n"
	begin := func() (out *lockedBuffer, ended chan int) {
		out, ended = &lockedBuffer{}, make(chan int, 1)
		go func() {
			ended <- run([]string{"auth", "observe", "--watch", "--endpoints", steady.address() + "," + other.address()}, out, out)
		}()
		return out, ended
	}
	await := func(out *lockedBuffer, text string, times int) {
		t.Helper()
		for limit := time.Now().Add(20 * time.Second); strings.Count(out.String(), text) < times; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatalf("%q is not told %d times:\n%s", text, times, out.String())
			}
		}
	}
	end := func(ended chan int) int {
		t.Helper()
		select {
		case code := <-ended:
			return code
		case <-time.After(20 * time.Second):
			t.Fatal("the command does not end")
			return 0
		}
	}
	set := func(o *observed, answer http.HandlerFunc) { o.answer.Store(&answer) }
	out, ended := begin()
	for i := range 2 {
		await(out, "anonymous write", 1)
		set(other, refuses(503, api.CodeNoLeader))
		await(out, missing, i+1)
		set(other, tells("anonymous read"))
		await(out, again, i+1)
	}
	Must(t, signalSelf(syscall.SIGINT))
	if code := end(ended); code != exit.Done || strings.Count(out.String(), "anonymous") != 2 {
		t.Errorf("interrupted while all are heard: code %d\n%s", code, out.String())
	}
	set(other, refuses(503, api.CodeNoLeader))
	out, ended = begin()
	await(out, missing, 1)
	Must(t, signalSelf(syscall.SIGINT))
	if code := end(ended); code != exit.Unavailable || !strings.Contains(out.String(), "the list lacks 1 of 2 nodes: "+other.address()) {
		t.Errorf("interrupted while a node is missing: code %d\n%s", code, out.String())
	}
	out, ended = begin()
	await(out, "anonymous write", 1)
	set(steady, refuses(401, api.CodeUnauthenticated))
	set(other, refuses(401, api.CodeUnauthenticated))
	if code := end(ended); code != exit.Denied || !strings.Contains(out.String(), "no node tells its list any more: ") {
		t.Errorf("refused by all: code %d\n%s", code, out.String())
	}
}

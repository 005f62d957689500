package ask

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/api"
)

// stub is a node that answers in one way, and counts what it is asked beside probes.
type stub struct {
	*httptest.Server
	mu    sync.Mutex // guards what follows
	asked []string
}

func newStub(t *testing.T, answer http.HandlerFunc) *stub {
	s := &stub{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/livez" {
			s.mu.Lock()
			s.asked = append(s.asked, r.Method+" "+r.URL.Path)
			s.mu.Unlock()
		}
		_, _ = io.Copy(io.Discard, r.Body)
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *stub) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func endpointsOf(stubs ...*stub) (all []string) {
	for _, s := range stubs {
		all = append(all, s.Listener.Addr().String())
	}
	return all
}

// The ways in which nodes answer.
func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func does(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"name":"it"}`) }

// livesOnly is a node that takes a change and never says what became of it.
func livesOnly(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/livez" {
		hangs(w, r)
	}
}

func refuses(status int, code api.Code) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"code":"`+string(code)+`","outcome":"not_applied","detail":"no"}`)
	}
}

// made makes a call within some seconds, and returns its exit code and how long it took.
func made(t *testing.T, c *Call, stubs ...*stub) (code int, took time.Duration, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	begun := time.Now()
	_, err = c.Make(ctx, endpointsOf(stubs...))
	if ending := (*exit.Ending)(nil); errors.As(err, &ending) {
		code = ending.Code
	}
	return code, time.Since(begun), err
}

// Goal: a node that hangs in front of others holds up neither a question nor a change for long,
// and does not get the change. Method: a node that hangs before one that answers, and before
// ones that refuse.
func TestAHungNodeHoldsUpNoCall(t *testing.T) {
	t.Parallel()
	denies, missing := refuses(401, api.CodeUnauthenticated), refuses(404, api.CodeNotFound)
	for _, c := range []struct {
		method  string
		answers http.HandlerFunc
		code    int
		limit   time.Duration
	}{
		{"GET", does, 0, 3 * time.Second}, {"PUT", does, 0, 3 * time.Second},
		{"GET", missing, exit.Failed, 3 * time.Second}, {"PUT", missing, exit.Failed, 3 * time.Second},
		{"GET", denies, exit.Unavailable, 5 * time.Second}, // after the share of the one that hangs
	} {
		hung, a, b := newStub(t, hangs), newStub(t, c.answers), newStub(t, c.answers)
		var to struct{ Name string }
		code, took, err := made(t, &Call{Method: c.method, Path: "/v1/it", To: &to}, hung, a, b)
		if code != c.code || (err == nil) != (code == 0) || took > c.limit || code == 0 && to.Name != "it" {
			t.Errorf("%s: code %d after %v: %v", c.method, code, took, err)
		}
		if c.method == "PUT" && hung.times() != 0 {
			t.Errorf("the change went to the node that hangs %d times", hung.times())
		}
	}
}

// Goal: a caller is refused where all nodes that answer say so, and not by one that lags: then
// another one does it, or it is to be tried again. Method: nodes of each kind.
func TestOneNodeAloneDeniesNobody(t *testing.T) {
	t.Parallel()
	denies, forbids, leaderless := refuses(401, api.CodeUnauthenticated), refuses(403, api.CodeForbidden), refuses(503, api.CodeNoLeader)
	for _, method := range []string{"GET", "POST"} {
		for _, c := range []struct {
			name    string
			answers []http.HandlerFunc
			code    int
			denied  bool // the error holds that the caller was refused
		}{
			{"a node that lags", []http.HandlerFunc{denies, does}, 0, false},
			{"a node that lags, and no leader", []http.HandlerFunc{denies, leaderless}, exit.Unavailable, false},
			{"a limit of one node", []http.HandlerFunc{refuses(429, api.CodeIdentityLimited), does}, 0, false},
			{"all", []http.HandlerFunc{denies, forbids}, exit.Failed, true},
			{"another server, too", []http.HandlerFunc{denies, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }}, exit.Unavailable, true},
		} {
			var stubs []*stub
			for _, answer := range c.answers {
				stubs = append(stubs, newStub(t, answer))
			}
			code, _, err := made(t, &Call{Method: method, Path: "/v1/it"}, stubs...)
			refused := (*RefusedError)(nil)
			if denied := errors.As(err, &refused) && refused.OfCaller(); code != c.code || denied != c.denied {
				t.Errorf("%s, %s: code %d, denied %v: %v", method, c.name, code, denied, err)
			}
		}
	}
}

// Goal: a change that a node took and was silent about goes to the next one in time, is done if
// that one does it, and unknown if it refuses; one that is another each time goes to no second
// node. Method: a node that lives and says nothing of the change, and another one behind it.
func TestAChangeWithoutAnAnswerIsDoneOrUnknown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		once   bool
		answer http.HandlerFunc
		code   int
		asked  int // of the second node
	}{
		{false, does, 0, 1}, {false, refuses(404, api.CodeNotFound), exit.Unknown, 1}, {false, refuses(401, api.CodeUnauthenticated), exit.Unknown, 1},
		{true, does, exit.Unknown, 0},
	} {
		silent, second := newStub(t, livesOnly), newStub(t, c.answer)
		code, took, err := made(t, &Call{Method: "DELETE", Path: "/v1/it", Once: c.once}, silent, second)
		if code != c.code || took > 5*time.Second || silent.times() != 1 || second.times() != c.asked {
			t.Errorf("once %v: code %d after %v, asked %d and %d times: %v", c.once, code, took, silent.times(), second.times(), err)
		}
		if code == exit.Unknown && !strings.Contains(err.Error(), "it may have done what was asked") {
			t.Errorf("once %v: %v", c.once, err)
		}
	}
}

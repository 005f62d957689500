package ask

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
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

// Goal: a change that a node took and was silent about goes to the next one in time if a key
// names it, is done if that one does it, and unknown if it refuses; any other goes to no second
// node. Method: a node that lives and says nothing of the change, or closes the connection, and
// another one behind it.
func TestAChangeWithoutAnAnswerIsDoneOrUnknown(t *testing.T) {
	t.Parallel()
	key := []string{api.HeaderIdempotencyKey, "k"}
	for _, c := range []struct {
		name          string
		headers       []string
		first, second http.HandlerFunc
		code          int
		asked         int // of the second node
	}{
		{"done with a key", key, livesOnly, does, 0, 1},
		{"refused with a key", key, livesOnly, refuses(404, api.CodeNotFound), exit.Unknown, 1},
		{"denied with a key", key, livesOnly, refuses(401, api.CodeUnauthenticated), exit.Unknown, 1},
		{"silent", nil, livesOnly, does, exit.Unknown, 0},
		{"lost", nil, closes, does, exit.Unknown, 0},
		{"lost with a key", key, closes, does, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			silent, second := newStub(t, c.first), newStub(t, c.second)
			code, took, err := made(t, &Call{Method: "DELETE", Path: "/v1/it", Headers: c.headers}, silent, second)
			if code != c.code || c.asked == 1 && took > 5*time.Second || silent.times() != 1 || second.times() != c.asked {
				t.Errorf("code %d after %v, asked %d and %d times: %v", code, took, silent.times(), second.times(), err)
			}
			if code == exit.Unknown && !strings.Contains(err.Error(), "it may have done what was asked") {
				t.Error(err)
			}
		})
	}
}

// closes is a node that takes a change and closes the connection.
func closes(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/livez" {
		panic(http.ErrAbortHandler)
	}
}

// Goal: a slow leader is waited for: the change that it makes is done, and is sent to no other
// node. A node that holds a request while nobody leads, and then says that nothing was done, is
// believed, and the next one is not asked for what it cannot answer in time.
// Method: nodes that answer after more than their share of the time was.
func TestASlowNodeThatLivesIsWaitedFor(t *testing.T) {
	t.Parallel()
	slowly := func(d time.Duration, probe, answer http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/livez" {
				probe(w, r)
				return
			}
			select {
			case <-time.After(d):
				answer(w, r)
			case <-r.Context().Done():
			}
		}
	}
	for _, c := range []struct {
		name   string
		limit  time.Duration
		first  http.HandlerFunc
		others http.HandlerFunc
		code   int
		says   string
	}{
		{"a slow commit", 6 * time.Second, slowly(2500*time.Millisecond, does, does), refuses(404, api.CodeNotFound), 0, ""},
		{"a slow commit behind a slow probe", 6 * time.Second, slowly(2500*time.Millisecond, hangs, does), hangs, 0, ""},
		{"no leader", 2 * time.Second, slowly(time.Second, does, refuses(503, api.CodeNoLeader)), hangs, exit.Unavailable, "was not asked, since the time was nearly over"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			first, second, third := newStub(t, c.first), newStub(t, c.others), newStub(t, c.others)
			ctx, cancel := context.WithTimeout(t.Context(), c.limit)
			defer cancel()
			_, err := (&Call{Method: "DELETE", Path: "/v1/it"}).Make(ctx, endpointsOf(first, second, third))
			ending := &exit.Ending{}
			if errors.As(err, &ending); ending.Code != c.code || second.times()+third.times() != 0 || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("code %d, the others were asked %d times: %v", ending.Code, second.times()+third.times(), err)
			}
		})
	}
}

// Goal: no attempt at a node is left when a call has ended. Method: a node that hangs in front
// of one that answers, and a look at what attempts have ended.
func TestACallLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var under atomic.Int32
	race(ctx, 2, func(ctx context.Context, at int) answer {
		under.Add(1)
		defer under.Add(-1)
		if at == 0 {
			<-ctx.Done()
			time.Sleep(20 * time.Millisecond) // what the end of an attempt may take
		}
		return answer{at: at, err: ctx.Err()}
	}, func(a answer) bool { return a.err == nil })
	if left := under.Load(); left != 0 {
		t.Errorf("%d attempts go on", left)
	}
}

// Goal: the list of all tokens of a large cluster is read; what is longer than any answer is
// refused by its length. Method: answers of two and of seventeen megabytes.
func TestALongAnswerIsReadOrNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		megabytes int
		says      string
	}{{2, ""}, {17, "the answer is longer than 16 MiB"}} {
		long := newStub(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"name":"`+strings.Repeat("x", c.megabytes<<20)+`"}`)
		})
		var to struct{ Name string }
		_, _, err := made(t, &Call{Method: "GET", Path: "/v1/it", To: &to}, long)
		if c.says == "" && (err != nil || len(to.Name) != c.megabytes<<20) || c.says != "" && (err == nil || !strings.HasSuffix(err.Error(), ": "+c.says)) {
			t.Errorf("%d MiB: %d bytes, %v", c.megabytes, len(to.Name), err)
		}
	}
}

package httpd

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/raft"
)

// Goal: the life of a key over HTTP is what the contract says: statuses, bodies,
// entity tags, versions, revisions.
// Method: one life, step by step, over a real connection.
func TestTheLifeOfAKey(t *testing.T) {
	s, _ := newServer(t, nil)
	url := serveHTTP(t, s).URL
	steps := []struct {
		method, target, body string
		status               int
		want                 string
		header               map[string]string
	}{
		{"GET", "/v1/kv/k", "", 404, `"code": "key_not_found"`, map[string]string{"ETag": "", "Kv-Revision": "0"}},
		{"PUT", "/v1/kv/k", "one", 201, `{"key":"k","revision":1,"version":1}`, map[string]string{"ETag": `"1"`, "Kv-Version": "1", "Kv-Revision": "1", "Content-Type": "application/json"}},
		{"PUT", "/v1/kv/k", "two", 200, `{"key":"k","revision":2,"version":2}`, map[string]string{"ETag": `"2"`}},
		{"PUT", "/v1/kv/other", "x", 201, `{"key":"other","revision":3,"version":1}`, nil},
		{"POST", "/v1/kv/k?op=append", "!!", 200, `{"key":"k","revision":4,"version":3,"length":5}`, map[string]string{"ETag": `"4"`, "Kv-Version": "3"}},
		{"POST", "/v1/kv/new?op=append", "n", 200, `{"key":"new","revision":5,"version":1,"length":1}`, nil},
		{"GET", "/v1/kv/k", "", 200, "two!!", map[string]string{"ETag": `"4"`, "Kv-Version": "3", "Kv-Revision": "5", "Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff", "Kv-Consistency": "linearizable", "Content-Length": "5", "Vary": "Accept"}},
		{"GET", "/v1/kv/k?consistency=linearizable", "", 200, "two!!", nil},
		{"GET", "/v1/kv/k?consistency=stale", "", 200, "two!!", map[string]string{"Kv-Consistency": "stale"}},
		{"HEAD", "/v1/kv/k", "", 200, "", map[string]string{"ETag": `"4"`, "Content-Length": "5", "Kv-Version": "3"}},
		{"HEAD", "/v1/kv/none", "", 404, "", map[string]string{"Kv-Error": "key_not_found"}},
		{"DELETE", "/v1/kv/k", "", 204, "", map[string]string{"Kv-Deleted": "1", "Kv-Revision": "6", "Content-Length": ""}},
		{"DELETE", "/v1/kv/k", "", 204, "", map[string]string{"Kv-Deleted": "0", "Kv-Revision": "6"}},
		{"PUT", "/v1/kv/k", "", 201, `{"key":"k","revision":7,"version":1}`, nil},
		{"GET", "/v1/kv/k", "", 200, "", map[string]string{"Content-Length": "0", "ETag": `"7"`}},
	}
	for i, step := range steps {
		a := send(t, step.method, url+step.target, step.body)
		if a.status != step.status || (step.want != strings.TrimSuffix(a.body, "\n") && (step.status < 400 || !strings.Contains(a.body, step.want))) {
			t.Errorf("step %d, %s %s: %d %q, want %d %q", i, step.method, step.target, a.status, a.body, step.status, step.want)
		}
		for name, value := range step.header {
			if got := a.header.Get(name); got != value {
				t.Errorf("step %d, %s %s: %s is %q, want %q", i, step.method, step.target, name, got, value)
			}
		}
		for name, value := range map[string]string{"Kv-Node": "n1", "Kv-Leader": "n1", "Kv-Term": "3", "Cache-Control": "no-store"} {
			if got := a.header.Get(name); got != value {
				t.Errorf("step %d: %s is %q, want %q", i, name, got, value)
			}
		}
		if a.header.Get("Kv-Request-Id") == "" {
			t.Errorf("step %d: no request ID", i)
		}
	}
}

// Goal: a client that names JSON in Accept gets JSON, every other one the bytes.
// Method: a value that is not text, with various Accept headers.
func TestAcceptChoosesBetweenBytesAndJSON(t *testing.T) {
	s, _ := newServer(t, nil)
	wantStatus(t, ask(s, "PUT", "/v1/kv/%ff", "\x00\xff"), 201)
	for accept, isJSON := range map[string]bool{
		"":                                      false,
		"*/*":                                   false,
		"application/octet-stream":              false,
		"text/html, */*;q=0.8":                  false,
		"application/json":                      true,
		"Application/JSON; q=0.5":               true,
		"text/plain;q=0.2, application/json":    true,
		"application/json;q=0":                  false,
		"application/json;q=0.0, */*":           false,
		"application/jsonlines, application/js": false,
	} {
		a := ask(s, "GET", "/v1/kv/%ff", "", "Accept", accept)
		wantStatus(t, a, 200)
		if !isJSON {
			if a.body != "\x00\xff" || a.header.Get("Content-Type") != "application/octet-stream" {
				t.Errorf("Accept %q: %q as %s", accept, a.body, a.header.Get("Content-Type"))
			}
			continue
		}
		var v api.Value
		if err := json.Unmarshal([]byte(a.body), &v); err != nil || v.Name() != "\xff" || string(v.Value) != "\x00\xff" || v.Revision != 1 || v.Version != 1 {
			t.Errorf("Accept %q: %q, %v", accept, a.body, err)
		}
		if a.header.Get("Content-Type") != "application/json" {
			t.Errorf("Accept %q: JSON as %s", accept, a.header.Get("Content-Type"))
		}
	}
}

// Goal: a key stands in JSON as it was typed, without escapes that only HTML needs.
// Method: such a key, in all answers that name it.
func TestJSONNamesKeysAsTheyAreTyped(t *testing.T) {
	s, _ := newServer(t, nil)
	for _, a := range []answer{
		ask(s, "PUT", "/v1/kv/a&<b>", "v"), ask(s, "POST", "/v1/kv/a&<b>?op=append", "v"), ask(s, "GET", "/v1/kv/a&<b>", "", "Accept", api.MediaJSON),
		ask(s, "GET", "/v1/kv", ""), ask(s, "GET", "/v1/kv", "", "Accept", api.MediaNDJSON),
	} {
		if !strings.Contains(a.body, `{"key":"a&<b>",`) || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%d %q", a.status, a.body)
		}
	}
}

// Goal: 405 names the methods of just that path.
// Method: one path of each kind.
func TestMethodNotAllowedNamesTheAllowedOnes(t *testing.T) {
	s, _ := newServer(t, nil)
	for path, want := range map[string]string{
		"/v1/kv/a/b": "GET, HEAD, PUT, POST, DELETE", "/v1/status": "GET, HEAD", "/readyz": "GET, HEAD", "/v1/integrity": "GET",
	} {
		if got := ask(s, "TRACE", path, "").header.Get("Allow"); got != want {
			t.Errorf("%s takes %q, want %q", path, got, want)
		}
	}
}

// Goal: a value may have exactly the configured length, put or grown to.
// Method: both sides of the limit, with and without a declared length.
func TestValuesUpToTheLimitAreTaken(t *testing.T) {
	s, _ := newServer(t, func(c *settings) { c.MaxValueBytes = 70_000 })
	url := serveHTTP(t, s).URL
	full := strings.Repeat("x", 70_000)
	wantStatus(t, send(t, "PUT", url+"/v1/kv/a", full), 201)
	wantStatus(t, send(t, "PUT", url+"/v1/kv/b", full[1:]), 201)
	wantStatus(t, send(t, "POST", url+"/v1/kv/b?op=append", "x"), 200)
	wantProblem(t, send(t, "POST", url+"/v1/kv/b?op=append", "x"), 413, api.CodeValueTooLarge, api.OutcomeNotApplied)
	for _, c := range []struct {
		body   string
		status int
	}{{full, 201}, {full + "x", 413}} {
		r, err := http.NewRequest("PUT", url+"/v1/kv/chunked", struct{ *strings.Reader }{strings.NewReader(c.body)})
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = -1
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		wantStatus(t, readAnswer(t, response), c.status)
	}
	for _, key := range []string{"a", "b", "chunked"} {
		if got := stored(s, key); got != full {
			t.Errorf("%s has %d bytes, want %d", key, len(got), len(full))
		}
	}
}

// Goal: a request's name is the client's if it is usable, else one of ours.
// Method: good and bad names.
func TestRequestsHaveNames(t *testing.T) {
	s, _ := newServer(t, nil)
	for given, kept := range map[string]bool{
		"": false, "abc-1": true, "a b": false, "ä": false, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false,
	} {
		got := ask(s, "GET", "/v1/kv/k", "", api.HeaderRequestID, given).header.Get(api.HeaderRequestID)
		if got == "" || (got == given) != kept {
			t.Errorf("named %q, answered as %q", given, got)
		}
	}
	a, b := s.NextRequestID(), s.NextRequestID()
	if a == b {
		t.Errorf("two requests are named %q", a)
	}
}

// Goal: a handler that panics is answered, says that a write's outcome is
// unknown, and leaves the server working.
// Method: consensus panics under the handler's feet.
func TestAPanicInAHandlerIsAnsweredAndKeepsTheServer(t *testing.T) {
	s, log := newServer(t, nil)
	log.Mu.Lock()
	log.OnPropose = func(*raft.Proposal) { panic("planted") }
	log.OnRead = func(context.Context) (uint64, error) { panic("planted") }
	log.Mu.Unlock()
	wantProblem(t, ask(s, "PUT", "/v1/kv/k", "v"), 500, api.CodeInternal, api.OutcomeUnknown)
	wantProblem(t, ask(s, "GET", "/v1/kv/k", ""), 500, api.CodeInternal, api.OutcomeNotApplied)
	log.Mu.Lock()
	log.OnPropose, log.OnRead = nil, nil
	log.Mu.Unlock()
	wantStatus(t, ask(s, "PUT", "/v1/kv/k", "v"), 201)
}

// Goal: the table of errors is complete and does not contradict itself.
// Method: its invariants, row by row.
func TestTheTableOfErrorsIsSound(t *testing.T) {
	seen := map[error]bool{}
	for _, k := range failure.Kinds() {
		if seen[k.Err] {
			t.Errorf("%v has two rows", k.Err)
		}
		seen[k.Err] = true
		unknown := k.Outcome == api.OutcomeUnknown
		if unknown != (k.Status == 504 && k.Err != failure.ReadTimeout || k.Err == failure.Internal) {
			t.Errorf("%v: status %d with outcome %q", k.Err, k.Status, k.Outcome)
		}
		if unknown && k.Retryable {
			t.Errorf("%v: unknown, but safe to send again", k.Err)
		}
		if (k.RetryAfter > 0) != (k.Status == 429 || k.Status == 503) {
			t.Errorf("%v: status %d with Retry-After %v", k.Err, k.Status, k.RetryAfter)
		}
		if k.Title == "" || k.Code == "" {
			t.Errorf("%v: incomplete", k.Err)
		}
		if got := failure.KindOf(failure.Of(k.Err, failure.Of(failure.Internal, nil, "a cause"), "detail")); got.Err != k.Err {
			t.Errorf("%v is shown as %v", k.Err, got.Err)
		}
	}
	if got := failure.KindOf(fmt.Errorf("something else")); got.Err != failure.Internal {
		t.Errorf("an unexpected error is shown as %v", got.Err)
	}
}

// Goal: a probe by HEAD hears what one by GET does, without the body.
// Method: both over a connection, at a node that serves and at one that does not.
func TestProbesByHEAD(t *testing.T) {
	s, _ := newServer(t, nil)
	url := serveHTTP(t, s).URL
	ask := func(status int) {
		t.Helper()
		for _, path := range []string{"/livez", "/readyz", "/v1/status"} {
			get, head := send(t, "GET", url+path, ""), send(t, "HEAD", url+path, "")
			want := status
			if path == "/v1/status" {
				want = 200 // it tells in any case
			}
			if get.status != want || head.status != want || head.body != "" || get.body == "" || head.header.Get("Kv-Error") != get.header.Get("Kv-Error") {
				t.Errorf("%s: GET %d, HEAD %d %q, want %d", path, get.status, head.status, head.body, want)
			}
		}
	}
	ask(200)
	s.Close()
	ask(503)
}

// Goal: the list of routes is what the router answers.
// Method: each listed route must reach a handler; names and parameters must be
// fit for documents.
func TestEveryListedRouteIsServed(t *testing.T) {
	s, _ := newServer(t, func(c *settings) { c.Level = 3 })
	wantStatus(t, ask(s, "PUT", "/v1/kv/k", "v"), 201)
	wantStatus(t, ask(s, "POST", "/v1/leases", `{"ttl":"60s","lease":9}`, "Content-Type", api.MediaJSON), 201)
	// Behind two changes a request for a lock has the token 3.
	wantStatus(t, ask(s, "POST", "/v1/locks/abcd1234", `{"lease":9}`, "Content-Type", api.MediaJSON), 200)
	root := newIdentity(t, s, "root", "root0000", auth.Rule{Rights: auth.RightsOf(auth.Admin)})
	var seen []string
	for _, r := range Routes() {
		name := r.Method + " " + r.Path
		if slices.Contains(seen, name) {
			t.Errorf("%s is listed twice", name)
		}
		seen = append(seen, name)
		target, body, header := goodRequest(r)
		if r.Path == "/v1/watch" || r.Path == "/v1/events" {
			continue // have no end; see watch_test.go and events_test.go
		}
		if strings.HasPrefix(r.Path, "/v1/auth/") {
			newIdentityBy(t, s, callerOf(t, s, root), "abcd1234", "abcd1234")
			header = append(header, "Authorization", "Bearer "+root)
		}
		a := ask(s, r.Method, target, body, header...)
		if r.Right >= auth.Members && r.Right <= auth.JoinTokens && r.Path != "/v1/leader" || r.Path == "/v1/join" || r.Path == "/v1/endpoints" {
			// This server has no members; cmd/raftkv/internal/host has tests of them.
			if a.status != 501 && r.Path != "/v1/endpoints" {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
			continue
		}
		if a.status >= 400 || !slices.Contains(r.Statuses, a.status) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

package httpd

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"raftkv/client"
	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/internal/fakelog"
)

// lateKey is written by an entry that reaches this node after the read has come.
const lateKey = "late"

// linearizableReads are the routes whose answers must show everything that was
// acknowledged before the request. Each asks and returns whether the late key is
// in the answer. otherReads are the routes that promise nothing of the kind.
var linearizableReads = map[string]map[string]func(*testing.T, *testServer) bool{
	"GET /v1/kv/{key}": {
		"raw": func(_ *testing.T, s *testServer) bool { return ask(s, "GET", "/v1/kv/late", "").body == "value" },
		"json": func(_ *testing.T, s *testServer) bool {
			return strings.Contains(ask(s, "GET", "/v1/kv/late", "", "Accept", api.MediaJSON).body, `"late"`)
		},
	},
	"HEAD /v1/kv/{key}": {"": func(_ *testing.T, s *testServer) bool { return ask(s, "HEAD", "/v1/kv/late", "").status == 200 }},
	"GET /v1/kv": {
		"page": func(_ *testing.T, s *testServer) bool {
			return strings.Contains(ask(s, "GET", "/v1/kv", "").body, `"late"`)
		},
		"keys": func(_ *testing.T, s *testServer) bool {
			return strings.Contains(ask(s, "GET", "/v1/kv?keys_only", "").body, `"late"`)
		},
		"stream": func(_ *testing.T, s *testServer) bool {
			return strings.Contains(ask(s, "GET", "/v1/kv", "", "Accept", api.MediaNDJSON).body, `"late"`)
		},
	},
	"HEAD /v1/kv": {
		"page": func(_ *testing.T, s *testServer) bool {
			return ask(s, "HEAD", "/v1/kv", "").header.Get(api.HeaderRevision) == "2"
		},
		"stream": func(_ *testing.T, s *testServer) bool {
			return ask(s, "HEAD", "/v1/kv", "", "Accept", api.MediaNDJSON).header.Get(api.HeaderRevision) == "2"
		},
	},
	"POST /v1/txn": {"without a write": func(_ *testing.T, s *testServer) bool {
		return strings.Contains(ask(s, "POST", "/v1/txn", `{"then":[{"op":"get","key":"late"}]}`, "Content-Type", api.MediaJSON).body, `"late"`)
	}},
	"GET /v1/snapshot": {"": func(t *testing.T, s *testServer) bool {
		got, err := kvserver.ReadBackup(strings.NewReader(ask(s, "GET", "/v1/snapshot", "").body))
		return err == nil && got.Keys == 2
	}},
	"GET /readyz":  {"": func(_ *testing.T, s *testServer) bool { return ask(s, "GET", "/readyz", "").status == 200 }},
	"HEAD /readyz": {"": func(_ *testing.T, s *testServer) bool { return ask(s, "HEAD", "/readyz", "").status == 200 }},
	"GET /v1/clerk": {
		"get": func(t *testing.T, s *testServer) bool {
			item, err := dialPipes(t, s).Get(t.Context(), lateKey)
			return err == nil && string(item.Value) == "value"
		},
		"list": func(t *testing.T, s *testServer) bool {
			page, err := dialPipes(t, s).List(t.Context(), "")
			return err == nil && len(page.Items) == 2
		},
	},
}

// The reads of identities need a level that this store does not have; see auth_test.go.
var otherReads = []string{
	"GET /v1/auth/identities", "GET /v1/auth/identities/{name}", "GET /v1/auth/tokens", "GET /v1/auth/state", "GET /v1/auth/me",
	// Those of leases and locks likewise; they wait as a GET does (kvserver.readLeases,
	// kvserver.readLocks).
	"GET /v1/leases", "GET /v1/leases/{id}", "GET /v1/locks/{name}", "GET /v1/locks",
	// These show members, and no keys.
	"GET /v1/members", "GET /v1/members/changes/{id}", "GET /v1/cluster/settings", "GET /v1/endpoints", "GET /v1/join-tokens",
	"GET /v1/status", "HEAD /v1/status", "GET /v1/integrity", "GET /v1/recorder", "GET /v1/explain", "GET /v1/overview", "GET /v1/events", "GET /v1/watch" /* has a test of its own */, "GET /metrics", "HEAD /metrics", "GET /livez", "HEAD /livez",
}

// dialPipes returns a Clerk of s.
func dialPipes(t *testing.T, s *testServer) *client.Clerk {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Config{Endpoints: []string{"kv:1"}, Dial: servePipes(t, s).Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Goal: every kind of linearizable read shows what was acknowledged before it was
// asked for, also on a node that lags: it waits for the read index and then for
// the entries up to it.
// Method: one table over all routes and forms, HTTP and Clerk. The node is behind
// when the request comes; the read index, which comes later, lies ahead; the
// entries come last. A route that reads and is in neither list fails.
func TestEveryLinearizableReadShowsWhatWasAcknowledged(t *testing.T) {
	for _, r := range Routes() {
		name := r.Method + " " + r.Path
		forms, listed := linearizableReads[name]
		reads := r.Method == "GET" || r.Method == "HEAD"
		for _, other := range otherReads {
			listed = listed || other == name
		}
		if reads && !listed && !strings.HasPrefix(r.Path, "/ui/") {
			t.Errorf("%s: does it show what was acknowledged before it was asked?", name)
		}
		for form, read := range forms {
			t.Run(name+" "+form, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					s, log := newServer(t, func(c *settings) {
						if r.Path == txnPath {
							c.Level = 3
						}
					})
					log.Deliver(fakelog.PutCommand("early", "value"))
					synctest.Wait()
					confirm := make(chan struct{})
					log.Mu.Lock()
					log.OnRead = func(ctx context.Context) (uint64, error) {
						select {
						case <-confirm:
							return 2, nil
						case <-ctx.Done():
							return 0, ctx.Err()
						}
					}
					log.Mu.Unlock()
					log.OnTermAt = func(uint64) (uint64, error) { return 1, nil }
					shown := make(chan bool, 1)
					go func() { shown <- read(t, s) }()
					for _, step := range []func(){func() {}, func() { close(confirm) }} {
						step()
						synctest.Wait()
						select {
						case <-shown:
							t.Fatal("answered before the node had what was acknowledged")
						default:
						}
					}
					log.Deliver(fakelog.PutCommand(lateKey, "value"))
					if !<-shown {
						t.Error("the answer does not show what was acknowledged before the request")
					}
				})
			})
		}
	}
}

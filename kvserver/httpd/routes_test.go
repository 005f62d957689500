package httpd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"raftkv/kvserver"
	"raftkv/kvserver/auth"
)

// Goal: no route is forgotten when admission is decided: each row says its class,
// and writes never share room with deletes or reads.
// Method: the table of routes, by method.
func TestEveryRouteSaysItsClass(t *testing.T) {
	for _, r := range Routes() {
		if r.Class < kvserver.Free || r.Class > kvserver.Scrapes || r.Class.String() == "" {
			t.Errorf("%s %s has no class: %d", r.Method, r.Path, r.Class)
		}
		if r.Path != "/v1/kv/{key}" {
			continue
		}
		want := map[string]kvserver.Class{"GET": kvserver.Reads, "HEAD": kvserver.Reads, "PUT": kvserver.Writes, "POST": kvserver.Writes, "DELETE": kvserver.Deletes}
		if r.Class != want[r.Method] {
			t.Errorf("%s %s is of class %s, want %s", r.Method, r.Path, r.Class, want[r.Method])
		}
	}
}

// wantRights are the rights of all routes, written out a second time, so that a row whose
// right is changed fails. act: each request of the route has a line in the audit, however it
// ends; of the others those alone have one that are refused to their caller.
var wantRights = map[string]struct {
	right auth.Right
	act   bool
}{
	"GET /v1/kv/{key}": {auth.Read, false}, "HEAD /v1/kv/{key}": {auth.Read, false}, "PUT /v1/kv/{key}": {auth.Write, true},
	"POST /v1/kv/{key}": {auth.Write, true}, "DELETE /v1/kv/{key}": {auth.Delete, true},
	"GET /v1/kv": {auth.List, false}, "HEAD /v1/kv": {auth.List, false}, "DELETE /v1/kv": {auth.Delete, true}, "POST /v1/txn": {auth.Write, true},
	"GET /v1/watch": {auth.Watch, false}, "POST /v1/watch": {auth.Watch, false}, "GET /v1/clerk": {auth.Known, false},
	"POST /v1/locks/{name}": {auth.Acquire, true}, "PUT /v1/locks/{name}": {auth.Acquire, true}, "DELETE /v1/locks/{name}": {auth.Acquire, true},
	"GET /v1/locks/{name}": {auth.Observe, false}, "GET /v1/locks": {auth.Observe, false},
	"POST /v1/leases": {auth.Lease, true}, "DELETE /v1/leases/{id}": {auth.Lease, true}, "GET /v1/leases": {auth.Lease, false}, "GET /v1/leases/{id}": {auth.Lease, false},
	"POST /v1/leases/keepalive": {auth.Lease, false}, "POST /v1/leases/{id}/keepalive": {auth.Lease, false},
	"GET /v1/status": {auth.Status, false}, "HEAD /v1/status": {auth.Status, false}, "GET /metrics": {auth.Metrics, false}, "HEAD /metrics": {auth.Metrics, false},
	"GET /v1/recorder": {auth.Status, false}, "GET /v1/explain": {auth.Status, false}, "GET /v1/overview": {auth.Status, false}, "GET /v1/events": {auth.Status, false},
	"GET /v1/snapshot": {auth.Backup, true}, "POST /v1/leader": {auth.Members, true}, "GET /v1/endpoints": {auth.Known, false},
	"GET /v1/members": {auth.Members, true}, "POST /v1/members": {auth.Members, true}, "DELETE /v1/members/{id}": {auth.Members, true}, "POST /v1/members/{id}": {auth.Members, true},
	"GET /v1/members/changes/{id}": {auth.Members, true}, "POST /v1/level": {auth.Members, true}, "GET /v1/cluster/settings": {auth.Members, true}, "PUT /v1/cluster/settings": {auth.Members, true},
	"POST /v1/join": {auth.Open, true}, "POST /v1/join-tokens": {auth.JoinTokens, true}, "GET /v1/join-tokens": {auth.JoinTokens, true}, "DELETE /v1/join-tokens/{id}": {auth.JoinTokens, true},
	"GET /v1/auth/identities": {auth.Auth, false}, "GET /v1/auth/identities/{name}": {auth.Auth, false}, "PUT /v1/auth/identities/{name}": {auth.Auth, true}, "DELETE /v1/auth/identities/{name}": {auth.Auth, true},
	"GET /v1/auth/tokens": {auth.Known, false}, "POST /v1/auth/tokens": {auth.Known, true}, "DELETE /v1/auth/tokens/{name}": {auth.Known, true}, "GET /v1/auth/me": {auth.Known, false},
	"GET /v1/auth/state": {auth.Auth, false}, "PUT /v1/auth/state": {auth.Auth, true}, "POST /v1/auth/check": {auth.Auth, false},
	"GET /livez": {auth.Open, false}, "HEAD /livez": {auth.Open, false}, "GET /readyz": {auth.Open, false}, "HEAD /readyz": {auth.Open, false},
	"GET /v1/integrity": {auth.Open, false}, "GET " + pagePath: {auth.Open, false}, "GET " + pagePath + "{name}": {auth.Open, false},
}

// Goal (S1): no route is forgotten when rights are asked for: each row has a range and the
// right that stands above, where it is written out once more, a HEAD needs what its GET does,
// and only probes, the digests that nodes compare, files of the program and the wish to join,
// which brings a token of its own, need no token.
// Method: the table of routes, by method and path.
func TestEveryRouteSaysItsRight(t *testing.T) {
	open := []string{"/livez", "/readyz", "/v1/integrity", joinPath, pagePath, pagePath + "{name}"}
	seen := map[string]bool{}
	for _, r := range routeTable() {
		name := r.Method + " " + r.Path
		want, known := wantRights[name]
		if seen[name] = true; !known || r.Right != want.right || r.span == nil || r.serve == nil {
			t.Errorf("%s needs %v, want %v (known: %v); or it has no range", name, r.Right, want.right, known)
		}
		if (want.right == auth.Open) != slices.Contains(open, r.Path) {
			t.Errorf("%s needs %v", name, want.right)
		}
		if get, has := wantRights["GET "+r.Path]; r.Method == "HEAD" && (!has || get != want) {
			t.Errorf("%s needs %v, and GET %v", name, want, get)
		}
	}
	for name := range wantRights {
		if !seen[name] {
			t.Errorf("void: there is no route %s", name)
		}
	}
}

// Goal: the page about TLS names the right that the settings of a cluster need: peer_tls_required
// is one of them, and can be taken back by whoever may set it.
// Method: the row of the route, and the sentence behind the call in docs/security.md.
func TestTheSettingsNeedWhatThePageSays(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, behind, found := strings.Cut(string(page), "/v1/cluster/settings\n")
	behind, _, _ = strings.Cut(behind, "\nThe way back")
	for _, r := range routeTable() {
		if r.Method == "PUT" && r.Path == "/v1/cluster/settings" && (!found || !strings.Contains(behind, "the right `"+r.Right.String()+"`")) {
			t.Errorf("it needs the right %s, and the page says: %s", r.Right, strings.TrimSpace(behind))
		}
	}
}

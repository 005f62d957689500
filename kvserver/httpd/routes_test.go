package httpd

import (
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

// Goal (S1): no route is forgotten when rights are asked for: each row says one and has
// a range, nothing that changes a key or the cluster goes without, a HEAD needs what its
// GET does, and only probes and the digests that nodes compare need no token.
// Method: the table of routes, by method and path.
func TestEveryRouteSaysItsRight(t *testing.T) {
	exact := map[string]auth.Right{
		"GET /v1/kv/{key}": auth.Read, "GET /v1/kv": auth.List, "PUT /v1/kv/{key}": auth.Write, "POST /v1/kv/{key}": auth.Write,
		"DELETE /v1/kv/{key}": auth.Delete, "GET /v1/clerk": auth.Known, "GET /v1/status": auth.Status, "GET /metrics": auth.Metrics,
		"GET /v1/snapshot": auth.Backup, "POST /v1/leader": auth.Members, "GET /livez": auth.Open, "GET /readyz": auth.Open, "GET /v1/integrity": auth.Open,
	}
	open := []string{"/livez", "/readyz", "/v1/integrity", "/v1/join"} // what joins shows a token of its own
	ofGet := map[string]auth.Right{}
	for _, r := range routeTable() {
		name := r.Method + " " + r.Path
		if r.Right < auth.Open || r.Right > auth.Admin || r.span == nil || r.serve == nil {
			t.Errorf("%s needs %v, or has no range", name, r.Right)
		}
		isOpen := slices.Contains(open, r.Path) || strings.HasPrefix(r.Path, "/ui/") // files of the program
		if (r.Right == auth.Open) != isOpen {
			t.Errorf("%s needs %v", name, r.Right)
		}
		if want, has := exact[name]; has && r.Right != want {
			t.Errorf("%s needs %v, want %v", name, r.Right, want)
		}
		delete(exact, name)
		switch r.Method {
		case "GET":
			ofGet[r.Path] = r.Right
		case "HEAD":
			if r.Right != ofGet[r.Path] {
				t.Errorf("%s needs %v, and GET %v", name, r.Right, ofGet[r.Path])
			}
		}
	}
	for name := range exact {
		t.Errorf("void: there is no route %s", name)
	}
}

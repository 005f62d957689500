package httpd

import (
	"testing"

	"raftkv/kvserver"
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

// Goal: no route is forgotten when permissions come to be asked for: each row says one,
// nothing that changes a key or the cluster needs less than the permission for it, and
// probes need none. Method: the table of routes, by method and path.
func TestEveryRouteSaysItsPermission(t *testing.T) {
	least := map[string]Permission{"GET": None, "HEAD": None, "PUT": Write, "POST": Write, "DELETE": Write}
	exact := map[string]Permission{
		"GET /v1/kv/{key}": Read, "GET /v1/kv": Read, "PUT /v1/kv/{key}": Write, "POST /v1/kv/{key}": Write, "DELETE /v1/kv/{key}": Write,
		"GET /v1/snapshot": Admin, "POST /v1/leader": Admin, "POST /v1/members": Admin, "DELETE /v1/members/{id}": Admin, "POST /v1/members/{id}": Admin, "POST /v1/level": Admin,
		"PUT /v1/cluster/settings": Admin, "POST /v1/join-tokens": Admin, "GET /v1/join-tokens": Admin, "DELETE /v1/join-tokens/{id}": Admin, "GET /livez": None, "GET /readyz": None,
	}
	ofGet := map[string]Permission{}
	for _, r := range Routes() {
		name := r.Method + " " + r.Path
		lowest := least[r.Method]
		if r.Path == "/v1/join" { // its token is judged
			lowest = None
		}
		if r.Permission < None || r.Permission > Admin || r.Permission < lowest {
			t.Errorf("%s needs the permission %d", name, r.Permission)
		}
		if want, has := exact[name]; has && r.Permission != want {
			t.Errorf("%s needs the permission %d, want %d", name, r.Permission, want)
		}
		delete(exact, name)
		switch r.Method {
		case "GET":
			ofGet[r.Path] = r.Permission
		case "HEAD":
			if r.Permission != ofGet[r.Path] {
				t.Errorf("%s needs the permission %d, and GET %d", name, r.Permission, ofGet[r.Path])
			}
		}
	}
	for name := range exact {
		t.Errorf("void: there is no route %s", name)
	}
}

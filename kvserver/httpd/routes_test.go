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

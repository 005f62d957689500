package clerkd

import (
	"testing"

	"raftkv/kvserver/failure"
)

// Goal: a Clerk for which there is no connection is told the limit, its number and
// what to do. Method: a door whose places are all taken.
func TestTooManyClerksAreTold(t *testing.T) {
	full := &Door{limit: 6144, conns: make(map[*conn]bool)}
	for range full.limit {
		full.conns[new(conn)] = true
	}
	const want = "too many connections of Clerks (limit 6144, three quarters of --max-connections); close some, or connect to another node"
	if got := failure.Detail(full.enter(new(conn))); got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

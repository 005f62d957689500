package clerkd

import (
	"strings"
	"testing"

	"raftkv/kvserver/clerkwire"
	"raftkv/tests/bench/allocations"
)

// Goal: a Clerk's request takes no more memory than it did. Method: puts and reads, one
// after the other, on one connection to a server whose log chooses at once. The test's
// own end of the connection counts, too.
func TestAllocations(t *testing.T) {
	s, _ := newServer(t, nil)
	r := upgrade(t, s)
	value := strings.Repeat("v", 256)
	allocations.Check(t, "kvserver/clerkd", []allocations.Loop{
		{Name: "put", Run: func(b *testing.B) {
			for b.Loop() {
				r.written(r.write(clerkwire.KindPut, "bench/0000001", value), clerkwire.KindPut)
			}
		}},
		{Name: "get", Run: func(b *testing.B) {
			for b.Loop() {
				r.get("bench/0000001")
			}
		}},
	})
}

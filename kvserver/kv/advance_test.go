package kv

import "testing"

// Goal: moving over an index costs no memory: every entry on every node does it.
// Method: count allocations.
func TestAdvanceAllocatesNothing(t *testing.T) {
	s := New()
	if n := testing.AllocsPerRun(100, func() { s.Advance(s.applied + 1) }); n != 0 {
		t.Errorf("Advance takes %v allocations", n)
	}
}

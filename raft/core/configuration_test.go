package core

import "testing"

// Goal: what is kept of a server is found by its ID, whatever the order in which
// servers were named, and a stranger has nothing.
// Method: IDs of different lengths, given unsorted; every one is looked up.
func TestMembers_AreFoundByTheirID(t *testing.T) {
	s := newSubject(t, func(c *Config) { c.ID, c.Peers = "n10", []ID{"n2", "n10", "n1", "x", "n3"} })
	for i, id := range []ID{"n1", "n10", "n2", "n3", "x"} {
		if row := s.member(id); row == nil || row.id != id || s.configuration.Position(id) != i || s.configuration.Places[i].ID != id {
			t.Errorf("%q is looked for at %d and found as %+v", id, i, row)
		}
	}
	for _, id := range []ID{None, "n", "n11", "y"} {
		if s.member(id) != nil {
			t.Errorf("the stranger %q is found", id)
		}
	}
	if s.self().id != "n10" {
		t.Errorf("it takes itself for %q", s.self().id)
	}
}

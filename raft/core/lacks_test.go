package core

import "testing"

// lacks returns what the status says of the bytes that a follower lacks.
func (s *subject) lacks(id ID) int {
	s.t.Helper()
	for _, p := range s.Status().Peers {
		if p.ID == id {
			return p.LacksBytes
		}
	}
	s.t.Fatalf("the status does not name %s", id)
	return 0
}

// Goal: a leader knows how many bytes of its log a follower is not known to have, on their way
// or not, and whether it has committed anything in its term; of what memory has forgotten it
// counts nothing. Method: a leader whose log has three entries of earlier terms and a no-op; one
// follower confirms them, then of a hundred commands the first; the other confirms nothing.
func TestStatus_SaysHowManyBytesAFollowerLacks(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withLog(1, 1, 1), withNoop)
	calls := s.lead()
	all := 3*one + entryOverhead
	if s.Status().CommittedInTerm || s.lacks("2") != all || s.lacks("3") != all {
		t.Fatalf("before any answer %d and %d bytes are lacking of %d (committed: %v)", s.lacks("2"), s.lacks("3"), all, s.Status().CommittedInTerm)
	}
	for range calls { // a probe, and what it asked for
		for _, call := range calls {
			if call.To == "3" {
				s.accept(call)
			}
		}
		calls = s.takeCalls()
	}
	if !s.Status().CommittedInTerm || s.lacks("2") != all {
		t.Fatalf("the silent follower lacks %d bytes of %d (committed: %v)", s.lacks("2"), all, s.Status().CommittedInTerm)
	}
	first := s.to("3", s.propose("x"))
	for range 99 {
		s.propose("x")
	}
	if got := s.lacks("3"); got != 100*one {
		t.Fatalf("it lacks %d bytes of 100 commands that are on their way, not %d", got, 100*one)
	}
	s.accept(first)
	if got := s.lacks("3"); got != 99*one {
		t.Fatalf("it lacks %d bytes of 99 commands, not %d", got, 99*one)
	}
	s, _ = leaderWithTail(t)
	if got, want := s.lacks("2"), s.log.size; got != want || s.Status().FirstIndex != 5 {
		t.Fatalf("it lacks %d bytes of the %d in memory, which begins at %d", got, want, s.Status().FirstIndex)
	}
}

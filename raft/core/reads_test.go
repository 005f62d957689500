package core

import (
	"errors"
	"testing"
)

// What reads.go promises besides the scripts read_*.txt.

// Goal: any number of reads of one turn share one round and one message per peer.
// Method: a hundred reads between two Readys.
func TestReads_OfOneTurnShareARound(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withNoop)
	for _, call := range s.lead() {
		s.accept(call)
	}
	s.takeCalls()
	before := s.Observe().Round
	for tag := range Tag(100) {
		if err := s.Read(tag); err != nil {
			t.Fatal(err)
		}
	}
	s.run()
	calls := s.takeCalls()
	if round := s.Observe().Round; round != before+1 || len(calls) != 2 {
		t.Fatalf("%d rounds and %d messages for a hundred reads of a turn", round-before, len(calls))
	}
	s.accept(calls[0])
	if len(s.ended) != 100 {
		t.Fatalf("%d reads ended", len(s.ended))
	}
}

// Goal: a server that is asked for an index and does not lead says so at once: silence would
// hang the reader (etcd#14269).
// Method: ReadIndex to a follower, a candidate and a leader deposed by it.
func TestReads_WhoDoesNotLeadRefusesAReadIndex(t *testing.T) {
	defer failOnPanic(t)
	for name, bring := range map[string]func(*subject){
		"follower":       func(*subject) {},
		"candidate":      func(s *subject) { s.campaigns() },
		"deposed leader": func(s *subject) { s.lead() },
	} {
		s := newSubject(t)
		bring(s)
		tag := s.receive("2", &ReadIndex{Term: s.currentTerm + 1})
		if reply, ok := s.answers[tag].(*ReadIndexReply); !ok || reply.Success {
			t.Errorf("%s answered %v", name, s.answers[tag])
		}
	}
}

// Goal: a read that a follower took, and whose leader went before it could be
// asked, ends with an error instead of never.
// Method: the election timeout runs out between Read and Ready.
func TestReads_EndWhenTheLeaderGoesBeforeItIsAsked(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withPreVote)
	s.append(AppendEntries{Term: 1, LeaderID: "2"})
	if err := s.Read(7); err != nil {
		t.Fatal(err)
	}
	for s.role == Follower {
		s.Tick()
	}
	s.run()
	if done := s.ended; len(done) != 1 || done[0].Tag != 7 || !errors.Is(done[0].Err, ErrNotLeader) {
		t.Fatalf("ended %v", done)
	}
	if err := s.Read(8); !errors.Is(err, ErrNotLeader) {
		t.Fatalf("with nobody to ask: %v", err)
	}
}

// Goal: reads of a leader that cannot reach a majority never end well, however
// long its own answers and those of a minority come in.
// Method: five servers, one follower answers every heartbeat.
func TestReads_AMinorityReleasesNothing(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withServers(5), withNoop)
	for _, call := range s.lead() {
		s.accept(call)
	}
	s.takeCalls()
	_ = s.Read(1)
	s.run()
	for range 10 {
		for _, call := range append(s.takeCalls(), s.ticks(2)...) {
			if call.To == "2" {
				s.accept(call)
			}
		}
	}
	if len(s.ended) != 0 {
		t.Fatalf("ended %v with two of five servers", s.ended)
	}
	s.accept(s.to("3", s.ticks(2)))
	if done := s.ended; len(done) != 1 || done[0].Err != nil || done[0].Index != 1 {
		t.Fatalf("with three of five ended %v", done)
	}
}

package core

import (
	"errors"
	"testing"
)

// ratherNot makes servers, by position, such that would rather not lead.
func (w *timed) ratherNot(positions ...int) {
	for _, i := range positions {
		w.servers[i].RatherNot(true)
	}
}

// Goal: leadership that is handed on comes to a server that would lead, whoever has
// the first ID. Method: of five the first two would rather not; the first leads and
// hands on to whom it likes.
func TestRatherNot_ATransferPassesThemOver(t *testing.T) {
	for seed := range uint64(10) {
		w := newTimed(t, 5, seed)
		w.run(3_000)
		if l := w.leader(); l.config.ID != "1" {
			if err := l.Transfer("1"); err != nil {
				t.Fatal(err)
			}
			l.turn()
			w.run(1_000)
		}
		first := w.leader()
		w.ratherNot(0, 1)
		w.run(200)
		if first.config.ID != "1" || first.role != Leader {
			t.Fatalf("seed %d: %s leads, not the first", seed, first.config.ID)
		}
		if err := first.Transfer("2"); err == nil {
			t.Fatal("a server that would rather not lead is taken by name")
		}
		if err := first.Transfer(None); err != nil {
			t.Fatal(err)
		}
		first.turn()
		w.run(1_000)
		if l := w.leader(); l == nil || l.config.ID <= "2" {
			t.Fatalf("seed %d: after the transfer %+v leads", seed, l)
		}
	}
}

// Goal: such servers do not stand while others can lead. Method: two of five; the
// leader dies again and again.
func TestRatherNot_TheyDoNotStandWhileOthersCan(t *testing.T) {
	for seed := range uint64(20) {
		w := newTimed(t, 5, seed)
		w.ratherNot(0, 3)
		for range 2 {
			w.run(4_000)
			l := w.leader()
			if l == nil {
				t.Fatalf("seed %d: nobody leads", seed)
			}
			l.down = true
		}
		w.run(500)
		for _, i := range []int{0, 3} {
			if n := w.servers[i].counts.Campaigns; n > 0 {
				t.Fatalf("seed %d: server %d stood %d times", seed, i+1, n)
			}
		}
	}
}

// Goal: where nobody else can, such a server leads. Method: all of three would
// rather not; then two do and the third is down; then one server alone.
func TestRatherNot_TheyLeadIfNobodyElseDoes(t *testing.T) {
	for seed := range uint64(10) {
		all := newTimed(t, 3, seed)
		all.ratherNot(0, 1, 2)
		two := newTimed(t, 3, seed)
		two.ratherNot(0, 1)
		two.servers[2].down = true
		one := newTimed(t, 1, seed)
		one.ratherNot(0)
		for i, w := range []*timed{all, two, one} {
			w.run(6_000)
			if w.leader() == nil {
				t.Fatalf("seed %d, world %d: nobody leads after 6 s", seed, i)
			}
		}
		all.run(500)
		if err := all.leader().Transfer(None); !errors.Is(err, ErrNobodyElse) {
			t.Fatalf("leadership is handed to one that would rather not: %v", err)
		}
	}
}

// Goal: such a server does not stand when the leader asks it to, and tells the
// leader of itself with every answer: accepted, pending and refused. Method: each
// message.
func TestRatherNot_IsSaidAndKept(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t)
	s.RatherNot(true)
	s.receive("2", &AppendEntries{Term: 1, LeaderID: "2"})
	s.receive("2", &TimeoutNow{Term: 1, LeaderID: "2"})
	if s.role != Follower {
		t.Fatalf("after TimeoutNow it is %v", s.role)
	}
	s.slowDisk = true
	s.receive("2", &AppendEntries{Term: 1, LeaderID: "2", Entries: entriesOf(1, 1)})
	for name, req := range map[string]*AppendEntries{
		"success": {Term: 1, LeaderID: "2"},
		"pending": {Term: 1, LeaderID: "2", PrevLogIndex: 1, PrevLogTerm: 1},
		"refused": {Term: 1, LeaderID: "2", PrevLogIndex: 9, PrevLogTerm: 1},
	} {
		for _, ratherNot := range []bool{true, false} {
			s.RatherNot(ratherNot)
			if reply, ok := s.answers[s.receive("2", req)].(*AppendEntriesReply); !ok || reply.RatherNot != ratherNot {
				t.Errorf("%s: %+v, want %v", name, reply, ratherNot)
			}
		}
	}
}

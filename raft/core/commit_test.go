package core

import (
	"slices"
	"testing"
)

func knownCommitted(index uint64) func(*State) { return func(s *State) { s.Commit = index } }

// Goal: a start begins with the commit index on the disk: what it covers is
// applied without a leader. Method: a server alone with a log of four, three of
// them known to be committed.
func TestAStartAppliesWhatIsKnownToBeCommitted(t *testing.T) {
	s := newSubject(t, withLog(1, 1, 2, 2), knownCommitted(3))
	s.run()
	if s.commitIndex != 3 || len(s.applied) != 3 || s.applied[2].Index != 3 {
		t.Fatalf("committed %d, applied %v", s.commitIndex, s.applied)
	}
	s = newSubject(t, func(disk *State) { *disk = State{Term: 2, Snapshot: Snapshot{Index: 5, Term: 2}, Commit: 4} })
	if s.commitIndex != 5 {
		t.Fatalf("behind a snapshot at 5 the commit index is %d", s.commitIndex)
	}
}

// Goal: every write takes the commit index along, as far as the log will be on the
// disk with it; a commit index alone causes no write. Method: a follower whose
// leader commits behind what it has, and within it, one message at a time.
func TestTheCommitIndexTravelsWithTheNextWrite(t *testing.T) {
	s := newSubject(t, inTerm(2))
	s.append(AppendEntries{Term: 2, LeaderID: "2", Entries: entriesOf(1, 1, 2), LeaderCommit: 1})
	s.append(AppendEntries{Term: 2, LeaderID: "2", PrevLogIndex: 2, PrevLogTerm: 2, LeaderCommit: 2})
	if len(s.writes) != 1 || s.writes[0].Commit != 1 {
		t.Fatalf("written %+v", s.writes)
	}
	s.append(AppendEntries{Term: 2, LeaderID: "2", PrevLogIndex: 2, PrevLogTerm: 2, Entries: entriesOf(3, 2), LeaderCommit: 9})
	if w := s.writes[len(s.writes)-1]; len(s.writes) != 2 || w.Commit != 3 {
		t.Fatalf("then %+v", w)
	}
}

// Goal: a commit index that nothing takes along is written on its own after
// CommitTicks, once, and with nothing else. Method: tick past that with a leader
// that has nothing to send, with CommitTicks and without.
func TestAnIdleServerWritesItsCommitIndex(t *testing.T) {
	for _, after := range []int{0, 5} {
		s := newSubject(t, inTerm(2), withLog(1, 2), func(c *Config) { c.CommitTicks = after; c.ElectionTicks = 100 })
		s.append(AppendEntries{Term: 2, LeaderID: "2", PrevLogIndex: 2, PrevLogTerm: 2, LeaderCommit: 2})
		var at []int
		for tick := 1; tick <= 20; tick++ {
			before := len(s.writes)
			s.ticks(1)
			if len(s.writes) > before {
				at = append(at, tick)
			}
		}
		if want := []int{5}; after > 0 && !slices.Equal(at, want) || after == 0 && at != nil {
			t.Fatalf("with CommitTicks %d it was written at ticks %v", after, at)
		}
		if after == 0 {
			continue
		}
		if w := s.writes[0]; w.Commit != 2 || w.Term != 2 || w.From != 0 || w.Entries != nil || w.Snapshot != nil {
			t.Errorf("written %+v", w)
		}
	}
}

// Goal: a server never gives up what it knew to be committed before it was
// restarted, and does not confirm it to a leader that has something else there: the
// leader has lost it. Method: leaders whose message conflicts behind, at and before
// the commit index, with entries and without, and one with an entry in the very
// place of the last.
func TestALeaderThatLostCommittedEntriesIsNoticed(t *testing.T) {
	for name, req := range map[string]AppendEntries{
		"entries that reach beyond":    {PrevLogIndex: 2, PrevLogTerm: 1, Entries: entriesOf(3, 4, 4)},
		"one entry in the last place":  {PrevLogIndex: 2, PrevLogTerm: 1, Entries: entriesOf(3, 4)},
		"one entry in an earlier":      {PrevLogIndex: 1, PrevLogTerm: 1, Entries: entriesOf(2, 4)},
		"a beat behind another entry":  {PrevLogIndex: 2, PrevLogTerm: 4},
		"entries behind another entry": {PrevLogIndex: 1, PrevLogTerm: 0, Entries: entriesOf(2, 4)},
	} {
		t.Run(name, func(t *testing.T) {
			req.Term, req.LeaderID = 4, "2"
			wantPanic(t, "is committed here as one of term", func() {
				newSubject(t, withLog(1, 1, 2), knownCommitted(3)).append(req)
			})
		})
	}
	s := newSubject(t, withLog(1, 1, 2, 2), knownCommitted(3))
	s.append(AppendEntries{Term: 4, LeaderID: "2", PrevLogIndex: 2, PrevLogTerm: 1, Entries: entriesOf(3, 2, 4)})
	s.wantLog(1, 1, 2, 4) // what was not committed goes
}

// Goal: a server does not start on a log that ends below what it knew to be
// committed. Method: such a state.
func TestALogThatLostCommittedEntriesDoesNotStart(t *testing.T) {
	wantPanic(t, "the log ends with entry 2, and those up to 3 are known to be committed", func() {
		newSubject(t, withLog(1, 1), knownCommitted(3))
	})
}

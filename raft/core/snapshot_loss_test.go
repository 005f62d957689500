package core

import "testing"

// Goal: a follower that needs a snapshot gets it although the call that carried
// it vanished without a word: neither answered nor reported lost.
// Method: a leader whose log starts behind a snapshot, a follower that has
// nothing; forget the call and let time pass. The second call must come, and the
// follower must be caught up by its answer.
func TestASnapshotThatVanishedIsSentAgain(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, func(st *State) {
		st.Snapshot = Snapshot{Index: 5, Term: 1}
		st.Entries, st.Term = entriesOf(6, 1), 1
	})
	first := s.to("2", s.lead())
	s.giveBack(first, &AppendEntriesReply{Term: s.currentTerm, ConflictIndex: 1})
	if _, ok := s.to("2", s.takeCalls()).Request.(*InstallSnapshot); !ok {
		t.Fatal("a follower with an empty log was not sent the snapshot")
	}
	var second *Call
	for range s.config.SnapshotPatience*s.config.ElectionTicks + 2*s.config.HeartbeatTicks {
		for _, call := range s.ticks(1) {
			if _, ok := call.Request.(*InstallSnapshot); ok && call.To == "2" {
				second = &call
			}
		}
	}
	if second == nil {
		t.Fatal("the snapshot was never sent again")
	}
	s.giveBack(*second, &InstallSnapshotReply{Term: s.currentTerm})
	if p := s.members[1].progress; p.matchIndex != 5 || p.installing != 0 {
		t.Fatalf("after the answer: match %d, installing %d", p.matchIndex, p.installing)
	}
}

// Goal: the log on the disk never has a gap, though the disk was busy while a
// snapshot replaced the log, the log went on behind it, and the service took a
// snapshot of that.
// Method: a write under way all that time; the one behind it must say that the
// newer snapshot replaces the log.
func TestASnapshotBehindOneThatIsNotSavedReplacesTheLogItself(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, inTerm(4))
	s.slowDisk = true
	s.receive("2", &AppendEntries{Term: 4, LeaderID: "2", Entries: entriesOf(1, 1)})
	s.receive("2", install(4, 3, 2))
	tag := s.receive("2", &AppendEntries{Term: 4, LeaderID: "2", PrevLogIndex: 3, PrevLogTerm: 2, LeaderCommit: 5, Entries: entriesOf(4, 4, 4, 4)})
	if s.lastApplied != 5 {
		t.Fatalf("applied %d", s.lastApplied)
	}
	s.Compact(Snapshot{Index: 5})
	s.run()
	s.save()
	w := s.writes[len(s.writes)-1]
	if w.Snapshot == nil || w.Snapshot.Index != 5 || w.Snapshot.Term != 4 || w.From != 6 || len(w.Entries) != 1 {
		t.Fatalf("the write behind the one under way is %+v", w)
	}
	s.save()
	if reply, ok := s.answers[tag].(*AppendEntriesReply); !ok || !reply.Success || s.durable != 6 {
		t.Fatalf("after it: answered %+v, durable %d", s.answers[tag], s.durable)
	}
}

package core

import "testing"

// Figure 13, "InstallSnapshot RPC", and §7, rule by rule. A snapshot travels in
// one piece, so that steps 2 to 4 of the figure, which are about pieces, have
// nothing to say.

func install(term, index, ofTerm uint64) *InstallSnapshot {
	return &InstallSnapshot{Term: term, LeaderID: "2", Snapshot: Snapshot{Index: index, Term: ofTerm, Data: []byte("state")}}
}

// Goal: step 1: a snapshot of an older leader is refused.
// Method: a follower in term 5 gets one of term 4.
func TestFigure13_Receiver1_RefusesOlderTerm(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, inTerm(5), withLog(1))
	tag := s.receive("2", install(4, 3, 2))
	if reply, ok := s.answers[tag].(*InstallSnapshotReply); !ok || reply.Term != 5 {
		t.Fatalf("answered %v", s.answers[tag])
	}
	if len(s.restored) != 0 || s.leader != None {
		t.Fatalf("restored %v, follows %q", s.restored, s.leader)
	}
	s.wantLog(1)
}

// Goal: steps 5, 7 and 8: a snapshot beyond the log replaces it, and so does one
// that contradicts it, with all the log has behind (hashicorp/raft#697); the
// state machine is restored from it and goes on behind it.
// Method: a short log, a long one of other terms, and one with a conflict at the
// very place; then an entry behind the snapshot.
func TestFigure13_Receiver7_ReplacesALogThatLacksOrContradictsIt(t *testing.T) {
	defer failOnPanic(t)
	for _, terms := range [][]uint64{{}, {1, 1}, {1, 1, 1}, {1, 1, 1, 1, 1}} {
		s := newSubject(t, withLog(terms...))
		s.receive("2", install(4, 3, 2))
		if len(s.restored) != 1 || s.restored[0].Index != 3 || string(s.restored[0].Data) != "state" || s.lastApplied != 3 || s.commitIndex != 3 {
			t.Fatalf("log %v: restored %v, applied %d, committed %d", terms, s.restored, s.lastApplied, s.commitIndex)
		}
		s.wantLog()
		if w := s.writes[len(s.writes)-1]; w.Snapshot == nil || w.Snapshot.Index != 3 || w.From != 4 || len(w.Entries) != 0 {
			t.Fatalf("log %v: the write is %+v", terms, w)
		}
		if reply := s.append(AppendEntries{Term: 4, LeaderID: "2", PrevLogIndex: 3, PrevLogTerm: 2, Entries: entriesOf(4, 4), LeaderCommit: 4}); !reply.Success {
			t.Fatalf("log %v: the entry behind the snapshot was refused", terms)
		}
		if len(s.applied) != 1 || s.applied[0].Index != 4 {
			t.Fatalf("log %v: then applied %v", terms, s.applied)
		}
	}
}

// Goal: step 6: if the log holds the snapshot's last entry, what follows it is
// kept: it may be committed already (planted bug M18).
// Method: a log of five with the snapshot's entry in the middle.
func TestFigure13_Receiver6_KeepsWhatFollowsTheSnapshot(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withLog(1, 2, 2, 3, 3))
	s.receive("2", install(4, 3, 2))
	s.wantLog(1, 2, 2, 3, 3)
	if len(s.restored) != 0 || s.commitIndex != 3 || len(s.applied) != 3 {
		t.Fatalf("restored %v, committed %d, applied %d entries", s.restored, s.commitIndex, len(s.applied))
	}
}

// Goal: a snapshot of what is committed here already changes nothing (planted bug
// M17): neither the log nor the state machine goes back.
// Method: every snapshot up to the commit index of 4, behind an own one at 2.
func TestFigure13_AnOldSnapshotChangesNothing(t *testing.T) {
	defer failOnPanic(t)
	for index := uint64(1); index <= 4; index++ {
		s := newSubject(t, withLog(1, 1, 1, 1, 1))
		s.append(AppendEntries{Term: 2, LeaderID: "2", PrevLogIndex: 4, PrevLogTerm: 1, LeaderCommit: 4})
		s.Compact(Snapshot{Index: 2})
		s.run()
		tag := s.receive("2", install(2, index, 1))
		if s.answers[tag] == nil || len(s.restored) != 0 || s.lastApplied != 4 || s.commitIndex != 4 || s.log.snapshot.Index != 2 {
			t.Fatalf("snapshot at %d: answered %v, restored %v, applied %d, base %d", index, s.answers[tag], s.restored, s.lastApplied, s.log.snapshot.Index)
		}
		s.wantLog(1, 1, 1)
	}
}

// Goal: "before responding": the answer says that the disk holds the snapshot.
// Method: a slow disk that is busy with five entries when a snapshot comes that
// replaces them; their write must confirm nothing beyond the log that is left.
func TestFigure13_IsAnsweredOnlyAfterTheSnapshotIsSaved(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, inTerm(4))
	s.slowDisk = true
	s.receive("2", &AppendEntries{Term: 4, LeaderID: "2", Entries: entriesOf(1, 1, 1, 1, 1, 1)})
	tag := s.receive("2", install(4, 3, 2))
	if s.answers[tag] != nil {
		t.Fatal("answered before anything was saved")
	}
	s.save()
	if s.answers[tag] != nil || s.durable != 0 {
		t.Fatalf("answered %v by the write of the entries, durable %d", s.answers[tag], s.durable)
	}
	s.save()
	if s.answers[tag] == nil || s.durable != 3 {
		t.Fatalf("answered %v, durable %d after the snapshot's write", s.answers[tag], s.durable)
	}
}

// Goal: §7: a snapshot stands for entries that were applied, only ever for more,
// and entries behind it stay; its term is the log's.
// Method: compactions at every index, of a log of which four are applied.
func TestSection7_Compact_ForgetsOnlyWhatWasApplied(t *testing.T) {
	defer failOnPanic(t)
	for index := uint64(0); index <= 7; index++ {
		s := newSubject(t, withLog(1, 1, 2, 2, 3))
		s.append(AppendEntries{Term: 3, LeaderID: "2", PrevLogIndex: 5, PrevLogTerm: 3, LeaderCommit: 4})
		s.Compact(Snapshot{Index: 2})
		s.Compact(Snapshot{Index: index, Term: 99})
		s.run()
		want := uint64(2)
		if index == 3 || index == 4 {
			want = index
		}
		terms := []uint64{0, 1, 1, 2, 2, 3}
		if base := s.log.snapshot; base.Index != want || base.Term != terms[want] {
			t.Fatalf("compaction at %d left a snapshot at %d of term %d, want %d of term %d", index, base.Index, base.Term, want, terms[want])
		}
		s.wantLog(terms[want+1:]...)
		if w := s.writes[len(s.writes)-1]; w.Snapshot == nil || w.Snapshot.Index != want || s.durable != 5 {
			t.Fatalf("compaction at %d: the write is %+v, durable %d", index, w, s.durable)
		}
	}
}

// Goal: planted bug M19: what a snapshot stands for is committed and applied from
// the start, and is not handed out again.
// Method: start from a disk with a snapshot and entries, commit one more.
func TestSection7_ARestartGoesOnBehindTheSnapshot(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, func(state *State) {
		state.Term, state.Snapshot, state.Entries = 3, Snapshot{Index: 7, Term: 2}, entriesOf(8, 2, 3)
	})
	if s.commitIndex != 7 || s.lastApplied != 7 || s.durable != 9 {
		t.Fatalf("started with commit index %d, applied %d, durable %d", s.commitIndex, s.lastApplied, s.durable)
	}
	s.append(AppendEntries{Term: 3, LeaderID: "2", PrevLogIndex: 9, PrevLogTerm: 3, LeaderCommit: 8})
	if len(s.restored) != 0 || len(s.applied) != 1 || s.applied[0].Index != 8 {
		t.Fatalf("restored %v, applied %v", s.restored, s.applied)
	}
}

// Goal: §7 at the leader: a follower whose next entry was forgotten gets the
// snapshot, one at a time, and what follows once it has it.
// Method: a leader with a snapshot at 3 and entries to 5 is refused at 2.
func TestSection7_ALeaderSendsItsSnapshotToWhoNeedsIt(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, func(state *State) {
		state.Term, state.Snapshot, state.Entries = 3, Snapshot{Index: 3, Term: 2, Data: []byte("state")}, entriesOf(4, 2, 3)
	})
	s.giveBack(s.to("2", s.lead()), &AppendEntriesReply{Term: 4, ConflictIndex: 2})
	calls := s.takeCalls()
	req, ok := s.to("2", calls).Request.(*InstallSnapshot)
	if !ok || len(calls) != 1 || req.Snapshot.Index != 3 || string(req.Snapshot.Data) != "state" || req.Term != 4 {
		t.Fatalf("sent %v", calls)
	}
	for _, more := range s.propose("x") {
		if more.To == "2" {
			t.Fatalf("%T followed before the snapshot was answered", more.Request)
		}
	}
	s.giveBack(calls[0], &InstallSnapshotReply{Term: 4})
	next := s.entriesTo("2", s.takeCalls())
	if next.PrevLogIndex != 3 || next.PrevLogTerm != 2 || len(next.Entries) != 3 || s.Status().Peers[0].MatchIndex != 3 {
		t.Fatalf("then %+v, %+v", next, s.Status().Peers[0])
	}
}

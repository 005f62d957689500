package core

import "testing"

// What forget.go promises besides the script snapshot_tail.txt:
// Config.TrailingBytes.

func withTrailing(entries int) func(*Config) {
	return func(c *Config) { c.TrailingBytes = entries * one }
}

// Goal: as many applied bytes stay in memory as were asked for, wherever the
// snapshot stands; the disk is told of the snapshot alone. Without the option
// memory holds what is behind the snapshot.
// Method: a log of five of which four are applied, every size of tail, and
// snapshots at every index, given with their term as a service does.
func TestTrailingBytes_BoundWhatStaysInMemory(t *testing.T) {
	defer failOnPanic(t)
	for kept := range uint64(8) {
		for index := uint64(1); index <= 4; index++ {
			s := newSubject(t, withLog(1, 1, 2, 2, 3), withTrailing(int(kept)))
			s.append(AppendEntries{Term: 3, LeaderID: "2", PrevLogIndex: 5, PrevLogTerm: 3, LeaderCommit: 4})
			terms := []uint64{0, 1, 1, 2, 2, 3}
			s.Compact(Snapshot{Index: index, Term: terms[index]})
			s.run()
			base := 4 - min(4, kept)
			if kept == 0 {
				base = index
			}
			if s.log.base != (position{base, terms[base]}) || s.log.snapshot.Index != index || s.log.snapshot.Term != terms[index] {
				t.Fatalf("a tail of %d, a snapshot at %d: the log starts behind %+v, its snapshot is %+v", kept, index, s.log.base, s.log.snapshot)
			}
			s.wantLog(terms[base+1:]...)
			if w := s.writes[len(s.writes)-1]; w.Snapshot == nil || w.Snapshot.Index != index || w.From != 0 {
				t.Fatalf("a tail of %d, a snapshot at %d: the write is %+v", kept, index, w)
			}
			if status := s.Status(); status.FirstIndex != base+1 || status.SnapshotIndex != index || status.LogBytes != int(5-base)*one {
				t.Fatalf("a tail of %d, a snapshot at %d: status %+v", kept, index, status)
			}
		}
	}
}

// Goal: memory is bounded while no snapshot is taken at all, and not by work with
// every entry.
// Method: a thousand commands with a tail of ten; the followers answer.
func TestTrailingBytes_BoundMemoryBetweenSnapshots(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withTrailing(10))
	for _, call := range s.lead() {
		s.accept(call)
	}
	arrays := map[*Entry]bool{}
	for i := range 1000 {
		for _, call := range s.propose("x") {
			s.accept(call)
		}
		if n := len(s.log.entries); n > 21 || i > 10 && n < 10 {
			t.Fatalf("after %d commands memory holds %d entries", i+1, n)
		}
		arrays[&s.log.entries[0]] = true
	}
	if len(arrays) > 1000/4 { // what was appended meanwhile moved it, too
		t.Fatalf("the log moved %d times in 1000 commands", len(arrays))
	}
}

// leaderWithTail returns a leader with entries 1 to 6, all applied, of which 5
// and 6 are in memory, and the heartbeat that asks server 2, which was silent.
func leaderWithTail(t *testing.T) (*subject, Call) {
	t.Helper()
	s := newSubject(t, withLog(1, 1, 1, 1, 1), withTrailing(2), withNoop)
	calls := s.lead()
	s.giveBack(s.to("2", calls), nil)
	s.accept(s.to("3", calls))
	if s.lastApplied != 6 || s.log.base.Index != 4 || s.Status().SnapshotWanted {
		t.Fatalf("applied %d, the log starts behind %+v, a snapshot is wanted: %v", s.lastApplied, s.log.base, s.Status().SnapshotWanted)
	}
	return s, s.to("2", s.ticks(2))
}

// refuse ends an AppendEntries by saying that the log ends before next.
func (s *subject) refuse(call Call, next uint64) {
	s.takeCalls()
	s.giveBack(call, &AppendEntriesReply{Term: s.currentTerm, ConflictIndex: next})
}

// Goal: a follower that memory reaches gets entries, one that it does not reach
// gets the newest snapshot.
// Method: a leader with a snapshot at 5 and entries from 5 on in memory is refused
// at every index.
func TestTrailingBytes_SpareAFollowerTheSnapshot(t *testing.T) {
	defer failOnPanic(t)
	for next := uint64(1); next <= 5; next++ {
		s, beat := leaderWithTail(t)
		s.Compact(Snapshot{Index: 5, Data: []byte("state")})
		s.refuse(beat, next)
		switch req := s.to("2", s.takeCalls()).Request.(type) {
		case *AppendEntries:
			if next < 5 || req.PrevLogIndex != next-1 || len(req.Entries) != int(7-next) {
				t.Fatalf("refused at %d it sent %+v", next, req)
			}
		case *InstallSnapshot:
			if next >= 5 || req.Snapshot.Index != 5 || req.Snapshot.Term != 1 || string(req.Snapshot.Data) != "state" {
				t.Fatalf("refused at %d it sent %+v", next, req)
			}
		}
	}
}

// Goal: where the newest snapshot is too old for what memory holds to follow it,
// the service is asked for one, and the follower gets that.
// Method: no snapshot, and then one at 2, when memory begins at 5; only an answer
// of the follower makes one wanted, and one that reaches ends it.
func TestTrailingBytes_AskForASnapshotThatReaches(t *testing.T) {
	defer failOnPanic(t)
	for _, old := range []uint64{0, 2} {
		s, beat := leaderWithTail(t)
		s.Compact(Snapshot{Index: old, Term: 1})
		s.refuse(beat, 1)
		if calls := s.takeCalls(); len(calls) != 0 || !s.Status().SnapshotWanted {
			t.Fatalf("it sent %v; a snapshot is wanted: %v", calls, s.Status().SnapshotWanted)
		}
		s.giveBack(s.to("2", s.ticks(2)), nil)
		if s.Status().SnapshotWanted {
			t.Fatal("a snapshot is wanted for a follower that does not answer")
		}
		s.refuse(s.to("2", s.ticks(2)), 1)
		s.Compact(Snapshot{Index: 6})
		s.run()
		if req, ok := s.to("2", s.takeCalls()).Request.(*InstallSnapshot); !ok || req.Snapshot.Index != 6 || s.Status().SnapshotWanted {
			t.Fatalf("then it sent %+v", req)
		}
	}
}

// Goal: a snapshot that takes long is not too old when it is there: what follows
// it stays in memory if a follower waits for it, and only then.
// Method: much is applied while a snapshot at 6 is being taken, with and without a
// follower that waits, and when the service gave it up.
func TestTrailingBytes_KeepWhatFollowsASnapshotThatIsBeingTaken(t *testing.T) {
	defer failOnPanic(t)
	for _, c := range []struct{ waits, givenUp, kept bool }{{true, false, true}, {false, false, false}, {true, true, false}} {
		s, beat := leaderWithTail(t)
		if c.waits {
			s.refuse(beat, 1)
		} else {
			s.giveBack(beat, nil)
		}
		s.Taking(6)
		if c.givenUp {
			s.Taking(0)
		}
		for range 20 {
			s.accept(s.to("3", s.propose("x")))
		}
		if kept := s.log.base.Index <= 6; kept != c.kept {
			t.Fatalf("%+v: the log starts behind %+v", c, s.log.base)
		}
		if !c.kept {
			continue
		}
		s.Compact(Snapshot{Index: 6})
		s.Taking(0)
		s.takeCalls()
		s.run()
		sent := s.to("2", s.takeCalls())
		if req, ok := sent.Request.(*InstallSnapshot); !ok || req.Snapshot.Index != 6 {
			t.Fatalf("then it sent %+v", sent.Request)
		}
		s.giveBack(sent, &InstallSnapshotReply{Term: 2})
		if req := s.entriesTo("2", s.takeCalls()); req.PrevLogIndex != 6 || len(req.Entries) != 20 {
			t.Fatalf("then %d entries behind %d", len(req.Entries), req.PrevLogIndex)
		}
	}
}

// Goal: a follower that answers gets all it lacks from memory, however slow it is,
// but for what the snapshot before the newest stands for; one that is silent
// holds nothing up.
// Method: 2 answers that it is there and takes nothing, while snapshots are taken:
// the third is the one that it must be given, and later it does not answer at all.
func TestTrailingBytes_WaitForAFollowerThatAnswers(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withTrailing(2), func(c *Config) { c.Window = 1 })
	for _, call := range s.lead() {
		s.accept(call)
	}
	var slow Call
	more := func(snapshotAt uint64) {
		for range 10 {
			for _, call := range s.propose("x") {
				if call.To == "3" {
					s.accept(call)
				} else {
					slow = call
				}
			}
		}
		s.Compact(Snapshot{Index: snapshotAt, Term: 1})
		s.run()
	}
	for _, step := range []struct{ snapshot, base uint64 }{{0, 0}, {15, 0}, {25, 15}, {35, 35}} {
		if more(step.snapshot); s.log.base.Index != step.base {
			t.Fatalf("with a snapshot at %d the log starts behind %d, want %d", s.log.snapshot.Index, s.log.base.Index, step.base)
		}
	}
	s.giveBack(slow, nil)
	if more(0); s.log.base.Index < 45 {
		t.Fatalf("for a silent follower the log starts behind %d", s.log.base.Index)
	}
}

// Goal: what follows a snapshot that is under way stays, or the follower would
// need the next one as soon as it has this one, and so for ever.
// Method: a snapshot at 6 is under way while much is applied and another one is
// taken; then its answer comes. With one more snapshot it is too late.
func TestTrailingBytes_ASnapshotUnderWayKeepsWhatFollowsIt(t *testing.T) {
	defer failOnPanic(t)
	for _, late := range []bool{false, true} {
		s, beat := leaderWithTail(t)
		s.Compact(Snapshot{Index: 6})
		s.refuse(beat, 1)
		sent := s.to("2", s.takeCalls())
		more := func(snapshotAt uint64) {
			for range 10 {
				s.accept(s.to("3", s.propose("x")))
			}
			s.Compact(Snapshot{Index: snapshotAt, Term: 2})
			s.run()
		}
		more(15)
		if s.log.base.Index != 6 || s.log.snapshot.Index != 15 {
			t.Fatalf("snapshot %+v, the log starts behind %+v", s.log.snapshot, s.log.base)
		}
		if late {
			more(25)
		}
		s.takeCalls()
		s.giveBack(sent, &InstallSnapshotReply{Term: 2})
		switch req := s.to("2", s.takeCalls()).Request.(type) {
		case *AppendEntries:
			if late || req.PrevLogIndex != 6 {
				t.Fatalf("late %v: then %+v", late, req)
			}
		case *InstallSnapshot:
			if !late || req.Snapshot.Index != 25 {
				t.Fatalf("late %v: then %+v", late, req)
			}
		}
	}
}

// Goal: a snapshot never makes a gap in the log on disk: what it stands for is
// written before it (a later start may have to fall back to the snapshot before).
// Method: a slow disk; entries that a snapshot covers are not even with it when
// the snapshot is taken.
func TestSection7_Compact_LeavesNoGapOnTheDisk(t *testing.T) {
	defer failOnPanic(t)
	for _, trailing := range []int{0, 1, 9} {
		s := newSubject(t, inTerm(1), withTrailing(trailing))
		s.slowDisk = true
		s.receive("2", &AppendEntries{Term: 1, LeaderID: "2", Entries: entriesOf(1, 1, 1), LeaderCommit: 2})
		s.receive("2", &AppendEntries{Term: 1, LeaderID: "2", PrevLogIndex: 2, PrevLogTerm: 1, Entries: entriesOf(3, 1, 1, 1), LeaderCommit: 4})
		if s.lastApplied != 4 || s.durable != 0 || len(s.writes) != 1 {
			t.Fatalf("applied %d, durable %d, %d writes", s.lastApplied, s.durable, len(s.writes))
		}
		s.Compact(Snapshot{Index: 4})
		s.run()
		for _, want := range []Write{{From: 1}, {From: 3}, {Snapshot: &Snapshot{Index: 4}}} {
			w := s.writes[len(s.writes)-1]
			if w.From != want.From || (w.Snapshot != nil) != (want.Snapshot != nil) {
				t.Fatalf("trailing %d: write %d is %+v, want %+v", trailing, len(s.writes), w, want)
			}
			s.save()
		}
		if s.durable != 5 || len(s.writes) != 3 {
			t.Fatalf("durable %d after %d writes", s.durable, len(s.writes))
		}
	}
}

// Goal: A50: where memory does not begin behind the snapshot, too, a late,
// repeated or older snapshot changes nothing, and one beyond the log replaces
// everything.
// Method: a log of six with a snapshot at 2 or 4 and memory from 4 on gets
// snapshots at every index up to 9.
func TestFigure13_SnapshotsAndATail(t *testing.T) {
	defer failOnPanic(t)
	for _, own := range []uint64{2, 4} {
		for index := uint64(1); index <= 9; index++ {
			s := newSubject(t, withLog(1, 1, 1, 1, 1, 1), withTrailing(2))
			s.append(AppendEntries{Term: 2, LeaderID: "2", PrevLogIndex: 6, PrevLogTerm: 1, LeaderCommit: 5})
			s.Compact(Snapshot{Index: own, Term: 1})
			s.run()
			tag := s.receive("2", install(2, index, 1))
			if s.answers[tag] == nil {
				t.Fatalf("the snapshot at %d is not answered", index)
			}
			if index <= 6 {
				if len(s.restored) != 0 || s.log.snapshot.Index != own || s.log.base.Index != 3 || s.commitIndex != max(index, 5) {
					t.Fatalf("the snapshot at %d: restored %v, snapshot %+v, base %+v, committed %d", index, s.restored, s.log.snapshot, s.log.base, s.commitIndex)
				}
				s.wantLog(1, 1, 1)
				continue
			}
			if len(s.restored) != 1 || s.log.snapshot.Index != index || s.log.base.Index != index || s.lastApplied != index || s.log.size != 0 {
				t.Fatalf("the snapshot at %d: restored %v, snapshot %+v, base %+v", index, s.restored, s.log.snapshot, s.log.base)
			}
			s.wantLog()
		}
	}
}

// Goal: a driver that reports every loss may turn the patience with snapshots
// off: a long transfer is then never begun anew by the clock.
// Method: a snapshot under way and a hundred election timeouts.
func TestSnapshotPatience_MayBeEndless(t *testing.T) {
	defer failOnPanic(t)
	for _, patience := range []int{-1, 3} {
		s, beat := leaderWithTail(t)
		s.config.SnapshotPatience = patience
		s.Compact(Snapshot{Index: 6})
		s.refuse(beat, 1)
		s.takeCalls()
		again := 0
		for range 100 * s.config.ElectionTicks {
			for _, call := range s.ticks(1) {
				if _, ok := call.Request.(*InstallSnapshot); ok {
					again++
				}
			}
		}
		if (patience < 0) != (again == 0) {
			t.Fatalf("with a patience of %d it was sent again %d times", patience, again)
		}
	}
}

package core

import "testing"

// Config.TrailingBytes: what stays in memory behind a snapshot, so that a
// follower slightly behind needs no snapshot.

func withTrailing(entries int) func(*Config) {
	return func(c *Config) { c.TrailingBytes = entries * one }
}

// Goal: a tail of what a snapshot stands for stays in memory, as large as asked
// for and no larger; the disk is told of the snapshot alone.
// Method: compactions at every index behind a first one, with every size of tail.
func TestTrailingBytes_BoundWhatStaysBehindASnapshot(t *testing.T) {
	defer failOnPanic(t)
	for kept := range uint64(8) {
		for index := uint64(1); index <= 4; index++ {
			s := newSubject(t, withLog(1, 1, 2, 2, 3), withTrailing(int(kept)))
			s.append(AppendEntries{Term: 3, LeaderID: "2", PrevLogIndex: 5, PrevLogTerm: 3, LeaderCommit: 4})
			s.Compact(Snapshot{Index: index})
			s.run()
			terms := []uint64{0, 1, 1, 2, 2, 3}
			base := index - min(index, kept)
			if s.log.base != (place{base, terms[base]}) || s.log.snapshot.Index != index {
				t.Fatalf("a tail of %d behind %d: the log starts behind %+v, its snapshot is %+v", kept, index, s.log.base, s.log.snapshot)
			}
			s.wantLog(terms[base+1:]...)
			if w := s.writes[len(s.writes)-1]; w.Snapshot == nil || w.Snapshot.Index != index || w.From != 0 {
				t.Fatalf("a tail of %d behind %d: the write is %+v", kept, index, w)
			}
			if status := s.Status(); status.FirstIndex != base+1 || status.SnapshotIndex != index {
				t.Fatalf("a tail of %d behind %d: status %+v", kept, index, status)
			}
		}
	}
}

// leaderWithTail returns a leader with entries 1 to 6, committed, a snapshot at 5
// and a tail from 4 on, and its first call to server 2, not yet answered.
func leaderWithTail(t *testing.T) (*subject, Call) {
	t.Helper()
	s := newSubject(t, withLog(1, 1, 1, 1, 1), withTrailing(2), withNoop)
	calls := s.lead()
	s.accept(s.to("3", calls))
	s.Compact(Snapshot{Index: 5, Data: []byte("state")})
	s.run()
	if s.commitIndex != 6 || s.log.base.Index != 3 || s.log.snapshot.Index != 5 {
		t.Fatalf("committed %d, snapshot %+v, the log starts behind %+v", s.commitIndex, s.log.snapshot, s.log.base)
	}
	s.takeCalls()
	return s, s.to("2", calls)
}

// Goal: a follower that the tail reaches gets entries, one that it does not
// reach gets the newest snapshot.
// Method: a leader with a snapshot at 5 and a tail from 4 on is refused at every
// index.
func TestTrailingBytes_SpareAFollowerTheSnapshot(t *testing.T) {
	defer failOnPanic(t)
	for next := uint64(1); next <= 5; next++ {
		s, first := leaderWithTail(t)
		s.giveBack(first, &AppendEntriesReply{Term: 2, ConflictIndex: next})
		switch req := s.to("2", s.takeCalls()).Request.(type) {
		case *AppendEntries:
			if next < 4 || req.PrevLogIndex != next-1 || len(req.Entries) != int(7-next) {
				t.Fatalf("refused at %d it sent %+v", next, req)
			}
		case *InstallSnapshot:
			if next >= 4 || req.Snapshot.Index != 5 || req.Snapshot.Term != 1 || string(req.Snapshot.Data) != "state" {
				t.Fatalf("refused at %d it sent %+v", next, req)
			}
		}
	}
}

// Goal: while a snapshot is under way to a follower, the next one does not take
// away what follows it, or the follower would never catch up; one more may.
// Method: a snapshot at 5 is under way when others are taken at 8 and at 10.
func TestTrailingBytes_ASnapshotUnderWayKeepsWhatFollowsIt(t *testing.T) {
	defer failOnPanic(t)
	s, first := leaderWithTail(t)
	s.giveBack(first, &AppendEntriesReply{Term: 2, ConflictIndex: 1})
	sent := s.to("2", s.takeCalls())
	more := func(snapshotAt uint64) {
		for range 3 {
			s.accept(s.to("3", s.propose("x")))
		}
		s.Compact(Snapshot{Index: snapshotAt})
		s.run()
	}
	more(9)
	if s.log.base.Index != 5 || s.log.snapshot.Index != 9 {
		t.Fatalf("snapshot %+v, the log starts behind %+v", s.log.snapshot, s.log.base)
	}
	more(12)
	if s.log.base.Index != 10 {
		t.Fatalf("after one more snapshot the log starts behind %+v", s.log.base)
	}
	// It is too late for entries now, and the newest snapshot follows.
	s.giveBack(sent, &InstallSnapshotReply{Term: 2})
	if req, ok := s.to("2", s.takeCalls()).Request.(*InstallSnapshot); !ok || req.Snapshot.Index != 12 {
		t.Fatalf("then %+v", req)
	}
}

// Goal: a snapshot never makes a gap in the log on disk: what it stands for is
// written before it, even if it was forgotten by everybody else (a later start
// may have to fall back to the snapshot before).
// Method: a slow disk; the entries that a snapshot covers are not even with it
// when the snapshot is taken.
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

// Goal: A50: with a tail too, a late, repeated or older snapshot changes nothing,
// and one beyond the log replaces snapshot and tail.
// Method: a log of six with a snapshot at 4 and a tail from 3 on gets snapshots at
// every index up to 9.
func TestFigure13_SnapshotsAndATail(t *testing.T) {
	defer failOnPanic(t)
	for index := uint64(1); index <= 9; index++ {
		s := newSubject(t, withLog(1, 1, 1, 1, 1, 1), withTrailing(2))
		s.append(AppendEntries{Term: 2, LeaderID: "2", PrevLogIndex: 6, PrevLogTerm: 1, LeaderCommit: 5})
		s.Compact(Snapshot{Index: 4})
		s.run()
		tag := s.receive("2", install(2, index, 1))
		if s.answers[tag] == nil {
			t.Fatalf("the snapshot at %d is not answered", index)
		}
		if index <= 6 {
			if len(s.restored) != 0 || s.log.snapshot.Index != 4 || s.log.base.Index != 2 || s.commitIndex != max(index, 5) {
				t.Fatalf("the snapshot at %d: restored %v, snapshot %+v, base %+v, committed %d", index, s.restored, s.log.snapshot, s.log.base, s.commitIndex)
			}
			s.wantLog(1, 1, 1, 1)
			continue
		}
		if len(s.restored) != 1 || s.log.snapshot.Index != index || s.log.base.Index != index || s.lastApplied != index {
			t.Fatalf("the snapshot at %d: restored %v, snapshot %+v, base %+v", index, s.restored, s.log.snapshot, s.log.base)
		}
		s.wantLog()
	}
}

// Goal: a driver that reports every loss may turn the patience with snapshots
// off: a long transfer is then never begun anew by the clock.
// Method: a snapshot under way and a hundred election timeouts.
func TestSnapshotPatience_MayBeEndless(t *testing.T) {
	defer failOnPanic(t)
	for _, patience := range []int{-1, 3} {
		s, first := leaderWithTail(t)
		s.config.SnapshotPatience = patience
		s.giveBack(first, &AppendEntriesReply{Term: 2, ConflictIndex: 1})
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

package core

import "testing"

// What slow.go promises besides the script stall.txt: Config.StallTicks.

func withStall(ticks int) func(*Config) { return func(c *Config) { c.StallTicks = ticks } }

// stalledLeader returns a leader of five with a write under way: server 4 holds
// all of its log, 3 less, 2 and 5 nothing.
func stalledLeader(t *testing.T, ticks int) *subject {
	t.Helper()
	s := newSubject(t, withServers(5), withStall(ticks), withCheckQuorum)
	calls := s.lead()
	for _, id := range []ID{"3", "4"} {
		s.accept(s.to(id, calls))
	}
	s.slowDisk = true
	calls = s.propose("x")
	s.accept(s.to("3", calls))
	s.accept(s.to("4", calls))
	s.accept(s.to("4", s.propose("y")))
	s.takeCalls()
	return s
}

// Goal: a leader whose write does not end in StallTicks tells the follower whose
// log is most complete to stand, and leads no more; not a tick earlier.
// Method: a disk that says nothing, other servers that answer.
func TestStall_ALeaderHandsOver(t *testing.T) {
	defer failOnPanic(t)
	s := stalledLeader(t, 15)
	if calls := s.ticks(14); s.role != Leader || s.Status().Stalled {
		t.Fatalf("after 14 ticks it is %v and sent %v", s.role, calls)
	}
	calls := s.ticks(1)
	if s.want(Follower, 1); len(calls) != 1 {
		t.Fatalf("it sent %v", calls)
	}
	if req, ok := s.to("4", calls).Request.(*TimeoutNow); !ok || req.Term != 1 || req.LeaderID != "1" {
		t.Fatalf("it sent %+v", calls[0].Request)
	}
	if status := s.Status(); !status.Stalled || status.WriteTicks != 15 || status.Counts.StalledDisk != 1 || status.Counts.Elected != 1 || status.Leader != None {
		t.Fatalf("status %+v", status)
	}
}

// Goal: what was proposed is neither lost nor taken back by handing over: what
// the others hold is committed by the next leader.
// Method: the stalled server follows the next leader, which commits its entries;
// its own disk ends its write then.
func TestStall_TheOldLeaderRejoins(t *testing.T) {
	defer failOnPanic(t)
	s := stalledLeader(t, 15)
	s.ticks(15)
	tag := s.receive("4", &AppendEntries{Term: 2, LeaderID: "4", PrevLogIndex: 2, PrevLogTerm: 1, Entries: entriesOf(3, 2), LeaderCommit: 3})
	if s.want(Follower, 2); s.commitIndex != 3 || len(s.applied) != 3 || s.answers[tag] != nil {
		t.Fatalf("committed %d, applied %d entries, answered %v", s.commitIndex, len(s.applied), s.answers[tag])
	}
	s.save()
	s.save()
	for s.saved < s.written.seq {
		s.save()
	}
	if status := s.Status(); status.Stalled || status.WriteTicks != 0 || s.durable != 3 || s.answers[tag] == nil {
		t.Fatalf("the disk works again: %+v, durable %d, answered %v", status, s.durable, s.answers[tag])
	}
}

// Goal: a disk that is slow and ends every write in time costs nobody the
// leadership.
// Method: a hundred writes of StallTicks-1 each, others that answer.
func TestStall_ASlowDiskIsNone(t *testing.T) {
	defer failOnPanic(t)
	s := stalledLeader(t, 15)
	for range 100 {
		for range 14 {
			for _, call := range s.ticks(1) {
				s.accept(call)
			}
		}
		s.save()
		s.propose("x")
		if s.want(Leader, 1); s.Status().Stalled {
			t.Fatal("the disk counts as stalled")
		}
	}
}

// Goal: a server whose disk hangs does not campaign, whatever it waits
// for; when the write is saved, it does.
// Method: a follower with a write under way, and no leader; then a server that
// had just asked for votes, or asked whether to.
func TestStall_NobodyStandsWithoutADisk(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withStall(5))
	s.slowDisk = true
	s.receive("2", &AppendEntries{Term: 1, LeaderID: "2", Entries: entriesOf(1, 1)})
	if calls := s.ticks(200); len(calls) != 0 || s.role != Follower || s.currentTerm != 1 || s.Status().Counts.Campaigns != 0 {
		t.Fatalf("it is %v in term %d and sent %v", s.role, s.currentTerm, calls)
	}
	s.save()
	s.campaigns()
	s.want(Candidate, 2)
	// Its own vote is with the disk now, which hangs again.
	if s.ticks(5); s.role != Follower || s.currentTerm != 2 {
		t.Fatalf("it is %v in term %d", s.role, s.currentTerm)
	}
	if s.save(); s.role != Follower || len(s.calls) != 0 {
		t.Fatalf("its vote is saved: it is %v and sent %v", s.role, s.calls)
	}

	s = newSubject(t, withStall(25), withPreVote)
	s.slowDisk = true
	s.receive("2", &AppendEntries{Term: 1, LeaderID: "2"})
	s.save()
	s.receive("2", &AppendEntries{Term: 1, LeaderID: "2", Entries: entriesOf(1, 1)})
	s.campaigns()
	s.want(PreCandidate, 1)
	if s.ticks(25 - s.writeAge); s.role != Follower {
		t.Fatalf("it is %v", s.role)
	}
}

// Goal: a server whose disk hangs promises nobody a vote that it could not keep,
// and does not take over from a leader.
// Method: a pre-vote and a TimeoutNow, before the disk counts as hanging and after.
func TestStall_NothingIsPromisedWithoutADisk(t *testing.T) {
	defer failOnPanic(t)
	for _, ticks := range []int{4, 5} {
		s := newSubject(t, withStall(5))
		s.slowDisk = true
		s.receive("2", &AppendEntries{Term: 1, LeaderID: "2", Entries: entriesOf(1, 1)})
		s.save()
		s.receive("2", &AppendEntries{Term: 1, LeaderID: "2", PrevLogIndex: 1, PrevLogTerm: 1, Entries: entriesOf(2, 1)})
		s.ticks(ticks)
		granted := s.vote(RequestVote{Term: 2, CandidateID: "3", LastLogIndex: 9, LastLogTerm: 1, Pre: true}).VoteGranted
		if granted != (ticks < 5) {
			t.Errorf("after %d ticks a pre-vote is granted: %v", ticks, granted)
		}
		s.receive("2", &TimeoutNow{Term: 1, LeaderID: "2"})
		if stands := s.role == Candidate; stands != (ticks < 5) {
			t.Errorf("after %d ticks it is %v", ticks, s.role)
		}
	}
}

// Goal: a server that is alone has nobody to hand over to; it waits.
// Method: a cluster of one with a disk that hangs.
func TestStall_ASingleServerWaits(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withServers(1), withStall(5), withCheckQuorum)
	s.campaigns()
	s.want(Leader, 1)
	s.slowDisk = true
	s.propose("x")
	if calls := s.ticks(100); len(calls) != 0 || !s.Status().Stalled {
		t.Fatalf("it sent %v", calls)
	}
	s.want(Leader, 1)
	if s.save(); s.commitIndex != 1 || s.Status().Stalled {
		t.Fatalf("committed %d", s.commitIndex)
	}
}

package core

import (
	"errors"
	"testing"
)

// The box "Rules for Servers" of Figure 2: leaders; and §5.3 at the leader.

// Goal: Leaders 1: upon election an empty AppendEntries to everybody at once, and
// again during idle times.
// Method: elect, then count what leaves in each of ten ticks (a heartbeat is two).
func TestFigure2_Leaders_SendHeartbeatsAtOnceAndWhenIdle(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withServers(5), withLog(1, 1))
	calls := s.lead()
	if len(calls) != 4 {
		t.Fatalf("%d messages upon election, want 4", len(calls))
	}
	want := AppendEntries{Term: 2, LeaderID: "1", PrevLogIndex: 2, PrevLogTerm: 1}
	for _, call := range calls {
		req := call.Request.(*AppendEntries)
		if req.Term != want.Term || req.LeaderID != want.LeaderID || len(req.Entries) != 0 ||
			req.PrevLogIndex != want.PrevLogIndex || req.PrevLogTerm != want.PrevLogTerm {
			t.Fatalf("the first message is %+v, want %+v", *req, want)
		}
		s.accept(call)
	}
	for tick := 1; tick <= 10; tick++ {
		if calls := s.ticks(1); len(calls) != 4*(1-tick%2) {
			t.Fatalf("%d messages in tick %d", len(calls), tick)
		}
	}
}

// Goal: Figure 2 "State": upon election nextIndex is behind the last entry and
// matchIndex 0, whatever an earlier leadership knew.
// Method: lead, match, lose, lead again.
func TestFigure2_State_NextIndexAndMatchIndexStartAnewAfterElection(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withLog(1))
	for _, call := range s.lead() {
		s.accept(call)
	}
	for _, call := range s.propose("x") {
		s.accept(call)
	}
	for _, p := range s.Status().Peers {
		if p.MatchIndex != 2 || p.NextIndex != 3 {
			t.Fatalf("before: %+v", p)
		}
	}
	s.append(AppendEntries{Term: 7, LeaderID: "2"})
	s.lead()
	for _, p := range s.Status().Peers {
		if p.MatchIndex != 0 || p.NextIndex != 3 || p.Pipelining || p.Inflight != 0 {
			t.Fatalf("after: %+v", p)
		}
	}
}

// Goal: Leaders 2: a command is appended locally and handed out for applying,
// which is when its client is answered, only when it is committed.
// Method: the commit needs the disk of one follower besides the leader's.
func TestFigure2_Leaders_ACommandIsAppliedOnlyWhenCommitted(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t)
	for _, call := range s.lead() {
		s.accept(call)
	}
	index, term, err := s.Propose([]byte("x"))
	if index != 1 || term != 1 || err != nil {
		t.Fatalf("proposed at %d in term %d: %v", index, term, err)
	}
	s.run()
	s.wantLog(1)
	if len(s.applied) != 0 {
		t.Fatal("applied before it was committed")
	}
	s.accept(s.takeCalls()[0])
	if len(s.applied) != 1 || string(s.applied[0].Data) != "x" || s.lastApplied != 1 {
		t.Fatalf("applied %v", s.applied)
	}
	follower := newSubject(t)
	if _, _, err := follower.Propose(nil); !errors.Is(err, ErrNotLeader) {
		t.Fatalf("a follower took a command: %v", err)
	}
}

// Goal: Leaders 3: a follower is sent what it lacks from nextIndex on, behind the
// entry before; success raises nextIndex and matchIndex.
// Method: a follower that matched at 3 gets entries 4 and 5, in one message.
func TestFigure2_Leaders_SendWhatAFollowerLacks(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withLog(1, 1, 2))
	s.accept(s.to("2", s.lead()))
	s.takeCalls()
	for _, data := range []string{"x", "y"} {
		if _, _, err := s.Propose([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	s.run()
	calls := s.takeCalls()
	req := s.entriesTo("2", calls)
	if req.PrevLogIndex != 3 || req.PrevLogTerm != 2 || len(req.Entries) != 2 || string(req.Entries[1].Data) != "y" {
		t.Fatalf("sent %+v", req)
	}
	s.accept(s.to("2", calls))
	if p := s.Status().Peers[0]; p.MatchIndex != 5 || p.NextIndex != 6 {
		t.Fatalf("then %+v", p)
	}
}

// Goal: Leaders 3: a refusal lowers nextIndex, below what was refused and by a
// whole term of the follower's, and is followed by another try at once.
// Method: the leader's log is 1 1 1 4 4 5 5 6 6 6; refusals of every kind.
func TestFigure2_Leaders_BackUpByTermAfterARefusal(t *testing.T) {
	defer failOnPanic(t)
	for _, c := range []struct {
		name                        string
		conflictTerm, conflictIndex uint64
		previous                    uint64 // of the next try
	}{
		{"too short", 0, 5, 4},
		{"empty", 0, 1, 0},
		{"a term the leader has: behind its last entry of it", 4, 6, 5},
		{"a term the leader lacks: before the follower's first entry of it", 2, 4, 3},
		{"a later term than any of the leader's", 7, 9, 8},
		{"nonsense: still below what was refused", 0, 99, 9},
	} {
		s := newSubject(t, withLog(1, 1, 1, 4, 4, 5, 5, 6, 6, 6))
		s.giveBack(s.to("2", s.lead()), &AppendEntriesReply{Term: 7, ConflictTerm: c.conflictTerm, ConflictIndex: c.conflictIndex})
		req := s.entriesTo("2", s.takeCalls())
		if req.PrevLogIndex != c.previous || len(req.Entries) != int(10-c.previous) {
			t.Errorf("%s: next try behind %d with %d entries, want %d", c.name, req.PrevLogIndex, len(req.Entries), c.previous)
		}
	}
}

// Goal: Leaders 4: commitIndex = N only if a majority holds N on its disk and N
// is of the current term (§5.4.2); then all before it is committed with it.
// Method: five servers, log 1 2; acknowledgements of the old entries, then of
// one of the leader's term.
func TestFigure2_Leaders_CommitOnlyEntriesOfTheirOwnTermByCounting(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withServers(5), withLog(1, 2))
	for _, call := range s.lead() {
		s.accept(call)
	}
	for _, p := range s.Status().Peers {
		if p.MatchIndex != 2 {
			t.Fatalf("%s holds %d", p.ID, p.MatchIndex)
		}
	}
	if s.commitIndex != 0 {
		t.Fatalf("committed up to %d without an entry of term 3", s.commitIndex)
	}
	calls := s.propose("x")
	s.accept(calls[0])
	if s.commitIndex != 0 {
		t.Fatal("committed by two disks of five")
	}
	s.accept(calls[1])
	if s.commitIndex != 3 || len(s.applied) != 3 {
		t.Fatalf("commit index %d, applied %d, want 3", s.commitIndex, len(s.applied))
	}
}

// Goal: matchIndex never falls, whatever order the answers come in, and a commit
// never waits for an answer that a later one has made good.
// Method: three commands under way, answered last to first.
func TestFigure2_Leaders_MatchIndexNeverFalls(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t)
	for _, call := range s.lead() {
		s.accept(call)
	}
	var calls []Call
	for _, data := range []string{"x", "y", "z"} {
		calls = append(calls, s.to("2", s.propose(data)))
	}
	for i := range calls {
		s.accept(calls[len(calls)-1-i])
		if p := s.Status().Peers[0]; p.MatchIndex != 3 || p.NextIndex != 4 || p.Inflight != 0 || s.commitIndex != 3 {
			t.Fatalf("after answer %d from behind: %+v, commit index %d", i+1, p, s.commitIndex)
		}
	}
}

// Goal: only a leader commits by counting; what it knew of others is void when it
// follows, though its own disk goes on (§5.3).
// Method: a leader of five whose own write is slow has two followers at index 3;
// then another leader's entries of the new term fill its log and are saved.
func TestFigure2_Followers_NeverCommitByCounting(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withServers(5))
	for _, call := range s.lead() {
		s.accept(call)
	}
	s.slowDisk = true
	s.propose("x")
	s.propose("y")
	s.propose("z")
	calls := s.ticks(2)
	s.accept(s.to("2", calls))
	s.accept(s.to("3", calls))
	if p := s.Status().Peers; p[0].MatchIndex != 3 || p[1].MatchIndex != 3 || s.commitIndex != 0 {
		t.Fatalf("as leader: %+v, commit index %d", p, s.commitIndex)
	}
	s.receive("4", &AppendEntries{Term: 2, LeaderID: "4", Entries: entriesOf(1, 2, 2, 2)})
	s.save()
	s.save()
	s.wantLog(2, 2, 2)
	if s.durable != 3 || s.commitIndex != 0 {
		t.Fatalf("as follower: durable %d, committed up to %d by counting", s.durable, s.commitIndex)
	}
}

// Goal: the leader counts itself with what its disk holds, and neither needs its
// own disk nor is it enough.
// Method: three servers, a slow disk at the leader.
func TestThesis10_2_1_ALeaderCountsItselfWithItsDisk(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t)
	for _, call := range s.lead() {
		s.accept(call)
	}
	s.slowDisk = true
	calls := s.propose("x")
	if len(calls) != 2 {
		t.Fatalf("%d messages left while the write is under way, want 2", len(calls))
	}
	s.accept(calls[0])
	if s.commitIndex != 0 {
		t.Fatal("the leader counted an entry that its disk does not hold")
	}
	s.accept(calls[1])
	if s.commitIndex != 1 {
		t.Fatal("two followers' disks of three did not commit")
	}
	calls = s.propose("y")
	s.save() // of x; y is in the next write
	s.accept(calls[0])
	if s.commitIndex != 1 {
		t.Fatal("the write of x confirmed y")
	}
	s.save()
	if s.commitIndex != 2 {
		t.Fatal("the leader's disk and a follower's did not commit")
	}
}

// Goal: replies belong to their call: one to a call of an earlier leadership says
// nothing about this one (Students' Guide; planted bug M13).
// Method: lead terms 1 and 3 with different entries; old success comes late.
func TestSection5_3_AnAcknowledgementOfAnEarlierTermDoesNotCount(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t)
	s.lead()
	old := s.propose("a")
	s.append(AppendEntries{Term: 2, LeaderID: "2", Entries: entriesOf(1, 2)})
	s.lead()
	s.propose("b")
	for _, call := range old {
		s.giveBack(call, &AppendEntriesReply{Term: 1, Success: true})
	}
	for _, p := range s.Status().Peers {
		if p.MatchIndex != 0 {
			t.Fatalf("%+v after an acknowledgement of term 1", p)
		}
	}
	if s.commitIndex != 0 {
		t.Fatalf("committed up to %d", s.commitIndex)
	}
}

// Goal: §8: a new leader appends an empty entry, so that it can commit at once;
// only where indices need not be dense.
// Method: elect with and without the option.
func TestSection8_ANewLeaderAppendsANoop(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withNoop, withLog(1))
	req := s.entriesTo("2", s.lead())
	if len(req.Entries) != 1 || req.Entries[0].Kind != KindNoop || req.Entries[0].Term != 2 {
		t.Fatalf("the first message is %+v", req)
	}
	s.wantLog(1, 2)
	lab := newSubject(t, withLog(1))
	lab.lead()
	lab.wantLog(1)
}

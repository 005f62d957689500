package core

import (
	"testing"
)

// The box "Rules for Servers" of Figure 2: all servers, followers, candidates.
// Leaders have a file of their own.

// Goal: All Servers 1: what is committed is applied, in order, each once, one
// batch at a time.
// Method: six entries are committed in two steps with a batch limit of two
// entries and a state machine that takes its time.
func TestFigure2_AllServers_ApplyWhatIsCommittedInOrder(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, func(c *Config) { c.MaxApplyBytes = 2 * (entryOverhead + 1) })
	commit := func(previous, commit uint64, entries []Entry) {
		s.Receive(1, "2", &AppendEntries{Term: 1, LeaderID: "2", PrevLogIndex: previous, PrevLogTerm: min(previous, 1), Entries: entries, LeaderCommit: commit})
	}
	commit(0, 3, entriesOf(1, 1, 1, 1, 1, 1, 1))
	var applied []uint64
	for range 10 {
		ready := s.Ready()
		if ready.Write != nil {
			s.Saved(ready.Write.Seq)
		}
		if ready.Apply == nil {
			break
		}
		if more := s.Ready(); more.Apply != nil {
			t.Fatal("a second batch while one is under way")
		}
		commit(6, 6, nil) // meanwhile the rest is committed
		for _, e := range ready.Apply.Entries {
			applied = append(applied, e.Index)
		}
		if len(ready.Apply.Entries) > 2 {
			t.Fatalf("a batch of %d entries", len(ready.Apply.Entries))
		}
		s.Applied(applied[len(applied)-1])
	}
	if len(applied) != 6 || s.lastApplied != 6 {
		t.Fatalf("applied %v, lastApplied %d", applied, s.lastApplied)
	}
	for i, index := range applied {
		if index != uint64(i+1) {
			t.Fatalf("applied %v", applied)
		}
	}
}

// Goal: All Servers 2: whoever sees a newer term, in any request or reply, in
// any role, adopts it and is a follower in it, without a vote.
// Method: every message that carries a term, to every role.
func TestFigure2_AllServers_ANewerTermMakesAFollower(t *testing.T) {
	defer failOnPanic(t)
	roles := map[Role]func(*subject) Call{ // brings it there and returns a call under way
		Candidate: func(s *subject) Call { return s.campaigns()[0] },
		Leader:    func(s *subject) Call { return s.lead()[0] },
		Follower: func(s *subject) Call {
			s.append(AppendEntries{Term: 1, LeaderID: "2"})
			_ = s.Read(1)
			s.run()
			return s.takeCalls()[0]
		},
	}
	for role, bring := range roles {
		for name, send := range map[string]func(*subject, Call){
			"RequestVote":   func(s *subject, _ Call) { s.receive("2", &RequestVote{Term: 9, CandidateID: "2"}) },
			"AppendEntries": func(s *subject, _ Call) { s.receive("2", &AppendEntries{Term: 9, LeaderID: "2"}) },
			"ReadIndex":     func(s *subject, _ Call) { s.receive("2", &ReadIndex{Term: 9}) },
			"a reply": func(s *subject, call Call) {
				switch call.Request.(type) {
				case *RequestVote:
					s.giveBack(call, &RequestVoteReply{Term: 9})
				case *AppendEntries:
					s.giveBack(call, &AppendEntriesReply{Term: 9})
				case *ReadIndex:
					s.giveBack(call, &ReadIndexReply{Term: 9})
				}
			},
			"TimeoutNowReply": func(s *subject, _ Call) {
				s.giveBack(Call{To: "2", Request: &TimeoutNow{Term: 1}}, &TimeoutNowReply{Term: 9})
			},
		} {
			s := newSubject(t, withLog(1)) // its log is longer than an empty one: no vote is given
			call := bring(s)
			s.want(role, s.currentTerm)
			send(s, call)
			if s.role != Follower || s.currentTerm != 9 || s.votedFor != None {
				t.Errorf("%v that sees term 9 in %s: %v in term %d, vote %q", role, name, s.role, s.currentTerm, s.votedFor)
			}
			if w := s.writes[len(s.writes)-1]; w.Term != 9 {
				t.Errorf("%v that sees term 9 in %s wrote %+v", role, name, w)
			}
		}
	}
}

// Goal: Followers 2: the wait for a leader ends in an election, and only the
// current leader's AppendEntries or a vote given start it anew: not a refused
// candidate, an older leader, a reader or a tick too many.
// Method: one tick before the timeout something arrives; the next tick tells.
func TestFigure2_Followers_OnlyTheLeaderOrAVoteRestartsTheTimer(t *testing.T) {
	defer failOnPanic(t)
	for _, c := range []struct {
		name     string
		req      Request
		restarts bool
	}{
		{"AppendEntries of the leader", &AppendEntries{Term: 2, LeaderID: "2"}, true},
		{"AppendEntries that do not fit", &AppendEntries{Term: 2, LeaderID: "2", PrevLogIndex: 9, PrevLogTerm: 2}, true},
		{"a vote given", &RequestVote{Term: 3, CandidateID: "3", LastLogIndex: 9, LastLogTerm: 2}, true},
		{"a vote refused for its log", &RequestVote{Term: 3, CandidateID: "3"}, false},
		{"a vote refused for its term", &RequestVote{Term: 1, CandidateID: "3"}, false},
		{"AppendEntries of an older leader", &AppendEntries{Term: 1, LeaderID: "3"}, false},
		{"a pre-vote granted", &RequestVote{Term: 3, CandidateID: "3", LastLogIndex: 9, LastLogTerm: 2, Pre: true}, false},
		{"a read for the leader", &ReadIndex{Term: 2}, false},
	} {
		s := newSubject(t, withLog(1), inTerm(2))
		s.append(AppendEntries{Term: 2, LeaderID: "2"})
		s.ticks(s.electionTimeout - 1)
		s.receive("3", c.req)
		s.ticks(1)
		if got := s.role == Follower; got != c.restarts {
			t.Errorf("%s: the timer restarted: %v, want %v", c.name, got, c.restarts)
		}
	}
}

// Goal: §5.2: timeouts are drawn anew for each wait, from one to two times
// ElectionTicks, so that votes seldom split, and again.
// Method: many waits of two servers with different seeds.
func TestSection5_2_ElectionTimeoutsAreRandom(t *testing.T) {
	defer failOnPanic(t)
	seen := map[int]int{}
	equal := 0
	a, b := newSubject(t, withSeed(1)), newSubject(t, withSeed(2))
	for range 1000 {
		for _, s := range []*subject{a, b} {
			s.resetElectionTimer()
			seen[s.electionTimeout]++
		}
		if a.electionTimeout == b.electionTimeout {
			equal++
		}
	}
	for ticks := range seen {
		if ticks < 10 || ticks >= 20 {
			t.Fatalf("a timeout of %d ticks", ticks)
		}
	}
	if len(seen) != 10 || equal > 200 {
		t.Fatalf("%d different timeouts, %d of 1000 equal", len(seen), equal)
	}
}

// Goal: Candidates 1: a new term, a vote for itself, the timer starts anew, and
// everybody else is asked, with the last entry, once the vote is saved.
// Method: a slow disk between the time-out and the requests.
func TestFigure2_Candidates_CampaignInANewTermWithTheirOwnVote(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withServers(5), withLog(1, 2, 2), inTerm(4))
	s.slowDisk = true
	if calls := s.campaigns(); len(calls) != 0 {
		t.Fatalf("%d requests left before the own vote was saved", len(calls))
	}
	s.want(Candidate, 5)
	if s.votedFor != "1" || s.electionElapsed != 0 {
		t.Fatalf("voted for %q, %d ticks since the start", s.votedFor, s.electionElapsed)
	}
	if w := s.writes[0]; w.Term != 5 || w.VotedFor != "1" {
		t.Fatalf("the write is %+v", w)
	}
	s.save()
	calls := s.takeCalls()
	if len(calls) != 4 {
		t.Fatalf("%d servers were asked, want 4", len(calls))
	}
	for _, id := range []ID{"2", "3", "4", "5"} {
		want := RequestVote{Term: 5, CandidateID: "1", LastLogIndex: 3, LastLogTerm: 2}
		if req := s.to(id, calls).Request.(*RequestVote); *req != want {
			t.Fatalf("%s was asked %+v, want %+v", id, *req, want)
		}
	}
}

// Goal: Candidates 2: votes from a majority of the servers, its own included and
// each once, make a leader; half of them do not.
// Method: clusters of 1 to 7; grants arrive one by one, each of them twice.
func TestFigure2_Candidates_AMajorityMakesALeader(t *testing.T) {
	defer failOnPanic(t)
	for n := 1; n <= 7; n++ {
		s := newSubject(t, withServers(n))
		calls := s.campaigns()
		votes := 1
		for _, call := range calls {
			if leads := s.role == Leader; leads != (2*votes > n) {
				t.Fatalf("%d votes of %d: leader %v", votes, n, leads)
			}
			for range 2 { // what comes twice counts once
				s.giveBack(call, &RequestVoteReply{Term: 1, VoteGranted: true})
			}
			votes++
		}
		s.want(Leader, 1)
	}
}

// Goal: Candidates 2: refusals and lost answers are no votes, and the vote that
// counts is the one for the present campaign.
// Method: five servers; refusals, a loss, a grant for the campaign before.
func TestFigure2_Candidates_OnlyGrantsOfThisCampaignCount(t *testing.T) {
	defer failOnPanic(t)
	for _, options := range [][]any{{withServers(5)}, {withServers(5), withPreVote}} {
		s := newSubject(t, options...)
		old := s.campaigns()
		role := s.role
		calls := s.campaigns()
		term := s.currentTerm
		for _, call := range old {
			s.giveBack(call, &RequestVoteReply{Term: call.Request.(*RequestVote).Term - 1, VoteGranted: true})
		}
		s.want(role, term)
		s.giveBack(calls[0], &RequestVoteReply{Term: term})
		s.giveBack(calls[1], &RequestVoteReply{Term: term})
		s.giveBack(calls[2], nil)
		s.giveBack(calls[3], &RequestVoteReply{Term: term, VoteGranted: true})
		s.want(role, term)
	}
}

// Goal: Candidates 3: a candidate that hears a leader of its term follows it;
// one of an older term it does not.
// Method: candidate and pre-candidate in term 3.
func TestFigure2_Candidates_FollowALeaderOfTheirTerm(t *testing.T) {
	defer failOnPanic(t)
	for _, options := range [][]any{{inTerm(2)}, {inTerm(3), withPreVote}} {
		s := newSubject(t, options...)
		s.campaigns()
		role := s.role
		s.append(AppendEntries{Term: 2, LeaderID: "2"})
		s.want(role, 3)
		s.append(AppendEntries{Term: 3, LeaderID: "2"})
		s.want(Follower, 3)
		if s.leader != "2" {
			t.Fatalf("follows %q", s.leader)
		}
	}
}

// Goal: Candidates 4: an election that nobody wins ends in another, in a new
// term, with a new question to everybody.
// Method: nobody answers.
func TestFigure2_Candidates_CampaignAgainWhenNobodyWins(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t)
	for term := uint64(1); term <= 3; term++ {
		calls := s.campaigns()
		s.want(Candidate, term)
		if len(calls) != 2 || calls[0].Request.(*RequestVote).Term != term {
			t.Fatalf("in term %d asked %+v", term, calls)
		}
	}
}

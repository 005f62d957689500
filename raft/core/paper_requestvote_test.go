package core

import "testing"

// The box "RequestVote RPC" of Figure 2, rule by rule.

// Goal: a candidate of an older term is refused, and told the newer term.
// Method: a voter in term 5 that has not voted and whose log is empty is asked
// in term 4: nothing but the term speaks against it.
func TestFigure2_RequestVote_Receiver1_RefusesOlderTerm(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, inTerm(5))
	if reply := s.vote(RequestVote{Term: 4, CandidateID: "2", LastLogIndex: 9, LastLogTerm: 4}); reply.VoteGranted || reply.Term != 5 {
		t.Fatalf("answered %+v, want a refusal in term 5", reply)
	}
	if s.votedFor != None {
		t.Fatalf("voted for %s", s.votedFor)
	}
}

// Goal: a vote goes to the first candidate of a term, and again to the same
// one if it asks again, and to nobody else in that term.
// Method: two candidates with the same log ask in turn, across a restart too.
func TestFigure2_RequestVote_Receiver2_VotesOncePerTerm(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, inTerm(5))
	ask := func(s *subject, candidate ID, term uint64) bool {
		t.Helper()
		return s.vote(RequestVote{Term: term, CandidateID: candidate}).VoteGranted
	}
	for i, step := range []struct {
		candidate ID
		term      uint64
		want      bool
	}{{"2", 5, true}, {"2", 5, true}, {"3", 5, false}, {"3", 6, true}, {"2", 6, false}, {"2", 5, false}} {
		if got := ask(s, step.candidate, step.term); got != step.want {
			t.Fatalf("step %d: candidate %s of term %d: granted %v, want %v", i, step.candidate, step.term, got, step.want)
		}
	}
	if len(s.writes) != 2 {
		t.Fatalf("%d writes for two votes: %+v", len(s.writes), s.writes)
	}
	w := s.writes[len(s.writes)-1]
	again := newSubject(t, inTerm(w.Term), votedFor(w.VotedFor))
	if ask(again, "2", 6) || !ask(again, "3", 6) {
		t.Fatal("the vote of term 6 did not survive the restart")
	}
}

// Goal: a vote outlasts every change of role within its term: it is forgotten
// only with a new one (eliben/raft 5a550b1, NATS bf8ebe7dd; planted bug M06).
// Method: a candidate meets the leader of its term, a voter hears its leader,
// and a leader steps down for want of a quorum; then another asks for a vote.
func TestFigure2_RequestVote_TheVoteOutlastsEveryRoleOfItsTerm(t *testing.T) {
	defer failOnPanic(t)
	for name, do := range map[string]func() *subject{
		"candidate": func() *subject {
			s := newSubject(t)
			s.campaigns()
			s.append(AppendEntries{Term: 1, LeaderID: "2"})
			return s
		},
		"voter": func() *subject {
			s := newSubject(t)
			s.vote(RequestVote{Term: 1, CandidateID: "2"})
			s.append(AppendEntries{Term: 1, LeaderID: "2"})
			return s
		},
		"leader": func() *subject {
			s := newSubject(t, withCheckQuorum)
			s.lead()
			s.ticks(s.config.ElectionTicks)
			return s
		},
	} {
		s := do()
		s.want(Follower, 1)
		s.leader = None // whoever it hears does not matter here
		if reply := s.vote(RequestVote{Term: 1, CandidateID: "3", LastLogIndex: 9, LastLogTerm: 1}); reply.VoteGranted {
			t.Errorf("a former %s voted a second time in its term", name)
		}
	}
}

// Goal: §5.4.1: the candidate's log must be at least as up to date: a later
// last term wins whatever the lengths, with equal terms the longer log.
// Method: every pair of last entries around the voter's own (index 3, term 2).
func TestFigure2_RequestVote_Receiver2_RefusesAnOlderLog(t *testing.T) {
	defer failOnPanic(t)
	for lastTerm := uint64(0); lastTerm <= 4; lastTerm++ {
		for lastIndex := uint64(0); lastIndex <= 6; lastIndex++ {
			for _, pre := range []bool{false, true} {
				s := newSubject(t, withLog(1, 1, 2))
				req := RequestVote{Term: 5, CandidateID: "2", LastLogIndex: lastIndex, LastLogTerm: lastTerm, Pre: pre}
				want := lastTerm > 2 || lastTerm == 2 && lastIndex >= 3
				if reply := s.vote(req); reply.VoteGranted != want {
					t.Errorf("%+v: granted %v, want %v", req, reply.VoteGranted, want)
				}
			}
		}
	}
}

// Goal: "before responding to RPCs": a grant leaves when the disk holds term
// and vote, a refusal in a new term when it holds the term.
// Method: a slow disk; the answer must come with Saved and not before.
func TestFigure2_RequestVote_IsAnsweredOnlyAfterTheVoteIsSaved(t *testing.T) {
	defer failOnPanic(t)
	for _, c := range []struct {
		name       string
		term, last uint64
		granted    bool
	}{
		{"a refusal in a new term", 7, 0, false},
		{"a grant in a new term", 7, 9, true},
		{"a grant in the present term", 3, 9, true},
	} {
		s := newSubject(t, withLog(1), inTerm(3))
		s.slowDisk = true
		tag := s.receive("2", &RequestVote{Term: c.term, CandidateID: "2", LastLogIndex: c.last, LastLogTerm: c.last})
		if s.answers[tag] != nil {
			t.Fatalf("%s: answered %+v before it was saved", c.name, s.answers[tag])
		}
		if len(s.writes) != 1 || s.writes[0].Term != c.term || (s.writes[0].VotedFor == "2") != c.granted {
			t.Fatalf("%s: the writes are %+v", c.name, s.writes)
		}
		s.save()
		if reply, ok := s.answers[tag].(*RequestVoteReply); !ok || reply.VoteGranted != c.granted {
			t.Fatalf("%s: answered %+v after the save", c.name, s.answers[tag])
		}
	}
}

// Goal: a second candidate is not answered by the first one's write: each
// answer waits for the state it speaks of.
// Method: two requests of rising terms arrive while the first write is under
// way; the first write releases the first answer only.
func TestFigure2_RequestVote_EachAnswerWaitsForItsOwnWrite(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t)
	s.slowDisk = true
	first := s.receive("2", &RequestVote{Term: 1, CandidateID: "2"})
	second := s.receive("3", &RequestVote{Term: 2, CandidateID: "3"})
	s.save()
	if s.answers[first] == nil || s.answers[second] != nil {
		t.Fatalf("after the first write: %v, %v", s.answers[first], s.answers[second])
	}
	s.save()
	if reply, ok := s.answers[second].(*RequestVoteReply); !ok || !reply.VoteGranted || reply.Term != 2 {
		t.Fatalf("after the second write: %v", s.answers[second])
	}
}

// Goal: thesis 9.6: a pre-vote changes nothing at the voter: no term, no vote,
// no write, and the election timer goes on.
// Method: a voter close to its election timeout is asked; it stands on time.
func TestThesis9_6_PreVote_ChangesNothingAtTheVoter(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, inTerm(3))
	s.ticks(s.electionTimeout - 1)
	elapsed := s.electionElapsed
	if reply := s.vote(RequestVote{Term: 4, CandidateID: "2", Pre: true}); !reply.VoteGranted || reply.Term != 3 {
		t.Fatalf("answered %+v, want a grant in term 3", reply)
	}
	s.want(Follower, 3)
	if s.votedFor != None || len(s.writes) != 0 || s.electionElapsed != elapsed {
		t.Fatalf("the pre-vote left traces: vote %q, %d writes, %d ticks since", s.votedFor, len(s.writes), s.electionElapsed)
	}
	s.ticks(1)
	s.want(Candidate, 4)
}

// Goal: a pre-vote about a term that the voter has entered already is refused, and
// the answer carries that term, so that the other learns of it (etcd-io/raft
// d4471b2: it did not, and nobody could be elected).
// Method: a voter in term 4 is asked about terms 3, 4 and 5.
func TestThesis9_6_PreVote_IsRefusedForATermThatIsNotNew(t *testing.T) {
	defer failOnPanic(t)
	for term, want := range map[uint64]bool{3: false, 4: false, 5: true} {
		s := newSubject(t, inTerm(4))
		if reply := s.vote(RequestVote{Term: term, CandidateID: "2", Pre: true}); reply.VoteGranted != want || reply.Term != 4 {
			t.Errorf("asked about term %d: %+v", term, reply)
		}
	}
}

// Goal: a pre-candidate that gives its vote to a candidate has found somebody
// better: it asks no further, and late answers do not make it stand.
// Method: a pre-candidate of term 3 is asked for its vote in term 3.
func TestThesis9_6_PreCandidate_ThatVotesStopsAsking(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withPreVote, inTerm(3))
	calls := s.campaigns()
	if reply := s.vote(RequestVote{Term: 3, CandidateID: "2"}); !reply.VoteGranted {
		t.Fatalf("answered %+v", reply)
	}
	s.giveBack(calls[1], &RequestVoteReply{Term: 3, VoteGranted: true})
	s.want(Follower, 3)
}

// Goal: thesis 9.6: a pre-candidate enters its term only when a majority would
// vote for it, asks in the next term, and keeps its own and its vote.
// Method: five servers; the second of two grants makes it a candidate.
func TestThesis9_6_PreCandidate_RaisesItsTermOnlyWithAMajority(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withServers(5), withPreVote, inTerm(3), votedFor("2"))
	calls := s.campaigns()
	s.want(PreCandidate, 3)
	if len(calls) != 4 || len(s.writes) != 0 || s.votedFor != "2" {
		t.Fatalf("%d calls, %d writes, vote %q", len(calls), len(s.writes), s.votedFor)
	}
	for _, call := range calls {
		if req := call.Request.(*RequestVote); !req.Pre || req.Term != 4 {
			t.Fatalf("asked %+v", req)
		}
	}
	s.giveBack(calls[0], &RequestVoteReply{Term: 3, VoteGranted: true})
	s.giveBack(calls[1], &RequestVoteReply{Term: 3})
	s.want(PreCandidate, 3)
	s.giveBack(calls[2], &RequestVoteReply{Term: 3, VoteGranted: true})
	s.want(Candidate, 4)
}

// Goal: thesis 4.2.3: a server that heard its leader within the least election
// timeout refuses without looking at the term, unless the leader wants the
// election; a leader always does.
// Method: the same request with and without the mark of a transfer.
func TestThesis4_2_3_ContentServer_WithholdsItsVote(t *testing.T) {
	defer failOnPanic(t)
	for _, pre := range []bool{false, true} {
		s := newSubject(t, withCheckQuorum, inTerm(1))
		s.append(AppendEntries{Term: 1, LeaderID: "3"})
		s.electionTimeout = 2*s.config.ElectionTicks - 1 // it is not to stand itself
		req := RequestVote{Term: 8, CandidateID: "2", Pre: pre}
		s.ticks(s.config.ElectionTicks - 1)
		if reply := s.vote(req); reply.VoteGranted || reply.Term != 1 {
			t.Fatalf("%+v answered %+v while the leader is heard", req, reply)
		}
		s.ticks(1)
		if reply := s.vote(req); !reply.VoteGranted {
			t.Fatalf("%+v answered %+v when the leader is no longer heard", req, reply)
		}
	}
	leader := newSubject(t, withCheckQuorum)
	leader.lead()
	if reply := leader.vote(RequestVote{Term: 8, CandidateID: "2"}); reply.VoteGranted {
		t.Fatal("a leader voted for another")
	}
	leader.want(Leader, 1)
	if reply := leader.vote(RequestVote{Term: 8, CandidateID: "2", Transfer: true}); !reply.VoteGranted {
		t.Fatal("a leader withheld the vote it had asked for")
	}
}

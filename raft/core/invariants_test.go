package core

import "testing"

// The checks of invariants.go are the last line of defence in production and the
// first oracle of every test: each of them must see what it is there for.

// Goal: CheckStep objects to every change the rules forbid, and to nothing else.
// Method: one forbidden change at a time from a sound state, and some sound ones.
func TestCheckStep_ObjectsToWhatTheRulesForbid(t *testing.T) {
	base := Observed{
		ID: "1", Role: Follower, Term: 5, VotedFor: "2", Leader: "2", CommitIndex: 7, LastApplied: 6,
		LastIndex: 9, LastTerm: 4, SnapshotIndex: 5, Durable: 8, Saved: 3, Round: 2,
	}
	leader := base
	leader.Role, leader.VotedFor, leader.Leader, leader.LastTerm = Leader, "1", "1", 5
	for name, c := range map[string]struct {
		before Observed
		change func(*Observed)
		sound  bool
	}{
		"term fell":                      {base, func(o *Observed) { o.Term = 4 }, false},
		"vote changed":                   {base, func(o *Observed) { o.VotedFor = "3" }, false},
		"vote forgotten":                 {base, func(o *Observed) { o.VotedFor = None }, false},
		"leader truncated":               {leader, func(o *Observed) { o.LastIndex, o.Durable = 8, 8 }, false},
		"leader stood in its own term":   {leader, func(o *Observed) { o.Role = Candidate }, false},
		"led a term it voted another in": {base, func(o *Observed) { o.Role = Leader }, false},
		"commit index fell":              {base, func(o *Observed) { o.CommitIndex = 6 }, false},
		"applied index fell":             {base, func(o *Observed) { o.LastApplied = 5 }, false},
		"applied too much":               {base, func(o *Observed) { o.LastApplied = 8 }, false},
		"committed too much":             {base, func(o *Observed) { o.CommitIndex = 10 }, false},
		"durable too much":               {base, func(o *Observed) { o.Durable = 10 }, false},
		"snapshot went back":             {base, func(o *Observed) { o.SnapshotIndex = 4 }, false},
		"snapshot of the uncommitted":    {base, func(o *Observed) { o.SnapshotIndex = 8 }, false},
		"log of a later term":            {base, func(o *Observed) { o.LastTerm = 6 }, false},
		"write un-saved":                 {base, func(o *Observed) { o.Saved = 2 }, false},
		"round fell":                     {base, func(o *Observed) { o.Round = 1 }, false},

		"nothing":                          {base, func(*Observed) {}, true},
		"new term without a vote":          {base, func(o *Observed) { o.Term, o.VotedFor = 6, None }, true},
		"new term with another vote":       {base, func(o *Observed) { o.Term, o.VotedFor = 6, "3" }, true},
		"follower truncated":               {base, func(o *Observed) { o.LastIndex, o.Durable = 8, 7 }, true},
		"leader appended":                  {leader, func(o *Observed) { o.LastIndex = 10 }, true},
		"leader stepped down":              {leader, func(o *Observed) { o.Role = Follower }, true},
		"leader deposed, its log replaced": {leader, func(o *Observed) { o.Role, o.Term, o.VotedFor, o.LastIndex, o.Durable = Follower, 6, None, 8, 7 }, true},
		"all committed and applied":        {base, func(o *Observed) { o.CommitIndex, o.LastApplied, o.Durable = 9, 9, 9 }, true},
		"snapshot of all applied":          {base, func(o *Observed) { o.SnapshotIndex = 6 }, true},
	} {
		after := c.before
		c.change(&after)
		if err := CheckStep(c.before, after); (err == nil) != c.sound {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Goal: Ready makes that check with every call, from the first one on, and stops
// the server.
// Method: the vote is changed behind the server's back, before the first Ready
// and between two later ones.
func TestReady_StopsAtAForbiddenChange(t *testing.T) {
	for readys := range 3 {
		s := newSubject(t, inTerm(3), votedFor("2"))
		for range readys {
			s.Ready()
		}
		if readys == 2 { // what was sound once is compared with what came since
			s.receive("3", &RequestVote{Term: 4, CandidateID: "3"})
		}
		s.votedFor = "1"
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("after %d Readys the vote could change", readys)
				}
			}()
			s.Ready()
		}()
	}
}

// Goal: Check objects to every state that cannot come about.
// Method: a leader with a pipelined follower, damaged in one place at a time.
func TestCheck_ObjectsToWhatCannotComeAbout(t *testing.T) {
	for name, damage := range map[string]func(*Raft){
		"":                                   func(*Raft) {},
		"leader follows another":             func(r *Raft) { r.leader = "2" },
		"leader voted for another":           func(r *Raft) { r.votedFor = "2" },
		"applying behind applied":            func(r *Raft) { r.applying, r.lastApplied = 0, 1 },
		"applying beyond the commit index":   func(r *Raft) { r.applying = 3 },
		"change marked beyond the log":       func(r *Raft) { r.dirty.from = 9 },
		"change marked in what is forgotten": func(r *Raft) { r.log.entries, r.log.base.Index, r.dirty.from = r.log.entries[1:], 1, 1 },
		"snapshot of another term":           func(r *Raft) { r.log.snapshot = Snapshot{Index: 1, Term: 9} },
		"snapshot beyond the log":            func(r *Raft) { r.log.snapshot.Index = 9 },
		"durable covers a change":            func(r *Raft) { r.dirty.from = 2 },
		"nothing to write and not durable":   func(r *Raft) { r.durable = 1 },
		"uncommitted bytes miscounted":       func(r *Raft) { r.uncommittedBytes++ },
		"next not above match":               func(r *Raft) { r.members[1].progress.nextIndex = 0 },
		"match beyond the log":               func(r *Raft) { r.members[1].progress.matchIndex, r.members[1].progress.nextIndex = 9, 10 },
		"next beyond the log":                func(r *Raft) { r.members[1].progress.nextIndex = 9 },
		"bytes in flight miscounted":         func(r *Raft) { r.members[1].progress.inflightBytes++ },
		"in flight and sizes differ":         func(r *Raft) { r.members[1].progress.inflight = nil },
		"probing with messages in flight":    func(r *Raft) { r.members[1].progress.pipelining = false },
		"an entry at another's place":        func(r *Raft) { r.log.entries[1].Index = 7 },
		"terms that fall":                    func(r *Raft) { r.log.entries[0].Term = 9 },
		"terms that fall behind a base term": func(r *Raft) { r.log.base.Term = 9 },
	} {
		s := newSubject(t, withLog(1))
		for _, call := range s.lead() {
			s.accept(call)
		}
		s.propose("x")
		s.propose("y")
		damage(s.Raft)
		if err := s.Check(); (err == nil) != (name == "") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Goal: a transport can tell a message that no server would send.
// Method: entries with a gap, terms that fall, a term later than the leader's.
func TestAppendEntriesValid_ObjectsToWhatNoServerSends(t *testing.T) {
	for name, c := range map[string]struct {
		req   AppendEntries
		sound bool
	}{
		"a beat":                    {AppendEntries{Term: 2, PrevLogIndex: 5, PrevLogTerm: 2}, true},
		"entries":                   {AppendEntries{Term: 3, PrevLogIndex: 5, PrevLogTerm: 1, Entries: entriesOf(6, 1, 2, 3)}, true},
		"a gap at the start":        {AppendEntries{Term: 3, PrevLogIndex: 5, PrevLogTerm: 1, Entries: entriesOf(7, 1)}, false},
		"a gap inside":              {AppendEntries{Term: 3, Entries: append(entriesOf(1, 1), entriesOf(3, 1)...)}, false},
		"terms that fall":           {AppendEntries{Term: 3, Entries: entriesOf(1, 2, 1)}, false},
		"a term before prevLogTerm": {AppendEntries{Term: 3, PrevLogIndex: 5, PrevLogTerm: 2, Entries: entriesOf(6, 1)}, false},
		"a term after the leader's": {AppendEntries{Term: 3, Entries: entriesOf(1, 4)}, false},
		"prevLogTerm after it":      {AppendEntries{Term: 3, PrevLogIndex: 5, PrevLogTerm: 4}, false},
	} {
		if err := c.req.Valid(); (err == nil) != c.sound {
			t.Errorf("%s: %v", name, err)
		}
	}
}

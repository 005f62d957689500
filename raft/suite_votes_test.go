package raft_test

import (
	"sync/atomic"
	"testing"
	"time"

	"raftkv/raft"
	"raftkv/tests/lab"
)

// Rules of Figure 2 about terms and votes, each at one server between peers that
// follow a script; see suite_rules_test.go.

// ask asks for the server's vote.
func (b *between) ask(candidate string, term, lastIndex, lastTerm uint64) bool {
	var reply raft.RequestVoteReply
	b.RequestVote(&raft.RequestVoteArgs{Term: term, CandidateId: candidate, LastLogIndex: lastIndex, LastLogTerm: lastTerm}, &reply)
	return reply.VoteGranted
}

func (b *between) leads() bool { _, leads := b.GetState(); return leads }

// Goal: a vote, and its term, survive a crash (§5.1, Figure 2 "Persistent
// state"). Method: the disk is slow, and the server crashes right after its
// answer. It hears of the term with the request for the vote, or before it, from
// a candidate that it refuses for its old log.
func voteSurvivesACrash(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		for _, before := range []bool{false, true} {
			persister := raft.MakePersister()
			first := startBetween(t, slowDisk{persister}, lost)
			if !first.take("1", 5, 0, 0, 1, 0) {
				t.Fatal("the entry was refused")
			}
			if before && first.ask("2", 7, 0, 0) {
				t.Fatal("a candidate without the entry got the vote")
			}
			if !first.ask("1", 7, 1, 5) {
				t.Fatal("the first candidate got no vote")
			}
			persister = persister.Copy() // the crash: nothing saved later counts
			first.Kill()
			second := startBetween(t, persister, lost)
			if term, _ := second.GetState(); term != 7 {
				t.Errorf("the server voted in term 7 and came back in term %d", term)
			}
			if second.ask("2", 7, 1, 5) {
				t.Errorf("the server voted for two candidates in term 7 (it knew the term before: %v)", before)
			}
			if !second.ask("1", 7, 1, 5) {
				t.Error("the server does not stand by its vote")
			}
		}
	})
}

// Goal: one vote a term, and a new one with a new term (§5.2). Method: two
// candidates ask in turn; between them the leader of that term is heard.
func oneVoteATerm(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		b := startBetween(t, raft.MakePersister(), lost)
		for term := uint64(3); term < 6; term++ {
			for range 2 { // it may ask again
				if !b.ask("1", term, 0, 0) {
					t.Fatalf("the first candidate of term %d was refused", term)
				}
			}
			if b.ask("2", term, 0, 0) {
				t.Fatalf("two candidates got the vote in term %d", term)
			}
			b.take("1", term, 0, 0, 0, 0)
			if b.ask("2", term, 0, 0) {
				t.Fatalf("a second candidate got the vote in term %d when its leader had been heard", term)
			}
			if b.ask("2", term-1, 0, 0) {
				t.Fatalf("a candidate of term %d got the vote in term %d", term-1, term)
			}
		}
	})
}

// Goal: votes go to candidates whose log is at least as complete (§5.4.1).
// Method: candidates with every kind of log, in terms of their own, ask a server
// whose log ends at index 3 with an entry of term 3.
func votesGoToCompleteLogs(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		b := startBetween(t, raft.MakePersister(), lost)
		b.take("1", 1, 0, 0, 2, 0)
		b.take("2", 3, 2, 1, 1, 0)
		for i, candidate := range []struct {
			lastIndex, lastTerm uint64
			due                 bool
		}{{0, 0, false}, {3, 1, false}, {9, 2, false}, {2, 3, false}, {3, 3, true}, {4, 3, true}, {1, 4, true}} {
			if got := b.ask("1", uint64(10+i), candidate.lastIndex, candidate.lastTerm); got != candidate.due {
				t.Errorf("a candidate whose log ends at %d with term %d got the vote: %v", candidate.lastIndex, candidate.lastTerm, got)
			}
		}
	})
}

// Goal: a server that hears of a newer term is a follower in it (§5.1). Method: a
// leader hears of it in an answer, in a request for its vote, and from another
// leader; a candidate in an answer.
func newerTermsEndALead(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		for how, hear := range map[string]func(b *between, newer *atomic.Uint64, term uint64){
			"an answer":            func(_ *between, newer *atomic.Uint64, term uint64) { newer.Store(term) },
			"a request for a vote": func(b *between, _ *atomic.Uint64, term uint64) { b.ask("1", term, 0, 0) },
			"another leader":       func(b *between, _ *atomic.Uint64, term uint64) { b.take("1", term, 0, 0, 0, 0) },
		} {
			var newer atomic.Uint64
			b := startBetween(t, raft.MakePersister(), votes(appends(func(a *raft.AppendEntriesArgs) (raft.AppendEntriesReply, bool) {
				if term := newer.Load(); term != 0 {
					return raft.AppendEntriesReply{Term: term}, true
				}
				return raft.AppendEntriesReply{Term: a.Term, Success: true}, true
			})))
			waitUntil(t, "the server leads", b.leads)
			if _, _, took := b.Start(1); !took {
				t.Fatal("the leader took no command")
			}
			term, _ := b.GetState()
			hear(b, &newer, uint64(term)+4)
			time.Sleep(350 * time.Millisecond) // a heartbeat, and no election yet
			if now, leads := b.GetState(); leads || now != term+4 {
				t.Errorf("a leader of term %d that heard of term %d from %s is in term %d, leads %v", term, term+4, how, now, leads)
			}
			b.Kill()
		}

		b := startBetween(t, raft.MakePersister(), func(args interface{}, reply interface{}) bool {
			if a, ok := args.(*raft.RequestVoteArgs); ok && a.Term < 20 {
				*reply.(*raft.RequestVoteReply) = raft.RequestVoteReply{Term: 20}
				return true
			}
			return false
		})
		waitUntil(t, "the candidate is in the term of the answer or a later one", func() bool { term, _ := b.GetState(); return term >= 20 })
	})
}

// Goal: a majority elects, nothing less (§5.2). Method: clusters of one to five,
// with every number of granted votes, the server's own included.
func majoritiesElect(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		led := map[*between]bool{}
		cases := eachMajority(func(servers, granting int) *between {
			peers := make([]script, servers)
			for i := range peers {
				peers[i] = lost
				if i < granting {
					peers[i] = votes(lost)
				}
			}
			return startAmong(t, raft.MakePersister(), peers)
		})
		for range 300 {
			time.Sleep(10 * time.Millisecond)
			for _, c := range cases {
				led[c.between] = led[c.between] || c.leads()
			}
		}
		for _, c := range cases {
			if led[c.between] != c.majority {
				t.Errorf("%d of %d votes: led %v", c.some, c.servers, led[c.between])
			}
		}
	})
}

// counted is a server of a cluster of that size, in which some servers do the
// counted thing.
type counted struct {
	*between
	servers, some int
	majority      bool
}

// eachMajority starts a server for every number of two to five, and for every
// number of them.
func eachMajority(start func(servers, some int) *between) (all []counted) {
	for servers := 2; servers <= 5; servers++ {
		for some := 1; some <= servers; some++ {
			all = append(all, counted{start(servers, some), servers, some, 2*some > servers})
		}
	}
	return all
}

// refuses refuses every vote.
func refuses(args interface{}, reply interface{}) bool {
	if a, ok := args.(*raft.RequestVoteArgs); ok {
		*reply.(*raft.RequestVoteReply) = raft.RequestVoteReply{Term: a.Term}
		return true
	}
	return false
}

// Goal: one server has one vote, however often it answers, and a refusal is none.
// Method: in a cluster of five one peer votes, again and again, for every attempt
// of a candidate; the others refuse or do not answer.
func oneServerOneVote(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		b := startAmong(t, raft.MakePersister(), []script{nil, votes(lost), refuses, refuses, lost})
		for range 150 {
			time.Sleep(20 * time.Millisecond)
			if b.leads() {
				t.Fatal("the server leads five by its own vote and one other's")
			}
		}
	})
}

// Goal: a candidate that hears the leader of its term follows it (§5.2). Method: a
// candidate hears of the winner, and then regularly. The votes of its campaign, which no
// winner would have left to it, come when it follows, and count for nothing: a second
// campaign asks whether it may stand, so the term alone would not show one that goes on.
func candidatesFollowTheWinner(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		b := startBetween(t, raft.MakePersister(), func(args interface{}, reply interface{}) bool {
			a, ok := args.(*raft.RequestVoteArgs)
			if !ok || a.PreVote {
				return false
			}
			time.Sleep(50 * time.Millisecond)
			*reply.(*raft.RequestVoteReply) = raft.RequestVoteReply{Term: a.Term, VoteGranted: true}
			return true
		})
		waitUntil(t, "the server stands", func() bool { term, _ := b.GetState(); return term > 0 })
		won, _ := b.GetState()
		for range 12 {
			if !b.take("1", uint64(won), 0, 0, 0, 0) {
				t.Fatal("the candidate refuses the leader of its term")
			}
			time.Sleep(220 * time.Millisecond)
		}
		if term, leads := b.GetState(); term != won || leads {
			t.Errorf("the candidate of term %d is in term %d, leads %v, though that term's leader was heard all the time", won, term, leads)
		}
	})
}

// Goal: only the present leader and candidates that get the vote hold off a
// server's own election (§5.2, Students' Guide). Method: a leader and a candidate
// of a term gone by, and a candidate with an old log, call all the time.
func chatterHoldsOffNobody(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		servers := map[string]*between{}
		chatter := map[string]func(b *between){
			"an old leader":       func(b *between) { b.take("1", 2, 0, 0, 0, 0) },
			"an old candidate":    func(b *between) { b.ask("1", 2, 9, 2) },
			"a refused candidate": func(b *between) { b.ask("1", 5, 0, 0) },
		}
		for who := range chatter {
			servers[who] = startBetween(t, raft.MakePersister(), lost)
			servers[who].take("2", 5, 0, 0, 1, 0)
		}
		for range 30 {
			for who, call := range chatter {
				call(servers[who])
			}
			time.Sleep(100 * time.Millisecond)
		}
		for who, b := range servers {
			if term, _ := b.GetState(); term == 5 {
				t.Errorf("the server has not stood for election in three seconds in which it heard only %s", who)
			}
		}
	})
}

// Goal: a vote counts only in the campaign it was asked for. Method: all votes
// for term 1 arrive when the candidate stands in a later term.
func lateVotesDoNotCount(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		b := startBetween(t, raft.MakePersister(), func(args interface{}, reply interface{}) bool {
			a, ok := args.(*raft.RequestVoteArgs)
			if !ok || a.Term > 1 {
				return false
			}
			time.Sleep(2 * time.Second)
			*reply.(*raft.RequestVoteReply) = raft.RequestVoteReply{Term: 1, VoteGranted: true}
			return true
		})
		for range 40 {
			time.Sleep(100 * time.Millisecond)
			if term, leads := b.GetState(); leads {
				t.Fatalf("the server leads term %d by votes for term 1", term)
			}
		}
	})
}

// Goal: heartbeats keep a follower from standing. Method: a leader that only
// sends heartbeats, for many election timeouts.
func heartbeatsKeepTheLeader(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		b := startBetween(t, raft.MakePersister(), lost)
		for range 20 {
			b.take("1", 5, 0, 0, 0, 0)
			time.Sleep(220 * time.Millisecond)
		}
		if term, _ := b.GetState(); term != 5 {
			t.Errorf("the server is in term %d though the leader of term 5 was heard all the time", term)
		}
	})
}

package core

import (
	"fmt"
	"slices"
	"testing"
)

// slowSyncs are syncs of a disk that is slow and does not hang, in milliseconds; it
// counts as hanging after 1,350.
var slowSyncs = []int64{1, 20, 100, 250, 290, 350, 400, 600, 1000, 1300}

// worksAtAnySpeed fails the test unless three things hold in each world, over a minute
// of load from the first start of all servers: some server leads nine tenths of the
// time, there are at most six campaigns a minute, and reads are confirmed after a
// round trip, not after a sync.
func worksAtAnySpeed(t *testing.T, worlds int, make func(seed uint64) *timed) {
	t.Helper()
	sampled, led, campaigns, lost, confirmed := 0, 0, uint64(0), uint64(0), []int64{}
	for seed := range uint64(worlds) {
		w := make(seed)
		w.load(100, 20)
		w.run(60_000)
		sampled, led = sampled+w.sampled, led+w.led
		campaigns, lost = campaigns+w.counts().Campaigns, lost+w.counts().LostQuorum
		for _, s := range w.servers {
			confirmed = append(confirmed, s.took...)
		}
	}
	slices.Sort(confirmed)
	if len(confirmed) < worlds*2000 {
		t.Fatalf("only %d reads were confirmed", len(confirmed))
	}
	p90, p95 := confirmed[len(confirmed)*90/100], confirmed[len(confirmed)*95/100]
	t.Logf("led %.1f %%, %d campaigns, %d lost quorums in %d minutes; 9 of 10 reads within %d ms, 19 of 20 within %d ms",
		100*float64(led)/float64(sampled), campaigns, lost, worlds, p90, p95)
	if led*100 < sampled*90 || campaigns > uint64(6*worlds) || lost > uint64(worlds) || p90 > 4 {
		t.Error("too slow a disk is taken for no disk")
	}
}

// Goal: disks that are slow on all servers cost no leader and no read. Method: every
// sync time below the stall limit; a minute of load from the first start, five
// times.
func TestSlowDisks_OnAllServers(t *testing.T) {
	for _, ms := range slowSyncs {
		t.Run(fmt.Sprint(ms), func(t *testing.T) {
			worksAtAnySpeed(t, 5, func(seed uint64) *timed {
				w := newTimed(t, 3, seed)
				for _, s := range w.servers {
					s.disk(ms)
				}
				return w
			})
		})
	}
}

// Goal: likewise where the majority needs one slow disk and the others are quick.
// Method: one server is down; each of the others is the slow one in turn.
func TestSlowDisks_OneAndAnotherServerIsDown(t *testing.T) {
	for _, ms := range slowSyncs {
		for slow := range 2 {
			t.Run(fmt.Sprintf("%d at %d", ms, slow+1), func(t *testing.T) {
				worksAtAnySpeed(t, 3, func(seed uint64) *timed {
					w := newTimed(t, 3, seed)
					w.servers[slow].disk(ms)
					w.servers[2].down = true
					return w
				})
			})
		}
	}
}

// Goal: likewise with five servers of which two are down and the rest slow, and with
// disks that change their speed from write to write. Method: as above.
func TestSlowDisks_OfFiveAndOfChangingSpeed(t *testing.T) {
	for _, ms := range []int64{290, 600, 1300} {
		t.Run(fmt.Sprint(ms), func(t *testing.T) {
			worksAtAnySpeed(t, 3, func(seed uint64) *timed {
				w := newTimed(t, 5, seed)
				for i, s := range w.servers {
					s.down = i >= 3
					turn := int64(0)
					s.sync = func(*Write) int64 {
						turn++
						return ms * (turn % 4) / 3
					}
				}
				return w
			})
		})
	}
}

// Goal: slow disks do not keep a new leader from following a dead one for long.
// Method: under load on slow disks the leader goes down; the next leads after the
// wait for it, the candidate's own sync and two of a voter's, and as much to spare.
func TestSlowDisks_ADeadLeaderIsFollowed(t *testing.T) {
	for _, ms := range slowSyncs {
		for seed := range uint64(5) {
			w := newTimed(t, 3, seed)
			for _, s := range w.servers {
				s.disk(ms)
			}
			w.load(100, 20)
			w.run(10_000)
			dead := w.leader()
			if dead == nil {
				t.Fatalf("syncs of %d ms: nobody leads after 10 s", ms)
			}
			dead.down = true
			begun := w.now
			for w.leader() == nil && w.now < begun+60_000 {
				w.run(10)
			}
			if took := w.now - begun; took > 2*(600+3*ms) {
				t.Errorf("syncs of %d ms, seed %d: the next leader came after %d ms", ms, seed, took)
			}
		}
	}
}

// Goal: a leader is deposed if its followers are gone, however patient it is with
// their disks. Method: under load on slow disks both followers go down.
func TestSlowDisks_ALeaderWithoutFollowersStepsDown(t *testing.T) {
	w := newTimed(t, 3, 1)
	for _, s := range w.servers {
		s.disk(600)
	}
	w.load(100, 20)
	w.run(10_000)
	leader := w.leader()
	for _, s := range w.servers {
		s.down = s != leader
	}
	if w.run(700); leader.role == Leader {
		t.Fatal("it still leads 700 ms after its followers went down")
	}
}

// Goal: an answer that confirms nothing is given at once and moves nothing; the
// confirmation waits for the disk. Method: a follower whose disk does not end takes
// entries and then a heartbeat; a leader hears "pending", and then "success".
func TestSlowDisks_PendingConfirmsNothing(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t)
	s.receive("2", &AppendEntries{Term: 1, LeaderID: "2"})
	s.slowDisk = true
	entries := s.receive("2", &AppendEntries{Term: 1, LeaderID: "2", Entries: entriesOf(1, 1, 1)})
	beat := s.receive("2", &AppendEntries{Term: 1, LeaderID: "2", PrevLogIndex: 2, PrevLogTerm: 1, LeaderCommit: 1})
	if reply, ok := s.answers[beat].(*AppendEntriesReply); !ok || reply.Success || !reply.Pending || reply.ConflictIndex != 0 {
		t.Fatalf("the beat is answered %+v", s.answers[beat])
	}
	if s.answers[entries] != nil || s.commitIndex != 1 {
		t.Fatalf("entries that are not on the disk are answered %+v; committed %d", s.answers[entries], s.commitIndex)
	}
	s.save()
	if reply, ok := s.answers[entries].(*AppendEntriesReply); !ok || !reply.Success {
		t.Fatalf("saved entries are answered %+v", s.answers[entries])
	}

	l := newSubject(t)
	call := l.to("2", l.lead())
	l.giveBack(call, &AppendEntriesReply{Term: 1, Pending: true})
	l.to("2", l.propose("x"))
	l.ticks(10)
	if p := l.members[1].progress; l.commitIndex != 0 || p.matchIndex != 0 || !p.pipelining || !p.heard {
		t.Fatalf("after a pending answer: committed %d, progress %+v", l.commitIndex, p)
	}
}

// Goal: a probe with entries is not sent again before it is known to be lost.
// Method: a leader's first message carries entries; heartbeats pass; an answer to one of
// them says that the entries never came, and they are sent again from there.
func TestProbe_IsSentAgainOnlyIfItIsLost(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withNoop)
	s.lead()
	var beat Call
	for range 5 {
		for _, call := range s.ticks(s.config.HeartbeatTicks) {
			if req := call.Request.(*AppendEntries); call.To == "2" {
				if beat = call; len(req.Entries) > 0 || req.PrevLogIndex != 1 {
					t.Fatalf("a heartbeat asks at %d with %d entries", req.PrevLogIndex, len(req.Entries))
				}
			}
		}
	}
	s.giveBack(beat, &AppendEntriesReply{Term: 1, ConflictIndex: 1})
	if req := s.to("2", s.takeCalls()).Request.(*AppendEntries); len(req.Entries) != 1 || req.PrevLogIndex != 0 {
		t.Fatalf("after the rejection %+v is sent", req)
	}
}

// Goal: a refusal does not end a campaign that can still be won: a server that has
// lost its disk refuses every candidate, and the third may have a slow disk.
// Method: of two voters one refuses; the other's disk takes longer than the election
// timeout. The vote must find the campaign still there. Where both refuse, the
// next campaign comes after the timeout.
func TestSlowDisks_ARefusalEndsNoHope(t *testing.T) {
	defer failOnPanic(t)
	for _, bothRefuse := range []bool{false, true} {
		s := newSubject(t, func(c *Config) { c.StallTicks = 45 })
		calls := s.campaigns()
		slow := s.to("3", calls)
		s.giveBack(s.to("2", calls), &RequestVoteReply{Term: 1})
		if bothRefuse {
			s.giveBack(slow, &RequestVoteReply{Term: 1})
		}
		s.ticks(40)
		if again := s.currentTerm > 1; again != bothRefuse {
			t.Fatalf("both refuse: %v; after four election timeouts the term is %d", bothRefuse, s.currentTerm)
		}
		if !bothRefuse {
			s.giveBack(slow, &RequestVoteReply{Term: 1, VoteGranted: true})
			s.want(Leader, 1)
		}
	}
}

// Goal: a server whose vote is being written would vote for nobody else; when the
// write is over it would. Method: a vote for 2 is with the disk; 2
// and 3 ask for pre-votes, before and after the save.
func TestSlowDisks_AVoteBeingWrittenFavoursNobodyElse(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withPreVote, func(c *Config) { c.StallTicks = 45 })
	s.slowDisk = true
	s.receive("2", &RequestVote{Term: 1, CandidateID: "2"})
	own := s.receive("2", &RequestVote{Term: 2, CandidateID: "2", Pre: true})
	other := s.receive("3", &RequestVote{Term: 2, CandidateID: "3", Pre: true})
	if s.answers[own] != nil {
		t.Fatalf("before the save its candidate is answered %+v", s.answers[own])
	}
	s.save()
	if reply := s.answers[own].(*RequestVoteReply); !reply.VoteGranted {
		t.Fatalf("its candidate is answered %+v", reply)
	}
	if reply := s.answers[other].(*RequestVoteReply); reply.VoteGranted {
		t.Fatalf("another one is answered %+v", reply)
	}
	later := s.receive("3", &RequestVote{Term: 2, CandidateID: "3", Pre: true})
	if reply := s.answers[later].(*RequestVoteReply); !reply.VoteGranted {
		t.Fatalf("after the save another one is answered %+v", reply)
	}
}

// Goal: a dead leader is followed where every server that is left must vote, and one
// of their disks is slow. Method: of six servers the leader and another one with a
// quick disk go down under load; the next leads after the wait for it, the
// candidate's own sync and two of a voter's.
func TestSlowDisks_ADeadLeaderIsFollowedWhereAllMustVote(t *testing.T) {
	for _, ms := range slowSyncs {
		for seed := range uint64(5) {
			w := newTimed(t, 6, seed)
			slow := w.servers[0]
			slow.disk(ms)
			w.load(100, 20)
			w.run(10_000)
			dead := w.leader()
			if dead == nil {
				t.Fatalf("syncs of %d ms: nobody leads after 10 s", ms)
			}
			if dead == slow {
				continue // then only quick ones are left
			}
			other := w.servers[5]
			if dead == other {
				other = w.servers[4]
			}
			dead.down, other.down = true, true
			begun := w.now
			for w.leader() == nil && w.now < begun+60_000 {
				w.run(10)
			}
			if took := w.now - begun; took > 600+3*ms {
				t.Errorf("syncs of %d ms, seed %d: the next leader came after %d ms", ms, seed, took)
			}
		}
	}
}

// Goal: a server that would vote for a candidate leaves it the time of two syncs,
// once in each wait for a leader, before it campaigns itself. Method: 2 asks for a
// pre-vote; time passes up to the longest election timeout, then two syncs more.
func TestSlowDisks_AVoterLeavesItsCandidateTime(t *testing.T) {
	defer failOnPanic(t)
	const stall = 45
	s := newSubject(t, withPreVote, withStall(stall))
	s.ticks(s.config.ElectionTicks) // no leader was heard for long enough
	s.receive("2", &RequestVote{Term: 1, CandidateID: "2", Pre: true})
	s.takeCalls()
	for n := range 2 * stall {
		for _, call := range s.ticks(1) {
			if _, asks := call.Request.(*RequestVote); asks {
				t.Fatalf("it campaigns %d ticks after it would have voted for 2; two syncs take %d", n+1, 2*stall)
			}
		}
	}
	for range 2 * s.config.ElectionTicks {
		for _, call := range s.ticks(1) {
			if _, asks := call.Request.(*RequestVote); asks {
				return
			}
		}
	}
	t.Error("it never campaigns")
}

// Goal: the question of a read travels apart from entries, whose answers wait for
// disks, and before them. Method: a command and a read in the same turn; each
// follower is sent one message without entries and then one with.
func TestSlowDisks_AReadTravelsApartFromEntries(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withNoop, withStall(45))
	for _, call := range s.lead() {
		s.accept(call)
	}
	s.takeCalls()
	if _, _, err := s.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Read(7); err != nil {
		t.Fatal(err)
	}
	s.run()
	with, without := map[ID]int{}, map[ID]int{}
	for _, call := range s.takeCalls() {
		if req, ok := call.Request.(*AppendEntries); ok && len(req.Entries) > 0 {
			if with[call.To]++; without[call.To] == 0 {
				t.Errorf("%s is sent entries before the question", call.To)
			}
		} else if ok {
			without[call.To]++
		}
	}
	for _, id := range []ID{"2", "3"} {
		if with[id] == 0 || without[id] == 0 {
			t.Errorf("%s is sent %d messages with entries and %d without", id, with[id], without[id])
		}
	}
}

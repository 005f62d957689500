package raft_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"raftkv/raft"
	"raftkv/raft/core"
	"raftkv/tests/lab"
)

// Rules of Figure 2 that a cluster seldom breaks even without them, because
// two or three things have to go wrong in turn: here they do, at one real
// server between peers that follow a script.

// script answers the calls of the server under test; false loses a call.
type script func(args interface{}, reply interface{}) bool

// Call is what Make wants of a peer.
func (s script) Call(_ string, args interface{}, reply interface{}) bool { return s(args, reply) }

// between starts server 0 of three; the other two follow the script. What it
// delivers is collected until it is killed, when the test ends at the latest.
type between struct {
	*raft.Raft
	mu        sync.Mutex // guards delivered
	delivered []int
}

func startBetween(t *testing.T, persister raft.StateStore, s script) *between {
	applyCh := make(chan raft.ApplyMsg)
	b := &between{Raft: raft.Make([]script{nil, s, s}, 0, persister, applyCh)}
	t.Cleanup(b.Kill)
	go func() {
		for msg := range applyCh {
			b.mu.Lock()
			b.delivered = append(b.delivered, msg.CommandIndex)
			b.mu.Unlock()
		}
	}()
	return b
}

// has fails the test unless exactly these indices have been delivered.
func (b *between) has(t *testing.T, when string, want ...int) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.delivered, want) {
		t.Errorf("%s: delivered %v, not %v", when, b.delivered, want)
	}
}

// take hands the server entries of one term behind (prevIndex, prevTerm).
func (b *between) take(leader string, term, prevIndex, prevTerm uint64, entries int, commit uint64) bool {
	run := make([]core.Entry, entries)
	for i := range run {
		run[i] = core.Entry{Index: prevIndex + 1 + uint64(i), Term: term, Data: []byte{1, 2}} // the int 1
	}
	args := &raft.AppendEntriesArgs{
		Term: term, LeaderId: leader, PrevLogIndex: prevIndex, PrevLogTerm: prevTerm,
		Count: entries, Entries: core.EncodeEntries(nil, run), LeaderCommit: commit,
	}
	var reply raft.AppendEntriesReply
	b.AppendEntries(args, &reply)
	return reply.Success
}

func lost(interface{}, interface{}) bool { return false }

// votes grants every vote and leaves the rest to the script.
func votes(rest script) script {
	return func(args interface{}, reply interface{}) bool {
		if a, ok := args.(*raft.RequestVoteArgs); ok {
			*reply.(*raft.RequestVoteReply) = raft.RequestVoteReply{Term: a.Term, VoteGranted: true}
			return true
		}
		return rest(args, reply)
	}
}

// appends answers AppendEntries as told.
func appends(answer func(a *raft.AppendEntriesArgs) (raft.AppendEntriesReply, bool)) script {
	return func(args interface{}, reply interface{}) bool {
		a, ok := args.(*raft.AppendEntriesArgs)
		if !ok {
			return false
		}
		r, arrives := answer(a)
		*reply.(*raft.AppendEntriesReply) = r
		return arrives
	}
}

// Goal: a vote, and its term, survive a crash (§5.1, Figure 2 "Persistent
// state"). Method: between the vote and a rival's request the server crashes.
func TestVoteSurvivesACrash(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		ask := func(b *between, candidate string) bool {
			var reply raft.RequestVoteReply
			b.RequestVote(&raft.RequestVoteArgs{Term: 7, CandidateId: candidate}, &reply)
			return reply.VoteGranted
		}
		persister := raft.MakePersister()
		first := startBetween(t, persister, lost)
		if !ask(first, "1") {
			t.Fatal("the first candidate got no vote")
		}
		persister = persister.Copy() // the crash: nothing saved later counts
		first.Kill()
		second := startBetween(t, persister, lost)
		if term, _ := second.GetState(); term != 7 {
			t.Errorf("the server voted in term 7 and came back in term %d", term)
		}
		if ask(second, "2") {
			t.Error("the server voted for two candidates in term 7")
		}
		if !ask(second, "1") {
			t.Error("the server does not stand by its vote")
		}
	})
}

// slowDisk is a persister that takes its time.
type slowDisk struct{ *raft.Persister }

// Save stores both after 50 ms.
func (d slowDisk) Save(state, snapshot []byte) {
	time.Sleep(50 * time.Millisecond)
	lab.Save(d.Persister, state, snapshot)
}

// Goal: entries that were acknowledged survive a crash: no answer before the
// disk has them. Method: the disk is slow, and the server crashes right after
// its answer.
func TestEntriesSurviveACrash(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		persister := raft.MakePersister()
		first := startBetween(t, slowDisk{persister}, lost)
		if !first.take("1", 3, 0, 0, 2, 0) {
			t.Fatal("the entries were refused")
		}
		persister = persister.Copy() // the crash: nothing saved later counts
		first.Kill()
		if second := startBetween(t, persister, lost); !second.take("1", 3, 2, 3, 0, 2) {
			t.Error("the server has lost entries that it acknowledged")
		}
	})
}

// Goal: a snapshot that comes late does no harm. Method: it covers less than the
// server's own.
func TestLateSnapshotIsNotInstalled(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		persister := raft.MakePersister()
		b := startBetween(t, persister, lost)
		b.take("1", 1, 0, 0, 5, 5)
		time.Sleep(50 * time.Millisecond)
		b.Snapshot(4, []byte("up to 4"))
		time.Sleep(50 * time.Millisecond)
		var reply raft.InstallSnapshotReply
		b.InstallSnapshot(&raft.InstallSnapshotArgs{
			Term: 1, LeaderId: "1", LastIncludedIndex: 2, LastIncludedTerm: 1, Data: []byte("up to 2"),
		}, &reply)
		b.take("1", 1, 5, 1, 1, 6)
		time.Sleep(50 * time.Millisecond)
		b.has(t, "after a late snapshot and one more entry", 1, 2, 3, 4, 5, 6)
		if got := string(persister.ReadSnapshot()); got != "up to 4" {
			t.Errorf("the persister holds snapshot %q", got)
		}
	})
}

// Goal: a leader does not commit older terms' entries by counting (§5.4.2,
// Figure 8). Method: it leads with an entry of term 2 that everybody holds; only
// an entry of its own may commit it.
func TestOlderTermsAreNotCommittedByCounting(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		b := startBetween(t, raft.MakePersister(), votes(appends(func(a *raft.AppendEntriesArgs) (raft.AppendEntriesReply, bool) {
			return raft.AppendEntriesReply{Term: a.Term, Success: true}, true
		})))
		if !b.take("1", 2, 0, 0, 1, 0) {
			t.Fatal("the entry was refused")
		}
		waitUntil(t, "the server leads", func() bool { _, leads := b.GetState(); return leads })
		time.Sleep(2 * time.Second)
		b.has(t, "with an entry of an older term on every server")
		b.Start(1)
		time.Sleep(time.Second)
		b.has(t, "with an entry of its own on every server", 1, 2)
	})
}

// Goal: a follower takes over the leader's commit index only as far as it knows
// to agree with the leader (Figure 2 "min"). Method: a heartbeat that matches at
// index 0 and says that 2 is committed, to a follower with two entries of
// another leader.
func TestCommitGoesNoFurtherThanTheMatch(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		b := startBetween(t, raft.MakePersister(), lost)
		b.take("1", 1, 0, 0, 2, 0)
		b.take("2", 2, 0, 0, 0, 2)
		time.Sleep(100 * time.Millisecond)
		b.has(t, "after a heartbeat that matches at 0")
		b.take("2", 2, 0, 0, 2, 2)
		time.Sleep(100 * time.Millisecond)
		b.has(t, "after the leader's entries", 1, 2)
	})
}

// Goal: a vote counts only in the campaign it was asked for. Method: all votes
// for term 1 arrive when the candidate stands in a later term.
func TestLateVotesDoNotCount(t *testing.T) {
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

// Goal: an answer says what was in the call, not what is in the log by now.
// Method: the answer to the first entry arrives when the leader holds a second
// one that never leaves it.
func TestAnswersAreReadWithTheirCall(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		b := startBetween(t, raft.MakePersister(), votes(appends(func(a *raft.AppendEntriesArgs) (raft.AppendEntriesReply, bool) {
			if a.PrevLogIndex+uint64(a.Count) > 1 {
				return raft.AppendEntriesReply{}, false
			}
			if a.Count == 1 {
				time.Sleep(50 * time.Millisecond)
			}
			return raft.AppendEntriesReply{Term: a.Term, Success: true}, true
		})))
		waitUntil(t, "the server leads", func() bool { _, leads := b.GetState(); return leads })
		b.Start(1)
		time.Sleep(10 * time.Millisecond)
		b.Start(2)
		time.Sleep(2 * time.Second)
		b.has(t, "with the first entry on every server", 1)
	})
}

// Goal: a leader backs up a term at a time, not an entry at a time (§5.3 end).
// Method: a follower that lacks ninety of a hundred entries and says so.
func TestBackingUpTakesFewRPCs(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		var mu sync.Mutex
		refusals, has := 0, uint64(10)
		b := startBetween(t, raft.MakePersister(), votes(appends(func(a *raft.AppendEntriesArgs) (raft.AppendEntriesReply, bool) {
			mu.Lock()
			defer mu.Unlock()
			if a.PrevLogIndex <= has {
				has = max(has, a.PrevLogIndex+uint64(a.Count))
				return raft.AppendEntriesReply{Term: a.Term, Success: true}, true
			}
			refusals++
			return raft.AppendEntriesReply{Term: a.Term, ConflictIndex: has + 1}, true
		})))
		if !b.take("1", 1, 0, 0, 100, 0) {
			t.Fatal("the entries were refused")
		}
		time.Sleep(3 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if refusals > 6 || has != 100 {
			t.Errorf("%d calls were refused, and the followers hold %d entries of 100", refusals, has)
		}
	})
}

// Goal: heartbeats keep a follower from standing. Method: a leader that only
// sends heartbeats, for many election timeouts.
func TestHeartbeatsHoldOffElections(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		b := startBetween(t, raft.MakePersister(), lost)
		for range 50 {
			b.take("1", 5, 0, 0, 0, 0)
			time.Sleep(220 * time.Millisecond)
		}
		if term, _ := b.GetState(); term != 5 {
			t.Errorf("the server is in term %d though the leader of term 5 was heard all the time", term)
		}
	})
}

// Goal: a call that is lost is tried again at once, and after that no more than
// once a heartbeat, entries only when the follower was heard. Method: followers
// that lose everything from the first entry on.
func TestLostCallsAreTriedAgainOnce(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		var mu sync.Mutex
		var entries, heartbeats int
		b := startBetween(t, raft.MakePersister(), votes(appends(func(a *raft.AppendEntriesArgs) (raft.AppendEntriesReply, bool) {
			mu.Lock()
			defer mu.Unlock()
			if a.Count > 0 {
				entries++
			} else {
				heartbeats++
			}
			return raft.AppendEntriesReply{Term: a.Term, Success: true}, entries == 0
		})))
		waitUntil(t, "the server leads", func() bool { _, leads := b.GetState(); return leads })
		time.Sleep(100 * time.Millisecond) // the first heartbeats are answered
		b.Start(1)
		time.Sleep(100 * time.Millisecond)
		mu.Lock()
		if entries != 4 {
			t.Errorf("two followers were sent the lost entry %d times in 100 ms, not twice each", entries)
		}
		heartbeats = 0
		mu.Unlock()
		time.Sleep(3 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if entries != 4 || heartbeats < 10 || heartbeats > 40 {
			t.Errorf("in three seconds of silence two followers were sent %d entries and %d heartbeats", entries-4, heartbeats)
		}
	})
}

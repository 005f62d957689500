package raft_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
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

// Call is the method that Make needs of a peer.
func (s script) Call(_ string, args interface{}, reply interface{}) bool { return s(args, reply) }

// between starts server 0 of three; the other two follow the script. What it
// delivers is collected until it is killed, when the test ends at the latest.
type between struct {
	*raft.Raft
	mu        sync.Mutex // guards delivered
	delivered []int
}

func startBetween(t *testing.T, persister raft.StateStore, s script) *between {
	return startAmong(t, persister, []script{nil, s, s})
}

// startAmong starts server 0 among peers that follow scripts of their own.
func startAmong(t *testing.T, persister raft.StateStore, peers []script) *between {
	applyCh := make(chan raft.ApplyMsg)
	b := &between{Raft: raft.Make(peers, 0, persister, applyCh)}
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
		run[i] = core.NewEntry(prevIndex+1+uint64(i), term, core.KindCommand, []byte{1, 2}) // the int 1
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
func entriesSurviveACrash(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		persister := raft.MakePersister()
		first := startBetween(t, slowDisk{persister}, lost)
		first.take("1", 3, 0, 0, 0, 0) // so that the term is not what the answer waits for
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

// Goal: a leader does not commit older terms' entries by counting (§5.4.2,
// Figure 8). Method: it leads with an entry of term 2 that everybody holds; only
// an entry of its own may commit it.
func olderTermsAreNotCommittedByCounting(t *testing.T) {
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
func commitGoesNoFurtherThanTheMatch(t *testing.T) {
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

// Goal: an answer says what was in the call, not what is in the log by now.
// Method: the answer to the first entry arrives when the leader holds a second
// one that never leaves it.
func answersAreReadWithTheirCall(t *testing.T) {
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
func backingUpTakesFewRPCs(t *testing.T) {
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

// Goal: an answer says nothing in a later term (§5.1). Method: a leader is
// deposed while the answers to two entries are pending, and leads again with
// other entries in their places, which nobody else has.
func answersOfAnEarlierTermDoNotCount(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		var first atomic.Uint64 // the term in which it led first; 0 before
		var late atomic.Int64   // answers that came late
		b := startBetween(t, raft.MakePersister(), votes(appends(func(a *raft.AppendEntriesArgs) (raft.AppendEntriesReply, bool) {
			switch {
			case a.Term != first.Load() && first.Load() != 0:
				return raft.AppendEntriesReply{}, false
			case a.Count > 0:
				defer late.Add(1)
				time.Sleep(4 * time.Second)
			}
			return raft.AppendEntriesReply{Term: a.Term, Success: true}, true
		})))
		leads := func() bool { _, leads := b.GetState(); return leads }
		waitUntil(t, "the server leads", leads)
		term, _ := b.GetState()
		first.Store(uint64(term))
		b.Start(1)
		b.Start(2)
		time.Sleep(100 * time.Millisecond)
		if !b.take("1", uint64(term)+1, 0, 0, 1, 0) {
			t.Fatal("the entry of the next leader was refused")
		}
		waitUntil(t, "the server leads again", leads)
		if index, _, took := b.Start(3); !took || index != 2 {
			t.Fatalf("the command got index %d, leads %v", index, took)
		}
		waitUntil(t, "both late answers are there", func() bool { return late.Load() == 2 })
		time.Sleep(time.Second)
		b.has(t, "with entries that nobody else has")
	})
}

// Goal: entries that agree stay, whatever comes late (Figure 2, AppendEntries 3;
// Students' Guide). Method: the first of three entries comes once more, alone.
func lateEntriesTruncateNothing(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		b := startBetween(t, raft.MakePersister(), lost)
		if !b.take("1", 1, 0, 0, 3, 0) || !b.take("1", 1, 0, 0, 1, 0) || !b.take("1", 1, 0, 0, 0, 0) {
			t.Fatal("entries were refused")
		}
		if !b.take("1", 1, 3, 1, 0, 3) {
			t.Error("the third entry, which was acknowledged, is gone")
		}
		time.Sleep(50 * time.Millisecond)
		b.has(t, "with three entries committed", 1, 2, 3)
	})
}

// Goal: entries that contradict the leader's go, with all that follow (Figure 2,
// AppendEntries 2 to 4). Method: a new leader's second entry, to a follower with
// three of an old one; then it is asked what it holds.
func conflictsAreTruncated(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		b := startBetween(t, raft.MakePersister(), lost)
		b.take("1", 1, 0, 0, 3, 0)
		for _, ask := range []struct {
			prevIndex, prevTerm uint64
			entries             int
			due                 bool
		}{{3, 2, 0, false}, {4, 1, 0, false}, {3, 1, 0, true}, {1, 1, 1, true}, {3, 1, 0, false}, {3, 2, 0, false}, {2, 1, 0, false}, {2, 2, 0, true}, {1, 1, 0, true}} {
			if got := b.take("2", 2, ask.prevIndex, ask.prevTerm, ask.entries, 0); got != ask.due {
				t.Errorf("%d entries behind index %d of term %d: accepted %v", ask.entries, ask.prevIndex, ask.prevTerm, got)
			}
		}
		b.take("2", 2, 2, 2, 1, 3)
		time.Sleep(50 * time.Millisecond)
		b.has(t, "after the new leader's entries", 1, 2, 3)
	})
}

// Goal: a leader's commit index counts majorities (§5.3). Method: clusters of two
// to five, with every number of servers that hold the entry, the leader included.
func majoritiesCommit(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		cases := eachMajority(func(servers, holding int) *between {
			peers := make([]script, servers)
			for i := range peers {
				peers[i] = votes(appends(func(a *raft.AppendEntriesArgs) (raft.AppendEntriesReply, bool) {
					return raft.AppendEntriesReply{Term: a.Term, Success: true}, i < holding || a.Count == 0 && a.PrevLogIndex == 0
				}))
			}
			return startAmong(t, raft.MakePersister(), peers)
		})
		for _, c := range cases {
			waitUntil(t, "the server leads", c.leads)
			c.Start(1)
		}
		time.Sleep(time.Second)
		for _, c := range cases {
			if c.majority {
				c.has(t, fmt.Sprintf("with %d of %d", c.some, c.servers), 1)
			} else {
				c.has(t, fmt.Sprintf("with %d of %d", c.some, c.servers))
			}
		}
	})
}

// Goal: a new leader knows of nobody what it holds (Figure 2, "Volatile state on
// leaders", reinitialised after election). Method: of five, one more than the
// leader holds its entries. It is deposed, its entries make place for another
// one, and it leads again: now a second server holds its log, and the first has
// gone.
func nobodyIsBelievedFromEarlier(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		var second atomic.Bool // it leads for the second time
		holds := func(when bool) script {
			return votes(appends(func(a *raft.AppendEntriesArgs) (raft.AppendEntriesReply, bool) {
				return raft.AppendEntriesReply{Term: a.Term, Success: true}, second.Load() == when || a.PrevLogIndex+uint64(a.Count) == 0
			}))
		}
		b := startAmong(t, raft.MakePersister(), []script{nil, holds(false), holds(true), votes(lost), votes(lost)})
		waitUntil(t, "the server leads", b.leads)
		term, _ := b.GetState()
		b.Start(1)
		b.Start(2)
		time.Sleep(200 * time.Millisecond)
		b.has(t, "with entries that two of five hold")
		second.Store(true)
		if !b.take("1", uint64(term)+1, 0, 0, 1, 0) {
			t.Fatal("the entry of the next leader was refused")
		}
		waitUntil(t, "the server leads again", b.leads)
		if index, _, took := b.Start(3); !took || index != 2 {
			t.Fatalf("the command got index %d, leads %v", index, took)
		}
		time.Sleep(time.Second)
		b.has(t, "with an entry that two of five hold, and another one in its place before")
	})
}

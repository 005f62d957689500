package raft_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/raft"
	"raftkv/tests/lab"
)

// Goal: a leader that is cut off leads on for more than a second, because one
// suite wants its callers to wait that long; then it takes no more commands,
// keeps its term and what it took, and leads again when it is heard. Method: the
// followers answer, fall silent and answer again.
func TestLeaderThatIsCutOffStopsTakingCommands(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		var silent atomic.Bool
		b := startBetween(t, raft.MakePersister(), votes(appends(func(a *raft.AppendEntriesArgs) (raft.AppendEntriesReply, bool) {
			return raft.AppendEntriesReply{Term: a.Term, Success: true}, !silent.Load()
		})))
		leads := func() bool { _, leads := b.GetState(); return leads }
		waitUntil(t, "the server leads", leads)
		term, _ := b.GetState()
		time.Sleep(time.Second) // the latest heartbeat is up to a quarter of a second old
		silent.Store(true)
		if index, _, took := b.Start(1); !took || index != 1 {
			t.Fatalf("a leader just cut off answered index %d, leads %v", index, took)
		}
		time.Sleep(1200 * time.Millisecond)
		if _, _, took := b.Start(2); !took || !leads() {
			t.Error("the leader gave up in little more than a second")
		}
		time.Sleep(time.Second)
		if _, _, took := b.Start(3); took || leads() {
			t.Error("after two seconds the leader still takes commands")
		}
		b.has(t, "cut off")
		silent.Store(false)
		waitUntil(t, "the server leads again", leads)
		if now, _ := b.GetState(); now != term {
			t.Errorf("it led term %d and leads term %d", term, now)
		}
		waitUntil(t, "what it took is delivered", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return len(b.delivered) == 2
		})
	})
}

// Goal: commands that are started at the same moment travel together. Method:
// five of them; in virtual time the same moment is exact.
func TestCommandsOfOneMomentTravelTogether(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		if lab.Realtime() {
			t.Skip("on the wall clock the moment may be missed")
		}
		var calls, entries atomic.Int64
		b := startBetween(t, raft.MakePersister(), votes(appends(func(a *raft.AppendEntriesArgs) (raft.AppendEntriesReply, bool) {
			if a.Count > 0 {
				calls.Add(1)
				entries.Add(int64(a.Count))
			}
			return raft.AppendEntriesReply{Term: a.Term, Success: true}, true
		})))
		waitUntil(t, "the server leads", func() bool { _, leads := b.GetState(); return leads })
		time.Sleep(time.Second)
		var starting sync.WaitGroup
		for command := range 5 {
			starting.Go(func() { b.Start(command) })
		}
		starting.Wait()
		time.Sleep(time.Second)
		if calls.Load() != 2 || entries.Load() != 10 {
			t.Errorf("five commands went to two followers as %d entries in %d calls", entries.Load(), calls.Load())
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

package raft_test

import (
	"testing"
	"time"

	"raftkv/labrpc"
	"raftkv/raft"
	"raftkv/tests/lab"
)

// Goal: Start returns at once where there is nothing to begin. Method: in
// virtual time, at once means that no time passes.
func TestStartReturnsAtOnce(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		network := labrpc.MakeNetwork()
		t.Cleanup(network.Cleanup)
		alone := raft.Make([]*labrpc.ClientEnd{nil, network.MakeEnd("a"), network.MakeEnd("b")}, 0, raft.MakePersister(), make(chan raft.ApplyMsg))
		t.Cleanup(alone.Kill)
		killed := newSolo(t, raft.MakePersister()).rf
		killed.Kill()
		for name, rf := range map[string]*raft.Raft{"a follower": alone, "a killed leader": killed} {
			before := time.Now()
			if index, _, leads := rf.Start(1); leads && rf == alone || leads && index != 1 {
				t.Errorf("%s took a command at index %d", name, index)
			}
			if took := time.Since(before); took > time.Second/2 || took > 0 && !lab.Realtime() {
				t.Errorf("Start on %s took %v", name, took)
			}
		}
	})
}

// Goal: a killed server takes no commands. Method: Start until it refuses; the
// loop may take one that was there before it saw the end.
func TestStartAfterKillIsRefused(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		s := newSolo(t, raft.MakePersister())
		s.rf.Kill()
		time.Sleep(time.Millisecond)
		if _, _, leads := s.rf.Start(1); leads {
			t.Error("a killed server took a command")
		}
	})
}

// Goal: Kill closes applyCh though nobody reads it. Method: several commands are
// stuck in an unbuffered channel.
func TestKillClosesApplyCh(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		s := newSolo(t, raft.MakePersister())
		for command := range 5 {
			s.rf.Start(command)
		}
		time.Sleep(100 * time.Millisecond)
		s.rf.Kill()
		time.Sleep(100 * time.Millisecond)
		for range s.applyCh { // ends only when the channel is closed
		}
	})
}

// Goal: Make does not wait for applyCh. Method: it continues from a state with
// a snapshot and a log, with nobody at the channel.
func TestMakeDoesNotWaitForTheReader(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		persister := raft.MakePersister()
		first := newSolo(t, persister)
		first.commit("a")
		first.rf.Snapshot(1, []byte("a"))
		first.commit("b")
		first.rf.Kill()

		second := newSolo(t, persister.Copy())
		second.rf.Start("c")
		time.Sleep(time.Second)
		if msg := second.next(); msg.CommandIndex != 2 || msg.Command != "b" {
			t.Errorf("delivered %+v first, not index 2", msg)
		}
	})
}

// Goal: followers hear of a commit well before the next heartbeat, and the first
// leader is there before a full election timeout is over. Method: the times of
// an agreement by all, and of the first leader, in a cluster of three.
func TestFirstLeaderAndCommitsArePrompt(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		began := time.Now()
		c := lab.NewCluster(t, lab.Options{Servers: 3})
		c.Agree(1, 3, true)
		if took := time.Since(began); took > 700*time.Millisecond {
			t.Errorf("the first agreement took %v from the start", took)
		}
		began = time.Now()
		for command := 2; command < 12; command++ {
			c.Agree(command, 3, false)
		}
		if took := time.Since(began) / 10; took > 100*time.Millisecond {
			t.Errorf("an agreement by all took %v on average", took)
		}
	})
}

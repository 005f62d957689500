package raft_test

import (
	"sync"
	"testing"
	"time"

	"raftkv/raft"
	"raftkv/tests/lab"
)

// Rules of Figure 13 about snapshots, each at one server between peers that
// follow a script; see suite_rules_test.go.

// Goal: a snapshot that comes late does no harm. Method: it covers less than the
// server's own.
func lateSnapshotIsNotInstalled(t *testing.T) {
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

// Goal: a snapshot that agrees with the log leaves what follows it (Figure 13, 6).
// Method: it covers three of five entries, of which two are committed.
func agreeingSnapshotsKeepTheRest(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		b := startBetween(t, raft.MakePersister(), lost)
		b.take("1", 1, 0, 0, 5, 2)
		time.Sleep(50 * time.Millisecond)
		var reply raft.InstallSnapshotReply
		b.InstallSnapshot(&raft.InstallSnapshotArgs{
			Term: 1, LeaderId: "1", LastIncludedIndex: 3, LastIncludedTerm: 1, Data: []byte("up to 3"),
		}, &reply)
		if !b.take("1", 1, 5, 1, 0, 5) {
			t.Error("the entries behind the snapshot, which were acknowledged, are gone")
		}
	})
}

// Goal: a follower that needs what a snapshot stands for gets it, and then the
// entries behind it, none left out (Figure 13, §7). Method: followers with empty
// logs and a leader with a snapshot of four entries and one more.
func theNextEntryFollowsTheSnapshot(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		var mu sync.Mutex
		has, calls := map[string]uint64{}, 0
		follower := func(name string) script {
			return votes(func(args interface{}, reply interface{}) bool {
				mu.Lock()
				defer mu.Unlock()
				if calls++; calls > 100 {
					time.Sleep(10 * time.Millisecond) // a leader that runs in circles must not stop the clock
				}
				switch a := args.(type) {
				case *raft.InstallSnapshotArgs:
					if a.LastIncludedIndex != 4 || a.LastIncludedTerm != 1 || string(a.Data) != "up to 4" {
						t.Errorf("the snapshot at index 4 of term 1 was sent as %d of term %d, %q", a.LastIncludedIndex, a.LastIncludedTerm, a.Data)
					}
					has[name] = max(has[name], a.LastIncludedIndex)
					*reply.(*raft.InstallSnapshotReply) = raft.InstallSnapshotReply{Term: a.Term}
				case *raft.AppendEntriesArgs:
					r := raft.AppendEntriesReply{Term: a.Term, ConflictIndex: has[name] + 1}
					if r.Success = a.PrevLogIndex <= has[name]; r.Success {
						has[name] = max(has[name], a.PrevLogIndex+uint64(a.Count))
					}
					*reply.(*raft.AppendEntriesReply) = r
				}
				return true
			})
		}
		b := startAmong(t, raft.MakePersister(), []script{nil, follower("1"), follower("2")})
		b.take("1", 1, 0, 0, 5, 5)
		time.Sleep(50 * time.Millisecond)
		b.Snapshot(4, []byte("up to 4"))
		waitUntil(t, "the server leads", b.leads)
		time.Sleep(2 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if has["1"] != 5 || has["2"] != 5 || calls > 60 {
			t.Errorf("after %d calls the followers hold %v, not all five entries", calls, has)
		}
	})
}

// Goal: a snapshot that was acknowledged survives a crash (Figure 13; Figure 2
// "Persistent state"). Method: the disk is slow, and the server crashes right
// after its answer.
func installedSnapshotsSurviveACrash(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		persister := raft.MakePersister()
		first := startBetween(t, slowDisk{persister}, lost)
		first.take("1", 3, 0, 0, 0, 0) // so that the term is not what the answer waits for
		var reply raft.InstallSnapshotReply
		first.InstallSnapshot(&raft.InstallSnapshotArgs{
			Term: 3, LeaderId: "1", LastIncludedIndex: 7, LastIncludedTerm: 2, Data: []byte("up to 7"),
		}, &reply)
		persister = persister.Copy() // the crash: nothing saved later counts
		first.Kill()
		if got := string(persister.ReadSnapshot()); got != "up to 7" {
			t.Errorf("the persister holds snapshot %q", got)
		}
		if second := startBetween(t, persister, lost); !second.take("1", 3, 7, 2, 0, 7) {
			t.Error("the server has lost a snapshot that it acknowledged")
		}
	})
}

package raft_test

import (
	"testing"

	"raftkv/raft"
)

// Our own Persister. An edition's own persister.go may stand in for it, so no
// test calls a method that some edition lacks but these, which skip themselves
// then.

// everyMethod lists the methods that our Persister has beyond those of every
// edition.
type everyMethod interface {
	raft.StateStore
	RaftStateSize() int
	SnapshotSize() int
	Save(state, snapshot []byte)
	SaveStateAndSnapshot(state, snapshot []byte)
	SaveRaftState(state []byte)
	SaveSnapshot(snapshot []byte)
}

func ownPersister(t *testing.T) everyMethod {
	t.Helper()
	ps, ours := any(raft.MakePersister()).(everyMethod)
	if !ours {
		t.Skip("an edition's own persister stands in for ours")
	}
	return ps
}

// Goal: the persister's methods of all editions agree with each other. Method:
// each way to save, read by each way to read.
func TestPersisterHasEveryEditionsMethods(t *testing.T) {
	ps := ownPersister(t)
	holds := func(step, state, snapshot string) {
		t.Helper()
		a, b := string(ps.ReadRaftState()), string(ps.ReadSnapshot())
		if a != state || b != snapshot || ps.RaftStateSize() != len(state) || ps.SnapshotSize() != len(snapshot) {
			t.Errorf("after %s: %q (%d) and %q (%d)", step, a, ps.RaftStateSize(), b, ps.SnapshotSize())
		}
	}
	ps.SaveRaftState([]byte("s1"))
	holds("SaveRaftState", "s1", "")
	ps.SaveSnapshot([]byte("snap1"))
	holds("SaveSnapshot", "s1", "snap1")
	ps.SaveRaftState([]byte("state2"))
	holds("a later SaveRaftState", "state2", "snap1")
	ps.SaveStateAndSnapshot([]byte("s3"), []byte("snap3"))
	holds("SaveStateAndSnapshot", "s3", "snap3")
	copied := any(ps).(*raft.Persister).Copy()
	ps.Save([]byte("s4"), nil)
	holds("Save", "s4", "")
	ps = any(copied).(everyMethod)
	holds("Copy", "s3", "snap3")
}

// Goal: nothing that was saved or read is shared with the persister. Method:
// change it afterwards. Nothing saved reads back as empty, not nil.
func TestPersisterSharesNothing(t *testing.T) {
	ps := ownPersister(t)
	if ps.Save(nil, nil); ps.ReadRaftState() == nil || ps.ReadSnapshot() == nil {
		t.Error("nil reads back as nil")
	}
	state, snapshot := []byte("state"), []byte("snapshot")
	ps.Save(state, snapshot)
	state[0], snapshot[0] = 'X', 'X'
	ps.ReadRaftState()[0], ps.ReadSnapshot()[0] = 'Y', 'Y'
	if a, b := string(ps.ReadRaftState()), string(ps.ReadSnapshot()); a != "state" || b != "snapshot" {
		t.Errorf("the persister holds %q and %q", a, b)
	}
}

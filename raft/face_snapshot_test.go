package raft_test

import (
	"testing"
	"time"

	"raftkv/raft"
	"raftkv/tests/lab"
)

// Goal: a service that speaks too early of its server, or for an earlier run of
// it, does no harm. Method: the methods on a nil *Raft.
func TestSnapshotOfNobody(t *testing.T) {
	var rf *raft.Raft
	rf.Snapshot(5, []byte("x"))
	if !rf.CondInstallSnapshot(1, 5, []byte("x")) {
		t.Error("CondInstallSnapshot is false")
	}
}

// Goal: Snapshot counts only between the last snapshot and what was delivered.
// Method: indices on both sides, and what the persister holds after each.
func TestSnapshotOutsideTheLogIsIgnored(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		s := newSolo(t, raft.MakePersister())
		for _, command := range []string{"a", "b", "c"} {
			s.commit(command)
		}
		for _, step := range []struct {
			index int
			data  string
			want  string
		}{
			{4, "not delivered", ""},
			{1 << 40, "far ahead", ""},
			{0, "before the log", ""},
			{-3, "before that", ""},
			{2, "two", "two"},
			{2, "two again", "two"},
			{1, "old", "two"},
			{3, "three", "three"},
		} {
			s.rf.Snapshot(step.index, []byte(step.data))
			time.Sleep(100 * time.Millisecond)
			if got := string(s.persister.ReadSnapshot()); got != step.want {
				t.Errorf("after Snapshot(%d, %q) the persister holds %q, not %q", step.index, step.data, got, step.want)
			}
		}
		if msg := s.commit("d"); msg.CommandIndex != 4 {
			t.Errorf("the next command is at index %d", msg.CommandIndex)
		}
	})
}

// Goal: after a restart the first delivery is the one behind the snapshot, and
// the snapshot is saved again with everything that follows. Method: two
// restarts, with a save of the log alone between them.
func TestRestartContinuesBehindTheSnapshot(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		persister := raft.MakePersister()
		s := newSolo(t, persister)
		for command := 1; command <= 5; command++ {
			s.commit(command)
		}
		s.rf.Snapshot(3, []byte("up to 3"))
		time.Sleep(100 * time.Millisecond)
		s.rf.Kill()
		for life := range 2 {
			persister = persister.Copy()
			s = newSolo(t, persister)
			s.rf.Start(6 + life) // commits what came before with it (§5.4.2)
			for index := 4; index <= 6+life; index++ {
				if msg := s.next(); msg.CommandIndex != index || msg.Command != index {
					t.Fatalf("life %d: delivered %+v where index %d was due", life, msg, index)
				}
			}
			if got := string(persister.ReadSnapshot()); got != "up to 3" {
				t.Fatalf("life %d: the persister holds snapshot %q", life, got)
			}
			s.rf.Kill()
		}
	})
}

// Goal: what is given to Raft and the persister may be used again at once.
// Method: the buffers are overwritten after the call.
func TestBuffersMayBeReused(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		s := newSolo(t, raft.MakePersister())
		command := []byte("command")
		s.rf.Start(command)
		copy(command, "XXXXXXX")
		if msg := s.next(); string(msg.Command.([]byte)) != "command" {
			t.Errorf("delivered %q", msg.Command)
		}
		snapshot := []byte("snapshot")
		s.rf.Snapshot(1, snapshot)
		copy(snapshot, "YYYYYYYY")
		time.Sleep(100 * time.Millisecond)
		if got := string(s.persister.ReadSnapshot()); got != "snapshot" {
			t.Errorf("the persister holds %q", got)
		}
	})
}

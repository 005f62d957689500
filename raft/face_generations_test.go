package raft_test

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"

	"raftkv/raft"
	"raftkv/tests/lab"
)

// The generations of the courses' Persister, each with its own methods for
// saving and no other. keeps is what they share.
type (
	keeps    struct{ disk *raft.Persister }
	from2023 struct{ keeps }
	from2018 struct{ keeps }
	from2016 struct{ keeps }
)

func (k keeps) ReadRaftState() []byte { return k.disk.ReadRaftState() }
func (k keeps) ReadSnapshot() []byte  { return k.disk.ReadSnapshot() }
func (k keeps) RaftStateSize() int    { return k.disk.RaftStateSize() }

func (p from2023) Save(state, snapshot []byte) { lab.Save(p.disk, state, snapshot) }

func (p from2018) SaveRaftState(state []byte) {
	lab.Save(p.disk, state, p.disk.ReadSnapshot())
}
func (p from2018) SaveStateAndSnapshot(state, snapshot []byte) { lab.Save(p.disk, state, snapshot) }

func (p from2016) SaveRaftState(state []byte) {
	lab.Save(p.disk, state, p.disk.ReadSnapshot())
}
func (p from2016) SaveSnapshot(snapshot []byte) {
	lab.Save(p.disk, p.disk.ReadRaftState(), snapshot)
}

// Goal: Make takes peers, persisters and messages of any edition, and what it
// saved by their methods is enough to continue. Method: a cluster of foreign
// types commits, snapshots, is killed and made again, twice: the second run saves
// without a new snapshot, which must not lose the old one.
func TestMakeTakesEveryEditionsTypes(t *testing.T) {
	t.Run("Save", func(t *testing.T) {
		foreignCluster(t, func(disk *raft.Persister) from2023 { return from2023{keeps{disk}} })
	})
	t.Run("SaveStateAndSnapshot", func(t *testing.T) {
		foreignCluster(t, func(disk *raft.Persister) from2018 { return from2018{keeps{disk}} })
	})
	t.Run("SaveSnapshot", func(t *testing.T) {
		foreignCluster(t, func(disk *raft.Persister) from2016 { return from2016{keeps{disk}} })
	})
}

func foreignCluster[S raft.StateStore](t *testing.T, open func(*raft.Persister) S) {
	lab.InTime(t, func(t *testing.T) {
		disks := []*raft.Persister{{}, {}, {}}
		for life := range 3 {
			f := startForeign(t, disks, open)
			f.expect("life %d", life)
			f.kill()
		}
	})
}

// foreign is one run of a cluster of foreign types.
type foreign struct {
	t        *testing.T
	servers  []*raft.Raft
	channels []chan foreignMsg
	disks    []*raft.Persister
}

func startForeign[S raft.StateStore](t *testing.T, disks []*raft.Persister, open func(*raft.Persister) S) *foreign {
	f := &foreign{t: t, disks: disks}
	var reach [3]atomic.Pointer[raft.Raft]
	for i := range disks {
		ends := []*foreignEnd{{&reach[0]}, {&reach[1]}, {&reach[2]}}
		applyCh := make(chan foreignMsg, 100)
		rf := raft.Make(ends, i, open(disks[i]), applyCh)
		reach[i].Store(rf)
		f.servers = append(f.servers, rf)
		f.channels = append(f.channels, applyCh)
	}
	return f
}

// expect commits one command, lets every server snapshot it, and wants whatever
// is delivered before it to begin behind the snapshot of the run before.
func (f *foreign) expect(format string, life int) {
	f.t.Helper()
	command := fmt.Sprintf(format, life)
	leader := -1
	waitUntil(f.t, "somebody leads", func() bool {
		for i, rf := range f.servers {
			if _, leads := rf.GetState(); leads {
				leader = i
			}
		}
		return leader >= 0
	})
	index, _, leads := f.servers[leader].Start(command)
	if !leads || index != life+1 {
		f.t.Fatalf("life %d: Start answered index %d, leads %v", life, index, leads)
	}
	for i, rf := range f.servers {
		msg := <-f.channels[i]
		if !msg.CommandValid || msg.CommandIndex != index || msg.Command != command {
			f.t.Fatalf("life %d: server %d delivered %+v first", life, i, msg)
		}
		if before := f.disks[i].ReadSnapshot(); life > 0 && string(before) != "after life 0" {
			f.t.Errorf("life %d: server %d holds snapshot %q after saving its log", life, i, before)
		}
		if life == 0 {
			rf.Snapshot(index, []byte("after life 0"))
			waitUntil(f.t, "the snapshot is saved", func() bool { return len(f.disks[i].ReadSnapshot()) > 0 })
		}
	}
	if life == 1 { // the third life begins with the log of the second behind it
		for i, rf := range f.servers {
			rf.Snapshot(index, []byte("after life 0"))
			waitUntil(f.t, "the log is forgotten", func() bool { return !bytes.Contains(f.disks[i].ReadRaftState(), []byte(command)) })
		}
	}
}

func (f *foreign) kill() {
	for _, rf := range f.servers {
		rf.Kill()
	}
	for _, applyCh := range f.channels {
		for range applyCh { // until it is closed
		}
	}
}

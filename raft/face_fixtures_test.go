package raft_test

import (
	"sync/atomic"
	"testing"
	"time"

	"raftkv/labrpc"
	"raftkv/raft"
)

// Fixtures of the tests of the labs' face beyond what the courses' scenarios
// show.

// foreignMsg stands for another package's message, such as raftapi.ApplyMsg.
type foreignMsg struct {
	CommandValid  bool
	Command       interface{}
	CommandIndex  int
	SnapshotValid bool
	Snapshot      []byte
	SnapshotTerm  int
	SnapshotIndex int
}

// foreignEnd stands for a ClientEnd of another package: it calls the server of
// its place directly.
type foreignEnd struct{ server *atomic.Pointer[raft.Raft] }

// Call calls a method of the server, if there is one.
func (e *foreignEnd) Call(svcMeth string, args interface{}, reply interface{}) bool {
	rf := e.server.Load()
	if rf == nil {
		return false
	}
	switch svcMeth {
	case "Raft.RequestVote":
		rf.RequestVote(args.(*raft.RequestVoteArgs), reply.(*raft.RequestVoteReply))
	case "Raft.AppendEntries":
		rf.AppendEntries(args.(*raft.AppendEntriesArgs), reply.(*raft.AppendEntriesReply))
	case "Raft.InstallSnapshot":
		rf.InstallSnapshot(args.(*raft.InstallSnapshotArgs), reply.(*raft.InstallSnapshotReply))
	default:
		panic("no such method: " + svcMeth)
	}
	return true
}

// solo is a cluster of one, which needs no network.
type solo struct {
	t         *testing.T
	rf        *raft.Raft
	persister *raft.Persister
	applyCh   chan raft.ApplyMsg
}

// newSolo starts a cluster of one from what a persister holds, and waits until
// it leads. It is killed when the test ends.
func newSolo(t *testing.T, persister *raft.Persister) *solo {
	t.Helper()
	applyCh := make(chan raft.ApplyMsg)
	s := &solo{t, raft.Make([]*labrpc.ClientEnd{nil}, 0, persister, applyCh), persister, applyCh}
	t.Cleanup(s.rf.Kill)
	waitUntil(t, "the only server leads", func() bool {
		_, leads := s.rf.GetState()
		return leads
	})
	return s
}

// next returns the next message.
func (s *solo) next() raft.ApplyMsg {
	s.t.Helper()
	select {
	case msg := <-s.applyCh:
		return msg
	case <-time.After(5 * time.Second):
		s.t.Fatal("nothing was delivered in five seconds")
		return raft.ApplyMsg{}
	}
}

// commit starts a command and returns its message.
func (s *solo) commit(command interface{}) raft.ApplyMsg {
	s.t.Helper()
	index, _, leads := s.rf.Start(command)
	if !leads {
		s.t.Fatal("the only server does not lead")
	}
	msg := s.next()
	if !msg.CommandValid || msg.CommandIndex != index {
		s.t.Fatalf("delivered %+v, but the command was placed at %d", msg, index)
	}
	return msg
}

// waitUntil polls a condition for up to five seconds.
func waitUntil(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for range 500 {
		if condition() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("five seconds passed and it is not so that %s", what)
}

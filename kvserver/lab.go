package kvserver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/machine"
	"raftkv/raft"
)

// KVServer is the labs' face of the store: the same machine as Server's, with
// RPCs of the labs' network in place of HTTP. All methods are safe for
// concurrent use.
type KVServer struct {
	machine      *machine.Machine
	rf           *raft.Raft
	maxRaftState int // bytes; below 0: never take a snapshot
}

// RaftKV is what editions to 2017 call it.
type RaftKV = KVServer

// StartKVServer starts server me of servers with what its persister holds, and
// returns at once. It takes a snapshot of the store, and lets the log forget what
// that covers, in time for the persisted state of Raft to stay near maxraftstate
// bytes and below twice that; -1 means never. It panics if the persister holds
// something else in place of a snapshot.
func StartKVServer[P raft.Peer, S raft.StateStore](servers []P, me int, persister S, maxraftstate int) *KVServer {
	applyCh, batches := make(chan raft.ApplyMsg), make(chan raft.Batch)
	s := &KVServer{maxRaftState: maxraftstate}
	snapshot := persister.ReadSnapshot()
	s.rf = raft.Make(servers, me, persister, applyCh)
	var err error
	s.machine, err = machine.Open(machine.Config{
		Consensus: s.rf, ApplyCh: batches, Snapshot: labSnapshot(snapshot), AfterBatch: s.snapshotIfLarge,
	})
	if err != nil {
		s.rf.Kill()
		panic(fmt.Sprintf("kvserver: the persisted snapshot cannot be restored: %v", err))
	}
	go s.passOn(applyCh, batches)
	go s.watchTerm()
	return s
}

// passOn gives the machine what comes on an applyCh of the labs, until that is closed
// or the machine is ended.
func (s *KVServer) passOn(applyCh <-chan raft.ApplyMsg, batches chan<- raft.Batch) {
	defer close(batches)
	for msg := range applyCh {
		select {
		case batches <- msg.Batch():
		case <-s.machine.Lifetime().Done():
			return
		}
	}
}

// labSnapshot returns a reader of a snapshot; nil if there is none.
func labSnapshot(snapshot []byte) io.Reader {
	if len(snapshot) == 0 {
		return nil
	}
	return bytes.NewReader(snapshot)
}

// Kill ends the server and returns at once. Calls that wait are answered as
// not done.
func (s *KVServer) Kill() {
	s.rf.Kill()
	s.machine.End()
}

// RaftServer returns the Raft server below, for testers that look at it.
func (s *KVServer) RaftServer() *raft.Raft { return s.rf }

// Submit is called by clerks: it takes a command through the log and answers
// with its result. Without Done in the reply the clerk asks another server.
// Unless it was Refused the command may have happened then: what is called
// again must be a read, be in a session, or carry a condition that can hold only
// once.
func (s *KVServer) Submit(args *SubmitArgs, reply *SubmitReply) {
	if _, leads := s.rf.GetState(); !leads {
		reply.Refused = true
		return
	}
	result, err := s.machine.Propose(s.machine.Lifetime(), submitted(args))
	switch {
	case err == nil:
		*reply = SubmitReply{
			Done: true, Status: api.LabStatus(result.Status), Session: result.Session,
			Value: string(result.Value), Version: result.Version,
		}
	case errors.Is(err, failure.BadRequest): // of a later version of the clerk
		*reply = SubmitReply{Done: true, Status: api.LabStatus(kv.StatusUnknownCommand)}
	case errors.Is(err, failure.ValueTooLarge):
		*reply = SubmitReply{Done: true, Status: api.LabStatus(kv.StatusTooLong)}
	default:
		reply.Refused = errors.Is(err, failure.NoLeader) || errors.Is(err, failure.Overloaded) || errors.Is(err, failure.Stopping)
	}
}

// snapshotIfLarge lets a snapshot of the store stand for the log if that has
// grown too long. The applier calls it, so the store does not move meanwhile.
//
// Half of what is allowed counts as long: a follower that lags may be sent as
// much as the leader holds before it applies what it has, and on top of both
// come the commands that are not committed yet.
func (s *KVServer) snapshotIfLarge(m *machine.Machine) {
	if s.maxRaftState < 0 || s.rf.PersistBytes() < s.maxRaftState/2 {
		return
	}
	view := m.Freeze()
	index := view.AppliedIndex()
	var snapshot bytes.Buffer
	if err := machine.WriteState(&snapshot, view, index); err != nil {
		panic(fmt.Sprintf("kvserver: a snapshot in memory cannot fail: %v", err))
	}
	s.rf.Snapshot(int(index), snapshot.Bytes())
}

// termPoll is how often a server looks whether its term has passed.
const termPoll = 10 * time.Millisecond

// watchTerm ends the waiting of calls whose command was placed in a term that
// has passed. Such a command may still be chosen, but without an entry of the
// new term nobody would learn of it: leaders of the labs begin with none. Its
// clerk asks again, and the session tells the two apart. A call is judged by the
// term of its own command, since the term that this server had when the call came
// may be older: a server that has just been elected takes commands at once.
func (s *KVServer) watchTerm() {
	ticker := time.NewTicker(termPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.machine.EndBefore(s.rf.Status().Term)
		case <-s.machine.Lifetime().Done():
			return
		}
	}
}

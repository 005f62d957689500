package kvserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// KVServer is the labs' face of the store: the same machine as Server's, with
// RPCs of the labs' network in place of HTTP. All methods are safe for
// concurrent use.
type KVServer struct {
	machine
	rf           *raft.Raft
	maxRaftState int // bytes; below 0: never take a snapshot
	reign        reign
}

// RaftKV is what editions to 2017 call it.
type RaftKV = KVServer

// StartKVServer starts server me of servers with what its persister holds. It
// takes a snapshot of the store, and lets the log forget what that covers,
// in time for the persisted state of Raft to stay near maxraftstate bytes and
// below twice that; -1 means never. It returns at once. It panics if the persister holds a snapshot that is
// none.
func StartKVServer[P raft.Peer, S raft.StateStore](servers []P, me int, persister S, maxraftstate int) *KVServer {
	store, err := restoreLab(persister.ReadSnapshot())
	if err != nil {
		panic(fmt.Sprintf("kvserver: the persisted snapshot cannot be restored: %v", err))
	}
	applyCh := make(chan raft.ApplyMsg)
	s := &KVServer{maxRaftState: maxraftstate}
	s.rf = raft.Make(servers, me, persister, applyCh)
	s.afterBatch = s.snapshotIfLarge
	s.machine.start(s.rf, applyCh, store)
	s.reign.begin(s.life, s.rf.Status().Term)
	go s.watchTerm()
	return s
}

// restoreLab returns the store in a snapshot; an empty one if there is none.
func restoreLab(snapshot []byte) (*kv.Store, error) {
	if len(snapshot) == 0 {
		return kv.New(), nil
	}
	return kv.Restore(bytes.NewReader(snapshot))
}

// Kill ends the server and returns at once. Calls that wait are answered as
// not done.
func (s *KVServer) Kill() {
	s.rf.Kill()
	s.end(errStopping)
}

// Submit is called by clerks: it takes a command through the log and answers
// with its result. Without Done in the reply the clerk asks another server.
// Unless it was Refused the command may have happened then: what is called
// again must be a read, be in a session, or carry a condition that can hold only
// once.
func (s *KVServer) Submit(args *SubmitArgs, reply *SubmitReply) {
	ctx := s.reign.context() // before the command is placed: see watchTerm
	if _, leads := s.rf.GetState(); !leads {
		reply.Refused = true
		return
	}
	result, err := s.propose(ctx, submitted(args))
	switch {
	case err == nil:
		*reply = SubmitReply{
			Done: true, Status: api.LabStatus(result.Status), Session: result.Session,
			Value: string(result.Value), Version: result.Version,
		}
	case errors.Is(err, errBadRequest): // of a later version of the clerk
		*reply = SubmitReply{Done: true, Status: api.LabStatus(kv.StatusUnknownCommand)}
	case errors.Is(err, errValueTooLarge):
		*reply = SubmitReply{Done: true, Status: api.LabStatus(kv.StatusTooLong)}
	default:
		reply.Refused = errors.Is(err, errNoLeader) || errors.Is(err, errOverloaded) || errors.Is(err, errStopping)
	}
}

// snapshotIfLarge lets a snapshot of the store stand for the log if that has
// grown too long. The applier calls it, so the store does not move meanwhile.
//
// Half of what is allowed counts as long: a follower that lags may be sent as
// much as the leader holds before it applies what it has, and on top of both
// come the commands that are not committed yet.
func (s *KVServer) snapshotIfLarge() {
	if s.maxRaftState < 0 || s.rf.PersistBytes() < s.maxRaftState/2 {
		return
	}
	view, index := s.freeze(), s.store.AppliedIndex()
	var snapshot bytes.Buffer
	if err := writeState(&snapshot, view, index); err != nil {
		panic(fmt.Sprintf("kvserver: a snapshot in memory cannot fail: %v", err))
	}
	s.rf.Snapshot(int(index), snapshot.Bytes())
}

// termPoll is how often a server looks whether its term has passed.
const termPoll = 10 * time.Millisecond

// watchTerm ends the waiting of calls whose command was placed in a term that
// has passed. Such a command may still be chosen, but without an entry of the
// new term nobody would learn of it: leaders of the labs begin with none. Its
// clerk asks again, and the session tells the two apart.
func (s *KVServer) watchTerm() {
	ticker := time.NewTicker(termPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.reign.begin(s.life, s.rf.Status().Term)
		case <-s.life.Done():
			return
		}
	}
}

// reign is the present term as those see it who wait for something in it.
type reign struct {
	mu   sync.Mutex // guards the fields below
	term uint64
	ctx  context.Context // ends when the term has passed
	end  context.CancelFunc
}

// begin tells which term it is now.
func (r *reign) begin(life context.Context, term uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx != nil {
		if r.term == term {
			return
		}
		r.end()
	}
	r.term = term
	r.ctx, r.end = context.WithCancel(life)
}

// context returns a context that ends with the present term.
func (r *reign) context() context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ctx
}

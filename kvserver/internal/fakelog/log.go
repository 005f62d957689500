// Package fakelog is consensus for tests of the service: a log in memory, as one
// node sees it, that does what the test tells it.
package fakelog

import (
	"bytes"
	"context"
	"sync"

	"raftkv/kvserver/kv"
	"raftkv/raft"
	"raftkv/raft/core"
)

// Log is consensus as one node sees it: a log in memory that does what the
// test tells it. Untold, it leads, and chooses every proposal at once.
type Log struct {
	Snapshots
	ApplyCh chan raft.Batch

	Mu        sync.Mutex
	status    raft.Status
	closed    bool
	Proposals []*raft.Proposal // all that were ever queued
	// OnPropose, if set, decides about a proposal; it may call place, choose or
	// Failed, or keep the proposal for the test to decide about.
	OnPropose func(p *raft.Proposal)
	// OnRead, if set, answers ReadIndex.
	OnRead func(ctx context.Context) (uint64, error)
	// OnTermAt, if set, answers TermAt.
	OnTermAt func(index uint64) (uint64, error)
	// OnTransfer, if set, answers Transfer.
	OnTransfer func(ctx context.Context, to raft.ID) error
}

// New returns a log of the node with that ID, which leads.
func New(id string) *Log {
	return &Log{
		Snapshots: Snapshots{wanted: make(chan struct{}, 1)},
		ApplyCh:   make(chan raft.Batch, 4096),
		status:    StatusOf(id, core.Leader, 3),
	}
}

// Propose implements machine.Consensus.
func (f *Log) Propose(p *raft.Proposal) {
	f.Mu.Lock()
	f.Proposals = append(f.Proposals, p)
	decide := f.OnPropose
	f.Mu.Unlock()
	if decide != nil {
		decide(p)
		return
	}
	f.Choose(p)
}

// ReadIndex implements machine.Consensus.
func (f *Log) ReadIndex(ctx context.Context) (uint64, error) {
	f.Mu.Lock()
	decide, index := f.OnRead, f.status.LastIndex
	f.Mu.Unlock()
	if decide != nil {
		return decide(ctx)
	}
	return index, nil
}

// Transfer implements machine.Consensus.
func (f *Log) Transfer(ctx context.Context, to raft.ID) error {
	f.Mu.Lock()
	decide := f.OnTransfer
	f.Mu.Unlock()
	if decide != nil {
		return decide(ctx, to)
	}
	f.SetLeader(string(to))
	return nil
}

// TermAt implements machine.Consensus.
func (f *Log) TermAt(ctx context.Context, index uint64) (uint64, error) {
	f.Mu.Lock()
	decide := f.OnTermAt
	f.Mu.Unlock()
	if decide != nil {
		return decide(index)
	}
	return f.Snapshots.TermAt(ctx, index)
}

// Status implements machine.Consensus.
func (f *Log) Status() *raft.Status {
	f.Mu.Lock()
	defer f.Mu.Unlock()
	status := f.status
	return &status
}

// StatusOf is the status of a node by which it leads itself, or nobody does.
func StatusOf(id string, role core.Role, term uint64) raft.Status {
	var s raft.Status
	s.ID, s.Leader, s.Role, s.Term, s.FirstIndex = core.ID(id), core.ID(id), role, term, 1
	return s
}

// Set changes the status, and says so if a snapshot is wanted.
func (f *Log) Set(change func(*raft.Status)) {
	f.Mu.Lock()
	defer f.Mu.Unlock()
	change(&f.status)
	if f.status.SnapshotWanted {
		select {
		case f.wanted <- struct{}{}:
		default:
		}
	}
}

// SetLeader makes another node (or nobody) the leader.
func (f *Log) SetLeader(id string) {
	f.Set(func(s *raft.Status) { s.Leader, s.Role = core.ID(id), core.Follower })
}

// Place gives a proposal the next index but does not choose it.
func (f *Log) Place(p *raft.Proposal) {
	status := f.Status()
	if p.Placed != nil {
		p.Placed(status.LastIndex+1, status.Term)
	}
}

// Choose places a proposal and delivers its command.
func (f *Log) Choose(p *raft.Proposal) {
	f.Place(p)
	f.Deliver(p.Command)
}

// Deliver delivers a command, or an index without one, at the next index.
func (f *Log) Deliver(command []byte) {
	f.Mu.Lock()
	defer f.Mu.Unlock()
	f.status.LastIndex++
	f.status.CommitIndex = f.status.LastIndex
	msg := raft.ApplyMsg{CommandIndex: int(f.status.LastIndex)}
	if command != nil {
		msg.CommandValid, msg.Command = true, command
	}
	f.ApplyCh <- msg.Batch()
}

// Stop closes the applyCh.
func (f *Log) Stop() {
	f.Mu.Lock()
	defer f.Mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.ApplyCh)
	}
}

// Attempts is the number of proposals ever queued.
func (f *Log) Attempts() int {
	f.Mu.Lock()
	defer f.Mu.Unlock()
	return len(f.Proposals)
}

// Held makes the fake keep proposals, placed but not chosen, and returns where
// they come out.
func (f *Log) Held() <-chan *raft.Proposal {
	held := make(chan *raft.Proposal, 64)
	f.OnPropose = func(p *raft.Proposal) {
		f.Place(p)
		held <- p
	}
	return held
}

// SnapshotOf returns a snapshot message with the state after these puts of k.
func SnapshotOf(values ...string) raft.ApplyMsg {
	store := kv.New()
	for i, v := range values {
		store.Apply(uint64(i+1), PutCommand("k", v))
	}
	var b bytes.Buffer
	if _, err := store.Freeze().WriteTo(&b); err != nil {
		panic(err)
	}
	return raft.ApplyMsg{SnapshotValid: true, Snapshot: b.Bytes(), SnapshotTerm: 1, SnapshotIndex: len(values)}
}

// DeliverSnapshot delivers a snapshot message as consensus does, which keeps the
// state itself; the log goes on behind it.
func (f *Log) DeliverSnapshot(msg raft.ApplyMsg) {
	f.Put(uint64(msg.SnapshotIndex), msg.Snapshot)
	f.DeliverLostSnapshot(msg)
}

// DeliverLostSnapshot delivers a snapshot message whose state is gone already.
func (f *Log) DeliverLostSnapshot(msg raft.ApplyMsg) {
	msg.Snapshot = nil
	f.Mu.Lock()
	defer f.Mu.Unlock()
	f.status.LastIndex = max(f.status.LastIndex, uint64(msg.SnapshotIndex))
	f.ApplyCh <- msg.Batch()
}

// PutCommand is a put that some other server proposed.
func PutCommand(key, value string) []byte {
	return kv.EncodeCommand(kv.Command{
		Op: kv.OpPut, ID: kv.RequestID{Origin: 77, Number: 1}, Key: []byte(key), Value: []byte(value),
	})
}

// Decide changes what becomes of proposals.
func (f *Log) Decide(about func(*raft.Proposal)) {
	f.Mu.Lock()
	defer f.Mu.Unlock()
	f.OnPropose = about
}

// Reading changes what becomes of reads.
func (f *Log) Reading(answer func(context.Context) (uint64, error)) {
	f.Mu.Lock()
	defer f.Mu.Unlock()
	f.OnRead = answer
}

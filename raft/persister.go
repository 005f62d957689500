package raft

import (
	"sync"
)

// Persister is the labs' disk: a server's state and its snapshot, in memory. It
// has the methods of all editions, its zero value is an empty disk, and it is
// safe for concurrent use. Slices are copied on the way in and out.
type Persister struct {
	mu       sync.Mutex // guards what follows
	state    []byte
	snapshot []byte
}

// MakePersister returns an empty Persister.
func MakePersister() *Persister { return &Persister{} }

// Copy returns a Persister that holds the same and shares nothing.
func (ps *Persister) Copy() *Persister {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return &Persister{state: ps.state, snapshot: ps.snapshot} // never changed in place
}

// Save stores state and snapshot as one (editions from 2023).
func (ps *Persister) Save(raftstate []byte, snapshot []byte) {
	state, snap := copied(raftstate), copied(snapshot)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.state, ps.snapshot = state, snap
}

// SaveStateAndSnapshot is Save (editions 2018 to 2022).
func (ps *Persister) SaveStateAndSnapshot(state []byte, snapshot []byte) { ps.Save(state, snapshot) }

// SaveRaftState stores the state and leaves the snapshot (editions to 2022).
func (ps *Persister) SaveRaftState(state []byte) {
	state = copied(state)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.state = state
}

// SaveSnapshot stores the snapshot and leaves the state (editions to 2017).
func (ps *Persister) SaveSnapshot(snapshot []byte) {
	snapshot = copied(snapshot)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.snapshot = snapshot
}

// ReadRaftState returns a copy of the stored state; empty if there is none.
func (ps *Persister) ReadRaftState() []byte {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return copied(ps.state)
}

// ReadSnapshot returns a copy of the stored snapshot; empty if there is none.
func (ps *Persister) ReadSnapshot() []byte {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return copied(ps.snapshot)
}

// RaftStateSize returns the length of the stored state in bytes.
func (ps *Persister) RaftStateSize() int {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return len(ps.state)
}

// SnapshotSize returns the length of the stored snapshot in bytes.
func (ps *Persister) SnapshotSize() int {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return len(ps.snapshot)
}

func copied(b []byte) []byte { return append([]byte{}, b...) }

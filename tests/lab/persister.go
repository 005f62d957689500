package lab

import "raftkv/raft"

// Save stores a state and a snapshot in a Persister of any edition: an edition's
// own persister.go, with other methods, may stand in for ours.
func Save(persister *raft.Persister, state, snapshot []byte) {
	switch ps := any(persister).(type) {
	case interface{ Save(state, snapshot []byte) }:
		ps.Save(state, snapshot)
	case interface{ SaveStateAndSnapshot(state, snapshot []byte) }:
		ps.SaveStateAndSnapshot(state, snapshot)
	case interface {
		SaveRaftState(state []byte)
		SaveSnapshot(snapshot []byte)
	}:
		ps.SaveSnapshot(snapshot)
		ps.SaveRaftState(state)
	}
}

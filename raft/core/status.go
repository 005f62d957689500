package core

// Status is a copy of what an operator may want to know of a server.
type Status struct {
	Observed
	FirstIndex uint64       // first index the log still holds in memory; what the disk needs begins behind SnapshotIndex
	Transferee ID           // who leadership is being handed to
	Peers      []PeerStatus // leader only: the other servers, sorted by ID
}

// PeerStatus is what a leader knows of a follower.
type PeerStatus struct {
	ID         ID
	MatchIndex uint64
	NextIndex  uint64
	Pipelining bool
	Silent     bool // its last call was lost
	Inflight   int  // AppendEntries with entries under way
}

// Status returns a copy of the present state.
func (r *Raft) Status() Status {
	s := Status{Observed: r.Observe(), FirstIndex: r.log.firstIndex(), Transferee: r.transferee}
	if r.role != Leader {
		return s
	}
	for i := range r.progress {
		p := &r.progress[i]
		if p.id == r.config.ID {
			continue
		}
		s.Peers = append(s.Peers, PeerStatus{
			ID: p.id, MatchIndex: p.matchIndex, NextIndex: p.nextIndex,
			Pipelining: p.pipelining, Silent: p.silent, Inflight: len(p.inflight),
		})
	}
	return s
}

// Entries returns the entries the log holds from index from on, for inspection.
func (r *Raft) Entries(from uint64) []Entry {
	return r.log.slice(max(from, r.log.firstIndex()), r.log.lastIndex(), unlimited)
}

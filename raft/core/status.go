package core

// Status is a copy of the state that an operator may want to see.
type Status struct {
	Observed
	FirstIndex uint64 // first index that the log holds in memory; the disk holds it from behind SnapshotIndex on
	LogBytes   int    // size of the log in memory
	// SnapshotWanted says that the service should take a snapshot now, because a
	// follower is to get one and the newest is too old.
	SnapshotWanted bool
	// SnapshotLost says that the file of the newest snapshot was found damaged and
	// there is no newer one yet.
	SnapshotLost bool
	Stalled      bool   // the disk hangs: a write has been outstanding for Config.StallTicks
	WriteTicks   int    // ticks that the outstanding write has taken; 0 if there is none
	UID          UID    // of the cluster; zero until it is known to be committed
	Counts       Counts // what happened since this server started
	Transferee   ID     // the server that leadership is being handed to; None if there is none
	// Rejoining is how far a server has come back that lost its disk. While it has no
	// goal, it waits for the servers in RejoinUnheard; those in RejoinToo have lost
	// their disks as well.
	Rejoining     Rejoining
	RejoinUnheard []ID
	RejoinToo     []ID
	RatherNot     bool // this server would rather not lead
	// UncommittedBytes is, on a leader, the size of the entries above CommitIndex.
	UncommittedBytes int
	Peers            []PeerStatus // leader only: the other servers, sorted by ID
}

// Counts are totals since New.
type Counts struct {
	PreVotes    uint64 // campaigns that began by asking (thesis 9.6)
	Campaigns   uint64 // elections in which this server was a candidate
	Elected     uint64 // elections won in a campaign of its own decision
	Transferred uint64 // elections won in a campaign that the leader asked for (thesis 3.10)
	LostQuorum  uint64 // times it stepped down because no majority answered
	StalledDisk uint64 // times it stepped down because its disk hung
}

// PeerStatus is a copy of what a leader knows of a follower.
type PeerStatus struct {
	ID         ID
	MatchIndex uint64
	NextIndex  uint64
	Pipelining bool
	Silent     bool // its last call was lost
	RatherNot  bool // it would rather not lead
	Inflight   int  // AppendEntries with entries in flight
	// InflightBytes is the size of those entries.
	InflightBytes int
	// Installing is the index of the snapshot that is being sent to it; 0 if there is none.
	Installing uint64
}

// Status returns a copy of the present state.
func (r *Raft) Status() Status {
	s := Status{
		Observed: r.Observe(), FirstIndex: r.log.firstIndex(), LogBytes: r.log.size, SnapshotWanted: r.snapshotWanted(), SnapshotLost: r.lostNewest(), Transferee: r.transferee,
		Stalled: r.stalled(), WriteTicks: r.writeAge, UncommittedBytes: r.uncommittedBytes, Counts: r.counts, Rejoining: r.rejoining,
		UID:       r.UID(),
		RatherNot: r.ratherNot,
	}
	s.RejoinUnheard, s.RejoinToo = r.rejoinWaits()
	if r.role != Leader {
		return s
	}
	for p := range r.followers {
		s.Peers = append(s.Peers, PeerStatus{
			ID: p.id, MatchIndex: p.matchIndex, NextIndex: p.nextIndex,
			Pipelining: p.pipelining, Silent: p.silent, RatherNot: p.ratherNot, Inflight: len(p.inflight),
			InflightBytes: p.inflightBytes, Installing: p.installing,
		})
	}
	return s
}

// Entries returns the entries the log holds from index from on, for inspection.
func (r *Raft) Entries(from uint64) []Entry {
	return r.log.slice(max(from, r.log.firstIndex()), r.log.lastIndex(), unlimited)
}

package core

// Ready is the work that waits to be done, by the three doors it leaves
// through: messages may go at once, one write may be with the disk, one batch
// may be with the state machine. Whatever it holds is handed out once.
type Ready struct {
	Calls   []Call     // requests to peers, in order per peer
	Answers []Answer   // answers to peers' requests; what they promise is durable
	Write   *Write     // next batch for the disk; nil while one is outstanding
	Apply   *Batch     // next batch for the state machine; nil while one is outstanding
	Reads   []ReadDone // ends of Reads
	// Forgot names followers that deny what they have confirmed. They must be talked to
	// no more: what they say next may be worth nothing, too.
	Forgot []ID
	// Notes says what happened since the last Ready, and why, for people. Nothing
	// depends on it: a driver may drop it.
	Notes []Note
	// Configuration, if not nil, says that the configuration in force or the newest
	// committed one is another than with the last Ready; the first Ready of a server
	// that has a record says so, too. Transport and service follow this alone.
	Configuration *Configurations
}

// Call is a request to a peer. It must be given back whole to Returned with
// the peer's reply, or with nil when it was lost; the unexported part is the
// core's own bookkeeping, which in this way never travels.
type Call struct {
	To      ID
	Request Request

	generation uint64 // of the follower's progress when this was sent
	round      uint64 // of reads, of questions to rejoin or of ReadIndex, when this was sent
	matchIndex uint64 // of the follower's progress, when this was sent
	tags       []Tag  // of the reads a ReadIndex stands for
	committed  uint64 // commit index of this server, when a ReadIndex was sent
}

// Answer is the answer to the request that Receive got under Tag.
type Answer struct {
	Tag   Tag
	Reply Reply // nil: there is none, and the call is lost
}

// Write is one atomic batch for the disk. It says: the term and vote are
// these, and if From is not 0 the log's entries at From and above are replaced
// by Entries (which start at From and may be none).
type Write struct {
	Seq      uint64 // 1, 2, 3, …
	Term     uint64
	VotedFor ID
	// Rejoining, if On or if it was in the Write before, is to be made durable after
	// the rest of this Write and before it is Saved.
	Rejoining Rejoining
	// GoalUID, if not zero, is the UID of the cluster whose members gave Rejoining its
	// goal. It is to be known, durably, before the rest of this Write: the next process
	// must not take servers of another cluster for those to which the goal binds it.
	GoalUID UID
	// Snapshot, if not nil, replaces the log up to its index: entries from there
	// down need not be kept. Those above are kept unless From says otherwise; From
	// is then 0 or above the snapshot's index. The log held everything up to the
	// snapshot, but for one that came from the leader (Figure 13): then From is the
	// index behind it.
	Snapshot *Snapshot
	From     uint64
	Entries  []Entry
	// Commit is how far the log, as it is after this Write, is known to be committed.
	// It never falls, and From is above the Commit of the Write before. A Write is
	// seldom made for its sake alone; see Config.CommitTicks. A Storage that keeps it
	// gives it back in the State.
	Commit uint64
}

// Batch is work for the state machine: a snapshot to restore, which replaces
// whatever was there, or committed entries in log order. Every index is covered
// once in the life of the process.
type Batch struct {
	Snapshot *Snapshot // nil, or Entries is empty
	Entries  []Entry
}

// Last returns the index that the state machine stands at after the batch.
func (b *Batch) Last() uint64 {
	if b.Snapshot != nil {
		return b.Snapshot.Index
	}
	return b.Entries[len(b.Entries)-1].Index
}

// ReadDone ends the Read with the same tag. Err nil: a read of the state
// machine is linearizable once entries up to Index are applied. Otherwise
// nothing is known and the read may be asked again.
type ReadDone struct {
	Tag   Tag
	Index uint64
	Err   error
}

// TicksUntilDue returns the number of the next Tick, 1 or more, that may do more than
// count: the ticks before it change nothing that Ready, Status's role, term or leader
// would show. So a driver may sleep for that long and then call Tick that many times
// in a row. Any other method may bring the moment forward, and the driver asks again
// after it.
//
// It is exact for the two states in which a server spends its life, a leader with a
// free disk and a follower that hears its leader. In all others it is 1.
func (r *Raft) TicksUntilDue() int {
	writing := r.written.seq > r.saved // tickDisk, and the rules of slow.go
	if writing || r.rejoining.On || r.promised() > r.saved {
		return 1
	}
	if len(r.reads)+len(r.asking) > 0 { // a tick lets the next round begin (reads.go)
		return 1
	}
	var due int
	switch r.role {
	case Leader:
		if r.config.PromptTicks > 0 || r.config.SnapshotPatience >= 0 && r.installs() {
			return 1
		}
		due = min(r.config.HeartbeatTicks-r.heartbeatElapsed, r.config.ElectionTicks-r.electionElapsed)
	case Follower:
		due = r.electionTimeout - r.electionElapsed
	default: // a campaign, which asks again and ends
		return 1
	}
	if r.config.CommitTicks > 0 && r.written.commit < min(r.commitIndex, r.durable) {
		due = min(due, r.config.CommitTicks-r.written.commitAge)
	}
	return max(1, due)
}

// installs reports whether a snapshot is on its way to any follower, whose patience
// tickSnapshots counts.
func (r *Raft) installs() bool {
	for p := range r.followers {
		if p.installing != 0 {
			return true
		}
	}
	return false
}

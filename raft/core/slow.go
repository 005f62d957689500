package core

// A disk may be slow without hanging: each sync takes longer than an election
// timeout, but less than Config.StallTicks. A candidate's vote for itself then
// takes one sync, and a voter's vote takes another, or two if a write is under way
// there. Four rules let elections end and leaders stand all the same. With disks
// that are quick none of them changes anything.
//
//   - While a server's own term or vote is being written, its election timeout
//     does not run. Nor does a campaign end while votes are awaited that may still
//     decide it, until two syncs could have hung. A refusal ends no hope by itself: a
//     server that has lost its disk refuses every candidate.
//   - A server that answers "I would vote for you" lets the other have the time
//     that writing its vote may take: two syncs, as they take here lately. It does
//     so once in each wait for a leader, so that a server which asks for ever and
//     never wins keeps nobody from standing.
//   - While a server's vote is being written it would vote for nobody else. Answers
//     to "would you?" wait for the same write as the vote. If they all said yes, all
//     who had asked would stand at the same moment and split the votes, and so again
//     where a vote takes longer than the wait for the next campaign.
//   - A beat is answered without waiting for entries to be written (replication.go),
//     so a leader hears its followers, and reads are confirmed, whatever syncs take.
//
// Without StallTicks the driver does not say what a slow disk is, and only the
// first half of the first rule holds.

// noteSync remembers how long writes take: the longest recent time, reduced by a
// quarter with each write. Before the first write it is the longest there may be.
func (r *Raft) noteSync(seq uint64, ticks int) {
	if seq > 1 {
		ticks = max(ticks, r.syncTicks*3/4)
	}
	r.syncTicks = ticks
}

// yield makes the wait for a leader longer by what somebody else's vote for itself
// may take until it is on the disk.
func (r *Raft) yield() {
	if !r.yielded {
		r.yielded = true
		r.electionTimeout += 2 * min(r.syncTicks, r.config.StallTicks)
	}
}

// awaitsVotes reports whether this candidate can still win with the votes that it
// was not told about, and others' disks may be what they wait for.
func (r *Raft) awaitsVotes() bool {
	if r.role != Candidate || r.electionElapsed >= r.electionTimeout+2*r.config.StallTicks {
		return false
	}
	hoped := 0
	for _, v := range r.votes {
		if v == voteGranted || v == voteAwaited {
			hoped++
		}
	}
	return hoped >= majority(len(r.votes))
}

// favoursAnother reports whether this server's vote in the present term went to
// another candidate and is not on the disk yet.
func (r *Raft) favoursAnother(candidate ID) bool {
	return r.config.StallTicks > 0 && r.votedFor != None && r.votedFor != candidate && r.promised() > r.saved
}

package core

// A disk may be slow without hanging: each sync takes longer than an election
// timeout, but less than Config.StallTicks. A candidate's vote for itself then takes
// one sync. A voter's vote takes another, or two if a write is outstanding there.
// Four rules let elections end, and leaders stay, all the same. With quick disks
// none of them changes anything.
//
//   - While a server's own term or vote is being written, its election timeout
//     does not run. Nor does a campaign end while votes are awaited that may still
//     decide it, until two syncs could have hung. A refusal alone decides nothing: a
//     server that has lost its disk refuses every candidate. If such votes are lost,
//     the end of the campaign is drawn anew.
//   - A server that answers "I would vote for you" gives the other the time that
//     writing its vote may take: two syncs, as long as they take here lately. It does
//     so once in each wait for a leader, so that a server which asks for ever and
//     never wins keeps no other from campaigning.
//   - While a server's vote is being written, it would vote for nobody else. Answers
//     to pre-votes wait for the same write as the vote does. If all of them were yes,
//     all that had asked would campaign at the same moment and split the votes. That
//     would happen again and again where a vote takes longer than the wait for the
//     next campaign.
//   - A heartbeat is answered without waiting for entries to be written
//     (appendentries.go). So a leader hears its followers, and reads are confirmed,
//     however long syncs take.
//
// Without StallTicks the driver does not say what a slow disk is, and only the first
// half of the first rule holds.

// noteSync remembers how long writes take: the longest recent time, reduced by a
// quarter with each write. Before the first write it is Config.StallTicks.
func (r *Raft) noteSync(seq uint64, ticks int) {
	if seq > 1 {
		ticks = max(ticks, r.syncTicks*3/4)
	}
	r.syncTicks = ticks
}

// yield makes the wait for a leader longer by the time that another candidate's vote
// for itself may take until it is on the disk.
func (r *Raft) yield() {
	if !r.yielded {
		r.yielded = true
		r.electionTimeout += 2 * min(r.syncTicks, r.config.StallTicks)
	}
}

// awaitsVotes reports whether this candidate can still win with the votes that have
// not been answered yet, and slow disks may be the reason that they have not.
func (r *Raft) awaitsVotes() bool {
	if r.role != Candidate || r.electionElapsed >= r.electionTimeout+2*r.config.StallTicks {
		return false
	}
	return r.configuration.HasQuorum(func(i int) bool {
		v := r.members[i].vote
		return v == voteGranted || v == voteAwaited
	})
}

// drawsAgain draws the end of a campaign anew, once, that went on beyond its timeout
// for votes which were then lost, and reports whether it goes on. Candidates that wait
// for the same voter learn at the same moment that its answers are lost. Without a new
// draw they would campaign at the same moment again, for as long as that voter is mute.
func (r *Raft) drawsAgain() bool {
	beyond := r.role == Candidate && r.electionElapsed > r.electionTimeout
	if !beyond || r.drewAgain {
		return false
	}
	r.drewAgain = true
	r.electionTimeout = r.electionElapsed + r.config.Rand.IntN(r.config.ElectionTicks)
	return r.electionElapsed < r.electionTimeout
}

// favoursAnother reports whether this server's vote in the present term went to
// another candidate and is not on the disk yet.
func (r *Raft) favoursAnother(candidate ID) bool {
	return r.config.StallTicks > 0 && r.votedFor != None && r.votedFor != candidate && r.promised() > r.saved
}

// A disk that hangs gives no error, and a leader whose disk hangs still sends
// heartbeats. Its followers would wait for ever for what only a leader with a disk
// can do. So a write that is outstanding for Config.StallTicks counts as one that
// will not end. The server is then of no use as a leader, and safe in all else: its
// disk holds all that it has promised.

// tickDisk counts how long the outstanding write takes.
func (r *Raft) tickDisk() {
	if r.written.seq > r.saved {
		r.writeAge++
		r.noteHanging()
	}
}

// stalled reports whether the disk hangs. Saved ends it.
func (r *Raft) stalled() bool {
	return r.config.StallTicks > 0 && r.writeAge >= r.config.StallTicks
}

// stepDownStalled gives up leadership because the disk hangs, and tells the follower
// whose log is most complete to campaign at once, without a pre-vote. By then the
// follower has what it was sent before.
func (r *Raft) stepDownStalled() {
	if to := r.mostComplete(); to != None {
		r.call(to, &TimeoutNow{Term: r.currentTerm, LeaderID: r.config.ID})
	}
	r.counts.StalledDisk++
	r.note(Note{Kind: NoteSteppedDown, Why: WhyDiskHangs, Index: r.written.seq, A: uint64(r.writeAge)})
	r.becomeFollower(r.currentTerm, None)
}

// abandonCampaign ends a campaign that this server cannot win because its disk hangs,
// and keeps the next from beginning.
func (r *Raft) abandonCampaign() {
	if r.role != Follower {
		r.becomeFollower(r.currentTerm, None)
	}
}

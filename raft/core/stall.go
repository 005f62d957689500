package core

// A disk that hangs gives no error, and a leader whose disk hangs still beats:
// its followers would wait for ever for what only a leader with a disk can do.
// So a write that is under way for Config.StallTicks counts as one that will
// not end. The server is then of no use as a leader, and safe in all else: what
// it has promised is on its disk, and what is not there it has not promised.

// tickDisk counts how long the write under way takes.
func (r *Raft) tickDisk() {
	if r.written.seq > r.saved {
		r.writeAge++
	}
}

// stalled reports whether the disk hangs. Saved ends it.
func (r *Raft) stalled() bool {
	return r.config.StallTicks > 0 && r.writeAge >= r.config.StallTicks
}

// abdicate gives up leadership because the disk hangs, and tells the follower
// whose log is most complete to stand at once: it need not ask whether this
// server would mind. What that follower was sent before, it has by then.
func (r *Raft) abdicate() {
	if to := r.mostComplete(); to != None {
		r.call(to, &TimeoutNow{Term: r.currentTerm, LeaderID: r.config.ID})
	}
	r.counts.StalledDisk++
	r.becomeFollower(r.currentTerm, None)
}

// standDown ends a campaign that the disk does not let this server win, and
// keeps the next from beginning.
func (r *Raft) standDown() {
	if r.role != Follower {
		r.becomeFollower(r.currentTerm, None)
	}
}

package core

// Timers that run out one by one, as neither a clock nor Tick lets them: for the
// explorer and the scripts that it prints.

// askAgain repeats requests that were lost, as ticks do.
func (r *Raft) askAgain() {
	if r.asksToRejoin() {
		r.askToRejoin()
	} else {
		r.requestVotes()
	}
}

// checkNow lets the tick pass with which a leader looks for its quorum.
func (r *Raft) checkNow() {
	r.heartbeatElapsed = 0
	r.electionElapsed = r.config.ElectionTicks - 1
	r.Tick()
}

// loseTouch lets an election timeout pass since the leader was heard, without a
// campaign: this server no longer vouches for that leader.
func (r *Raft) loseTouch() { r.electionElapsed = r.config.ElectionTicks }

// waitForRound lets the tick pass after which the next round of reads need not wait
// for the present one.
func (r *Raft) waitForRound() { r.askAge++ }

package core

// replicate sends every follower what it is due (§5.3). All proposals since
// the last Ready travel in one AppendEntries per follower: there is no other
// batching.
func (r *Raft) replicate() {
	for i := range r.progress {
		if p := &r.progress[i]; p.id != r.config.ID {
			r.replicateTo(p)
		}
	}
	r.roundOpen = false
}

func (r *Raft) replicateTo(p *progress) {
	for p.nextIndex <= r.log.lastIndex() && p.mayCarry(r.config.Window, r.config.WindowBytes) {
		if p.nextIndex < r.log.firstIndex() {
			if r.snapshotReaches() { // else the service is asked for a newer one
				r.sendSnapshot(p)
			}
			break
		}
		r.sendAppendEntries(p, r.log.slice(p.nextIndex, r.log.lastIndex(), r.config.MaxAppendBytes))
	}
	readsWait := len(r.reads) > 0 && p.roundSent < r.round && !p.silent
	if p.beatDue || readsWait {
		r.sendAppendEntries(p, nil)
	}
}

// sendAppendEntries sends entries, which start at nextIndex; none make a
// heartbeat. If the log has forgotten what comes before nextIndex, the
// heartbeat asks at the earliest place it still can.
func (r *Raft) sendAppendEntries(p *progress, entries []Entry) {
	mustBeIntact(entries, "sent")
	previous := max(p.nextIndex-1, r.log.base.Index)
	previousTerm, ok := r.log.term(previous)
	if !ok {
		broken("no term known at %d for %s", previous, p.id)
	}
	r.calls = append(r.calls, Call{
		To: p.id,
		Request: &AppendEntries{
			Term:         r.currentTerm,
			LeaderID:     r.config.ID,
			PrevLogIndex: previous,
			PrevLogTerm:  previousTerm,
			Entries:      entries,
			LeaderCommit: r.commitIndex,
		},
		generation: p.generation,
		round:      r.round,
		matched:    p.matchIndex,
	})
	p.beatDue = false
	p.retryDue = false
	p.quiet = 0
	p.commitSent = r.commitIndex
	p.roundSent = r.round
	if len(entries) > 0 {
		bytes := 0
		for _, e := range entries {
			bytes += e.size()
		}
		p.sent(previous+uint64(len(entries)), bytes)
	}
}

// handleAppendEntries is the receiver's side of AppendEntries: the five steps
// of Figure 2, in order.
func (r *Raft) handleAppendEntries(tag Tag, req *AppendEntries) {
	if req.Term < r.currentTerm { // step 1
		r.answer(tag, &AppendEntriesReply{Term: r.currentTerm}, 0)
		return
	}
	if r.role == Leader && req.Term == r.currentTerm {
		broken("two leaders in term %d: %s and %s", req.Term, r.config.ID, req.LeaderID)
	}
	r.becomeFollower(req.Term, req.LeaderID)
	r.resetElectionTimer()

	if req.PrevLogIndex < r.commitIndex {
		// What is committed here is the same at the leader: skip it, so that an
		// old message is neither compared with nor able to touch it.
		skip := min(r.commitIndex-req.PrevLogIndex, uint64(len(req.Entries)))
		r.agreesOnCommitted(req, skip)
		if skip == uint64(len(req.Entries)) {
			r.acceptAppendEntries(tag, req.PrevLogIndex+skip, req.LeaderCommit)
			return
		}
		term, _ := r.log.term(r.commitIndex)
		req = &AppendEntries{
			Term: req.Term, LeaderID: req.LeaderID,
			PrevLogIndex: r.commitIndex, PrevLogTerm: term,
			Entries: req.Entries[skip:], LeaderCommit: req.LeaderCommit,
		}
	}
	if term, ok := r.log.term(req.PrevLogIndex); !ok || term != req.PrevLogTerm { // step 2
		r.rejectAppendEntries(tag, req)
		return
	}
	for i, e := range req.Entries {
		term, ok := r.log.term(e.Index)
		if ok && term == e.Term {
			continue
		}
		if ok {
			r.truncateLog(e.Index) // step 3: only on a real conflict
		}
		for _, e := range req.Entries[i:] { // step 4
			r.log.append(e)
			r.dirty.entry(e.Index)
		}
		break
	}
	r.acceptAppendEntries(tag, req.PrevLogIndex+uint64(len(req.Entries)), req.LeaderCommit)
}

// agreesOnCommitted stops the server if a message says that what is committed here
// is something else at the leader. It looks at the last of the first skip entries,
// which are committed here, or at the entry before them if there are none. A leader
// that has lost what was committed would otherwise hear that it is there.
func (r *Raft) agreesOnCommitted(req *AppendEntries, skip uint64) {
	index, theirs := req.PrevLogIndex, req.PrevLogTerm
	if skip > 0 {
		index, theirs = req.Entries[skip-1].Index, req.Entries[skip-1].Term
	}
	if term, ok := r.log.term(index); ok && term != theirs {
		broken("committed entry %d of term %d is of term %d at leader %s", index, term, theirs, req.LeaderID)
	}
}

// acceptAppendEntries answers that the log matches the leader's up to index,
// once it does so on the disk, and takes over its commit index as far as that
// (step 5).
func (r *Raft) acceptAppendEntries(tag Tag, index, leaderCommit uint64) {
	r.commitTo(min(leaderCommit, index))
	r.answer(tag, &AppendEntriesReply{Term: r.currentTerm, Success: true}, index)
}

// rejectAppendEntries says where the logs may still agree, so that the leader
// skips a term at a time (§5.3 end).
func (r *Raft) rejectAppendEntries(tag Tag, req *AppendEntries) {
	reply := &AppendEntriesReply{Term: r.currentTerm, ConflictIndex: r.log.lastIndex() + 1}
	if term, ok := r.log.term(req.PrevLogIndex); ok {
		reply.ConflictTerm = term
		reply.ConflictIndex = r.log.firstOfTerm(req.PrevLogIndex)
	}
	r.answer(tag, reply, 0)
}

// handleAppendEntriesReply takes the answer to an AppendEntries of ours, nil if
// it was lost. What it says is read together with the call it answers, never
// with the present state (Students' Guide).
func (r *Raft) handleAppendEntriesReply(call Call, req *AppendEntries, reply *AppendEntriesReply) {
	lost, term := reply == nil, uint64(0)
	if !lost {
		term = reply.Term
	}
	p := r.follower(call, req.Term, lost, term)
	if p == nil {
		return
	}
	present := call.generation == p.generation
	switch {
	case hasForgotten(call, req, reply):
		r.noteForgotten(p)
	case reply.Success:
		p.matched(req.PrevLogIndex + uint64(len(req.Entries)))
		if present && !p.pipelining {
			r.generation++
			p.advance(r.generation)
		}
		r.advanceCommitIndex()
	case present && p.installing == 0:
		r.fallBack(p, r.backUp(req, reply))
	}
}

// follower returns the progress of the follower that answered a call which this
// server sent in sentTerm as leader, and notes that it was heard. It returns nil
// if the answer says nothing to the present leadership, or if the call was lost,
// after which the follower is probed.
func (r *Raft) follower(call Call, sentTerm uint64, lost bool, replyTerm uint64) *progress {
	if !lost {
		r.observeTerm(replyTerm)
	}
	position, known := r.position(call.To)
	if !known || r.role != Leader || sentTerm != r.currentTerm {
		return nil
	}
	p := &r.progress[position]
	switch {
	case call.generation < p.since:
		return nil
	case lost && call.generation == p.generation:
		r.lost(p)
		return nil
	case lost, replyTerm != r.currentTerm:
		return nil
	}
	p.answered(call.round)
	return p
}

// lost falls back after a call that never came through. Entries are not sent
// again before the follower is heard, and nothing before the next beat.
func (r *Raft) lost(p *progress) {
	next := p.nextIndex
	if p.pipelining {
		next = p.matchIndex + 1
	}
	r.fallBack(p, next)
	p.probing = true
	if r.config.PromptTicks > 0 && !p.retried {
		p.retried, p.retryDue = true, true
	} else {
		p.silent = true
	}
}

// tickPrompt lets followers have early what else would wait for the next beat;
// see Config.PromptTicks.
func (r *Raft) tickPrompt() {
	if r.config.PromptTicks == 0 {
		return
	}
	for i := range r.progress {
		p := &r.progress[i]
		p.quiet++
		news := p.commitSent < r.commitIndex && !p.silent
		if p.quiet >= r.config.PromptTicks && (news || p.retryDue) {
			p.beat()
		}
	}
}

func (r *Raft) fallBack(p *progress, next uint64) {
	r.generation++
	p.fallBack(r.generation, next)
}

// backUp returns where to try next after a rejection: behind the leader's own
// last entry of the conflicting term if it has one, else at the first entry
// the follower has of it. Always below what was rejected.
func (r *Raft) backUp(req *AppendEntries, reply *AppendEntriesReply) uint64 {
	next := reply.ConflictIndex
	if last, ok := r.log.lastOfTerm(reply.ConflictTerm); ok && reply.ConflictTerm != 0 {
		next = last + 1
	}
	return max(min(next, req.PrevLogIndex), 1)
}

// heardFromQuorum reports whether a majority, this server included, answered
// since the last time it was asked.
func (r *Raft) heardFromQuorum() bool {
	heard := 1
	for i := range r.progress {
		if p := &r.progress[i]; p.heard && p.id != r.config.ID {
			heard++
		}
		r.progress[i].heard = false
	}
	return heard >= majority(len(r.peers))
}

package core

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
	r.follow(req.Term, req.LeaderID)

	r.compareCommitted(req)
	if req.PrevLogIndex < r.commitIndex {
		// What is committed here is the same at the leader: skip it.
		skip := min(r.commitIndex-req.PrevLogIndex, uint64(len(req.Entries)))
		if skip == uint64(len(req.Entries)) {
			r.acceptAppendEntries(tag, req)
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
	r.adopt()
	r.acceptAppendEntries(tag, req)
}

// acceptAppendEntries answers that the log matches the leader's up to the end of
// the request, and takes over its commit index as far as that (step 5).
//
// The answer to entries waits until they are on the disk. The answer to a heartbeat
// waits only for the term to be there, and says so if the follower cannot confirm all
// yet: a follower whose disk is slow is alive all the same. A follower whose state
// machine is slow answers, too, and confirms nothing while too much waits to be
// applied. So the leader's window stays full, and no more comes. What is committed
// will be applied whatever else happens, so the follower confirms in the end.
func (r *Raft) acceptAppendEntries(tag Tag, req *AppendEntries) {
	index := req.PrevLogIndex + uint64(len(req.Entries))
	r.commitTo(min(req.LeaderCommit, index))
	if r.agreed.Term < r.currentTerm {
		r.agreed = position{Term: r.currentTerm}
	}
	r.agreed.Index = max(r.agreed.Index, index)
	waiting := len(req.Entries) == 0 && index > r.durable
	if waiting || r.unappliedBytes > r.config.MaxUnappliedBytes {
		r.answer(tag, &AppendEntriesReply{Term: r.currentTerm, Pending: true, RatherNot: r.ratherNot, Commit: r.commitIndex}, 0)
		return
	}
	r.answer(tag, &AppendEntriesReply{Term: r.currentTerm, Success: true, RatherNot: r.ratherNot, Commit: r.commitIndex}, index)
}

// rejectAppendEntries tells the leader where the logs may still agree, so that it
// skips a term at a time (§5.3 end).
func (r *Raft) rejectAppendEntries(tag Tag, req *AppendEntries) {
	r.note(Note{Kind: NoteMismatch, Peer: req.LeaderID, Index: req.PrevLogIndex, A: r.log.lastIndex(), B: r.log.lastTerm()})
	reply := &AppendEntriesReply{Term: r.currentTerm, ConflictIndex: r.log.lastIndex() + 1, RatherNot: r.ratherNot, Commit: r.commitIndex}
	if term, ok := r.log.term(req.PrevLogIndex); ok {
		reply.ConflictTerm = term
		reply.ConflictIndex = r.log.firstOfTerm(req.PrevLogIndex)
	}
	r.answer(tag, reply, 0)
}

// compareCommitted ends this server if an AppendEntries of the present term
// contradicts what is committed here, as far as memory holds it.
func (r *Raft) compareCommitted(req *AppendEntries) {
	r.compareAt(req.LeaderID, req.PrevLogIndex, req.PrevLogTerm)
	for _, e := range req.Entries {
		if e.Index > r.commitIndex {
			return
		}
		r.compareAt(req.LeaderID, e.Index, e.Term)
	}
}

// compareAt ends this server if the entry at index is committed here and is of
// another term at the leader.
func (r *Raft) compareAt(leader ID, index, leaderTerm uint64) {
	if index > r.commitIndex {
		return
	}
	if term, ok := r.log.term(index); ok && term != leaderTerm {
		contradiction("entry %d is committed here as one of term %d, and %s, which leads term %d, has one of term %d there",
			index, term, leader, r.currentTerm, leaderTerm)
	}
}

package core

// replicate sends every follower what it is due (§5.3). All proposals since
// the last Ready travel in one AppendEntries per follower, and all that were held
// back (holdsBack) with them: there is no other batching.
func (r *Raft) replicate() {
	for p := range r.followers {
		r.replicateTo(p)
	}
}

// replicateTo sends one follower what it is due. A heartbeat and a question of reads
// (reads.go) leave before the entries and apart from them: the answer to entries
// waits for a disk, and theirs must not.
func (r *Raft) replicateTo(p *progress) {
	if r.config.StallTicks > 0 && r.mustAsk(p) {
		r.sendAppendEntries(p, nil)
	}
	if !r.holdsBack(p) {
		r.sendEntries(p)
	}
	if r.mustAsk(p) {
		r.sendAppendEntries(p, nil)
	}
}

// sendEntries sends one follower the entries that it lacks, as far as the windows
// allow, or a snapshot if the log has forgotten them.
func (r *Raft) sendEntries(p *progress) {
	for p.nextIndex <= r.log.lastIndex() && p.maySendEntries(r.config.Window, r.config.WindowBytes) {
		if p.nextIndex < r.log.firstIndex() {
			if r.snapshotReaches() { // else the service is asked for a newer one
				r.sendSnapshot(p)
			}
			break
		}
		r.sendAppendEntries(p, r.log.slice(p.nextIndex, r.log.lastIndex(), r.config.MaxAppendBytes))
	}
}

// holdsBack reports whether few entries for a follower wait, so that more of them leave
// together. They leave with the leader's own next write: a follower whose disk is as
// quick as this one's is busy until then with what it was sent last, and would only
// gather them. So each write of the leader's takes one message, and none of them gains
// time: 64 clients whose commands come one by one cost each follower 0.04 messages a
// command instead of 1. They leave earlier when the follower has confirmed all that it
// was sent, when many bytes wait (Config.BatchBytes) and with the next tick.
//
// A follower is judged by what is in flight to it alone, so a slow one keeps nothing
// from the others.
func (r *Raft) holdsBack(p *progress) bool {
	return r.written.seq > r.saved && len(p.inflight) > 0 && !p.overdue &&
		r.log.isSmaller(p.nextIndex, r.config.BatchBytes)
}

// tickEntries lets entries leave that were held back for a tick.
func (r *Raft) tickEntries() {
	for p := range r.followers {
		p.overdue = true
	}
}

// mustAsk reports whether a follower is due a heartbeat, or a question of reads that
// it has not been asked.
func (r *Raft) mustAsk(p *progress) bool {
	return p.heartbeatDue || len(r.reads) > 0 && p.roundSent < r.round && !p.silent
}

// sendAppendEntries sends entries, which start at nextIndex; none make a
// heartbeat. If the log has forgotten what comes before nextIndex, the
// heartbeat asks at the earliest index that it still can.
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
		matchIndex: p.matchIndex,
	})
	p.retryDue = false
	p.quiet = 0
	p.commitSent = r.commitIndex
	if len(entries) == 0 || r.config.StallTicks == 0 { // else the answer may wait for a disk
		p.heartbeatDue = false
		p.roundSent = r.round
	}
	if len(entries) > 0 {
		bytes := 0
		for _, e := range entries {
			bytes += e.size()
		}
		p.sent(previous+uint64(len(entries)), bytes)
	}
}

// handleAppendEntriesReply takes the answer to an AppendEntries of ours, nil if it was
// lost. The answer is read together with the call that it answers, never with the
// present state (Students' Guide).
func (r *Raft) handleAppendEntriesReply(call Call, req *AppendEntries, reply *AppendEntriesReply) {
	lost, term := reply == nil, uint64(0)
	if !lost {
		term = reply.Term
	}
	p := r.follower(call, req.Term, lost, term)
	if p == nil {
		return
	}
	if reply.Commit > r.log.lastIndex() {
		contradiction("%s, a follower in term %d, has committed up to %d, and this server leads that term with a log up to %d",
			p.id, r.currentTerm, reply.Commit, r.log.lastIndex())
	}
	p.ratherNot = reply.RatherNot
	present := call.generation == p.generation
	switch {
	case hasForgotten(call, req, reply):
		r.noteForgotten(p)
	case reply.Success || reply.Pending:
		if reply.Success {
			p.raiseMatch(req.PrevLogIndex + uint64(len(req.Entries)))
		}
		if present && !p.pipelining {
			r.generation++
			p.advance(r.generation)
		}
		r.advanceCommitIndex()
	case present && p.installing == 0:
		r.fallBack(p, r.backUp(req, reply))
	}
	if len(r.leaving) > 0 {
		r.noteLeft(call.To, reply.Commit)
	}
}

// A leader may notice that a follower has forgotten what it confirmed: the follower's
// disk was put back to an earlier state, or it lied. Then the follower's vote is worth
// nothing, and it must be talked to no more.

// hasForgotten reports whether a follower's rejection denies what it had confirmed
// to this leader before the call was sent: a log never loses that in a term, however
// late messages are.
func hasForgotten(call Call, req *AppendEntries, reply *AppendEntriesReply) bool {
	switch {
	case reply.Success || reply.Pending || reply.ConflictIndex == 0:
		return false
	case reply.ConflictTerm == 0: // its log ends before ConflictIndex
		return reply.ConflictIndex <= call.matchIndex
	}
	return req.PrevLogIndex <= call.matchIndex
}

// noteForgotten lets the next Ready name the follower, once in a leadership.
func (r *Raft) noteForgotten(p *progress) {
	if !p.forgot {
		p.forgot = true
		r.forgot = append(r.forgot, p.id)
		r.note(Note{Kind: NoteForgot, Peer: p.id, Index: p.matchIndex})
	}
}

// follower returns the progress of the follower that answered a call which this
// server sent in sentTerm as leader, and notes that the follower was heard. It returns
// nil if the answer belongs to another leadership. It also returns nil if the call was
// lost; the follower is then probed.
func (r *Raft) follower(call Call, sentTerm uint64, lost bool, replyTerm uint64) *progress {
	if !lost {
		r.observeTerm(replyTerm)
	}
	p := r.progressOf(call.To)
	if p == nil || r.role != Leader || sentTerm != r.currentTerm {
		return nil
	}
	switch {
	case call.generation < p.minGeneration:
		return nil
	case lost && call.generation == p.generation:
		r.lost(p)
		return nil
	case lost, replyTerm != r.currentTerm:
		return nil
	}
	if p.silent {
		r.note(Note{Kind: NoteHeard, Peer: p.id, Index: p.matchIndex, A: r.log.lastIndex()})
	}
	p.answered(call.round)
	return p
}

// lost falls back after a call that never came through. Entries are not sent
// again before the follower is heard, and nothing before the next heartbeat.
func (r *Raft) lost(p *progress) {
	next := p.nextIndex
	switch {
	case p.pipelining:
		next = p.matchIndex + 1
	case p.probe.last != 0:
		next = p.probe.from
	}
	r.fallBack(p, next)
	p.paused = true
	if r.config.PromptTicks > 0 && !p.retried {
		p.retried, p.retryDue = true, true
	} else {
		r.noteSilent(p)
		p.silent = true
	}
}

// tickPrompt sends followers early what would otherwise wait for the next heartbeat;
// see Config.PromptTicks.
func (r *Raft) tickPrompt() {
	if r.config.PromptTicks == 0 {
		return
	}
	for p := range r.followers {
		p.quiet++
		news := p.commitSent < r.commitIndex && !p.silent
		if p.quiet >= r.config.PromptTicks && (news || p.retryDue) {
			p.heartbeat()
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
	quorum := r.configuration.HasQuorum(func(i int) bool {
		return r.members[i].id == r.config.ID || r.members[i].progress.heard
	})
	for p := range r.followers {
		p.heard = false
	}
	return quorum
}

package core

// Linearizable reads without a log entry (§8, thesis 6.4). A leader proves
// that it still was leader after the read arrived by having a majority answer
// an AppendEntries sent since. One counter, the round, numbers these
// questions; every AppendEntries carries the present round in its Call, and
// any number of reads share one. A read that is asked again is a new read in a
// new round: late answers to an old question can never vouch for it.

// pendingRead is a read that waits at the leader.
type pendingRead struct {
	tag   Tag
	asker ID     // follower that asked by ReadIndex; None for a read of this server's own
	round uint64 // the round that releases it; 0 before the leader has committed in its term
	index uint64 // commit index when the round began
}

// Read asks for an index that makes a read linearizable; the answer comes as a
// ReadDone with the same tag. On a follower the leader is asked. The error is
// ErrNotLeader if there is no leader to ask; then no ReadDone follows.
func (r *Raft) Read(tag Tag) error {
	switch {
	case r.role == Leader:
		r.addRead(pendingRead{tag: tag})
	case r.leader != None:
		r.asking = append(r.asking, tag)
	default:
		return ErrNotLeader
	}
	return nil
}

// handleReadIndex is the leader's side of a follower's Read.
func (r *Raft) handleReadIndex(tag Tag, from ID, req *ReadIndex) {
	r.observeTerm(req.Term)
	if r.role != Leader {
		r.answer(tag, &ReadIndexReply{Term: r.currentTerm}, 0)
		return
	}
	r.addRead(pendingRead{tag: tag, asker: from})
}

func (r *Raft) addRead(read pendingRead) {
	if r.committedInTerm() {
		r.joinRound(&read)
	}
	r.reads = append(r.reads, read)
}

// joinRound gives the read the round that leaves next.
func (r *Raft) joinRound(read *pendingRead) {
	if !r.roundOpen {
		r.round++
		r.roundOpen = true
	}
	read.round = r.round
	read.index = r.commitIndex
}

// releaseReads ends the reads whose round a majority has answered. Reads that
// came before this leader had committed anything get their round as soon as
// it has (thesis 6.4, step 1).
func (r *Raft) releaseReads() {
	if r.role != Leader || len(r.reads) == 0 || !r.committedInTerm() {
		return
	}
	answered := r.answeredRound()
	waiting := r.reads[:0]
	for _, read := range r.reads {
		if read.round == 0 {
			r.joinRound(&read)
		}
		switch {
		case read.round > answered && !r.isAlone():
			waiting = append(waiting, read)
		case read.asker == None:
			r.readsDone = append(r.readsDone, ReadDone{Tag: read.tag, Index: read.index})
		default:
			r.answer(read.tag, &ReadIndexReply{Term: r.currentTerm, Success: true, Index: read.index}, 0)
		}
	}
	clear(r.reads[len(waiting):])
	r.reads = waiting
}

// answeredRound returns the latest round that a majority has answered.
func (r *Raft) answeredRound() uint64 {
	return r.configuration.quorumIndex(func(i int) uint64 {
		if s := &r.members[i]; s.id != r.config.ID {
			return s.progress.round
		}
		return r.round
	})
}

// failReads ends all reads that wait when leadership is lost.
func (r *Raft) failReads() {
	for _, read := range r.reads {
		if read.asker == None {
			r.readsDone = append(r.readsDone, ReadDone{Tag: read.tag, Err: ErrNotLeader})
		} else {
			r.answer(read.tag, &ReadIndexReply{Term: r.currentTerm}, 0)
		}
	}
	r.reads = nil
}

// askLeader sends the leader one ReadIndex for all reads of this turn. The leader may
// have changed since the reads came.
func (r *Raft) askLeader() {
	if len(r.asking) == 0 {
		return
	}
	tags := r.asking
	r.asking = nil
	switch {
	case r.role == Leader:
		for _, tag := range tags {
			r.addRead(pendingRead{tag: tag})
		}
	case r.leader != None:
		r.calls = append(r.calls, Call{To: r.leader, Request: &ReadIndex{Term: r.currentTerm}, tags: tags, committed: r.commitIndex})
	default:
		r.endReads(tags, 0, ErrNotLeader)
	}
}

// handleReadIndexReply takes the leader's answer to a ReadIndex of ours, nil
// if it was lost. The index holds whatever this server's term is by now: that
// the sender was leader when it gave the index, after the reads came, is all
// that they need.
func (r *Raft) handleReadIndexReply(call Call, reply *ReadIndexReply) {
	if reply == nil || !reply.Success {
		if reply != nil {
			r.observeTerm(reply.Term)
		}
		r.endReads(call.tags, 0, ErrNotLeader)
		return
	}
	if reply.Index < call.committed {
		contradiction("%s, which a majority takes for the leader, has committed up to %d, and this server had committed up to %d before it asked",
			call.To, reply.Index, call.committed)
	}
	r.endReads(call.tags, reply.Index, nil)
}

func (r *Raft) endReads(tags []Tag, index uint64, err error) {
	for _, tag := range tags {
		r.readsDone = append(r.readsDone, ReadDone{Tag: tag, Index: index, Err: err})
	}
}

package core

import "slices"

// Linearizable reads without a log entry (§8, thesis 6.4). A leader proves that it
// still was leader after the read arrived by having a majority answer an AppendEntries
// sent since. One counter, the round, numbers these questions; every AppendEntries
// carries the latest round in its Call, and any number of reads share one. A read that
// is asked again is a new read in a new round: late answers to an old question can
// never vouch for it.
//
// One round is under way at a time. A read that arrives meanwhile waits for the next
// round, which begins when a majority has answered the present one. So reads share
// rounds whether or not they arrive in the same turn: 64 clients whose requests come
// one by one cost each follower 0.04 messages a read instead of 1. A round that a tick
// has passed since does not keep the next one waiting: a lost message, a hung
// connection or a long way to the followers delays a read by less than a tick.
//
// A follower has one ReadIndex under way at a time, by the same rules.

// pendingRead is a read that waits at the leader.
type pendingRead struct {
	tag   Tag
	asker ID     // follower that asked by ReadIndex; None for a read of this server's own
	round uint64 // the round that releases it; 0 while it waits for that round to begin
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
	if r.role != Leader || r.isRemoved(from) {
		r.answer(tag, &ReadIndexReply{Term: r.currentTerm}, 0)
		return
	}
	r.addRead(pendingRead{tag: tag, asker: from})
}

// addRead lets a read wait for the next round. The round begins in Ready, so it never
// began before the read arrived.
func (r *Raft) addRead(read pendingRead) {
	r.reads = append(r.reads, read)
}

// serveReads begins the next round if reads wait for it, and ends the reads whose
// round a majority has answered. Before this leader has committed an entry of its
// term, no round begins (thesis 6.4, step 1).
func (r *Raft) serveReads() {
	if r.role != Leader || len(r.reads) == 0 || !r.committedInTerm() {
		return
	}
	if r.answeredRound() >= r.round || r.askAge > 0 {
		r.beginRound()
	}
	r.releaseReads()
}

// beginRound gives all reads that wait the next round. Its messages leave with this
// Ready.
func (r *Raft) beginRound() {
	first := len(r.reads)
	for first > 0 && r.reads[first-1].round == 0 {
		first--
	}
	waiting := r.reads[first:]
	if len(waiting) == 0 {
		return
	}
	r.round++
	r.askAge = 0
	for i := range waiting {
		waiting[i].round, waiting[i].index = r.round, r.commitIndex
	}
}

// releaseReads ends the reads whose round a majority has answered: those in front,
// because the rounds of reads rise in their order.
func (r *Raft) releaseReads() {
	answered, done := r.answeredRound(), 0
	for ; done < len(r.reads); done++ {
		read := r.reads[done]
		if read.round == 0 || read.round > answered {
			break
		}
		if read.asker == None {
			r.readsDone = append(r.readsDone, ReadDone{Tag: read.tag, Index: read.index})
		} else {
			r.answer(read.tag, &ReadIndexReply{Term: r.currentTerm, Success: true, Index: read.index}, 0)
		}
	}
	r.reads = slices.Delete(r.reads, 0, done)
}

// answeredRound returns the latest round that a majority has answered.
func (r *Raft) answeredRound() uint64 {
	return r.configuration.QuorumIndex(func(i int) uint64 {
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

// askLeader sends the leader one ReadIndex for all reads that came since the last
// one, unless that is still under way. The leader may have changed since the reads
// came.
func (r *Raft) askLeader() {
	if len(r.asking) == 0 || r.awaitsIndex() {
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
		r.asked, r.askAge = r.leader, 0
		r.asks++
		r.calls = append(r.calls, Call{To: r.leader, Request: &ReadIndex{Term: r.currentTerm}, round: r.asks, tags: tags, committed: r.commitIndex})
	default:
		r.endReads(tags, 0, ErrNotLeader)
	}
}

// awaitsIndex reports whether a ReadIndex to the present leader is under way, and so
// young that the next one waits for its answer.
func (r *Raft) awaitsIndex() bool {
	return r.role != Leader && r.leader != None && r.leader == r.asked && r.askAge == 0
}

// handleReadIndexReply takes the leader's answer to a ReadIndex of ours, nil
// if it was lost. The index holds whatever this server's term is by now: that
// the sender was leader when it gave the index, after the reads came, is all
// that they need.
func (r *Raft) handleReadIndexReply(call Call, reply *ReadIndexReply) {
	if call.round == r.asks {
		r.asked = None
	}
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

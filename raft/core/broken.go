package core

import "fmt"

// Broken is what a server panics with when it hears or holds something that Raft
// excludes while every server keeps its disk: two histories have met. It is not a
// mistake of the program. A disk was put back to an earlier state somewhere, or
// clusters were mixed. The server must end, and its driver should tell people; what
// the server holds may be all that is left of what was acknowledged.
//
// None of the places that raise it can be reached otherwise:
//
//   - What is committed here was confirmed by a majority in a term that is not later
//     than the present one. Whoever leads this term was elected by a majority that
//     shares a server with the first, so its log holds the same entries (§5.4.3). An
//     AppendEntries or InstallSnapshot of this term that says otherwise comes from a
//     leader whose voters had forgotten what they confirmed.
//   - For the same reason a follower that answers in a leader's own term has
//     committed nothing beyond that leader's log.
//   - A leader gives a read index after it has committed in its own term, and a
//     majority confirms later than the read came that it still leads. What a follower
//     had committed when it asked was therefore committed in that term or an earlier
//     one, and lies below the leader's own commit index.
type Broken struct{ Reason string }

func (b *Broken) Error() string {
	return "two histories of this cluster have met: " + b.Reason +
		". Somewhere a data directory was put back to an earlier state, or directories of different clusters were mixed. " +
		"Keep the data directories of all nodes, stop the cluster, and start it again from the nodes whose log is longest; " +
		"a node whose directory was put back comes back with --rejoin on an empty one"
}

// contradiction ends this server: see Broken.
func contradiction(format string, args ...any) {
	panic(&Broken{Reason: fmt.Sprintf(format, args...)})
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
	}
}

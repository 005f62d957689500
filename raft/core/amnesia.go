package core

// A leader may notice that a follower has forgotten what it confirmed: its disk was
// put back to an earlier state, or it lied. Then the follower's vote is worth
// nothing, whatever it says, and it must not be talked to any more.

// hasForgotten reports whether a follower's rejection denies what it had confirmed
// to this leader before the call was sent: a log never loses that in a term, however
// late messages are.
func hasForgotten(call Call, req *AppendEntries, reply *AppendEntriesReply) bool {
	switch {
	case reply.Success || reply.Pending || reply.ConflictIndex == 0:
		return false
	case reply.ConflictTerm == 0: // its log ends before ConflictIndex
		return reply.ConflictIndex <= call.matched
	}
	return req.PrevLogIndex <= call.matched
}

// noteForgotten lets the next Ready name the follower, once in a leadership.
func (r *Raft) noteForgotten(p *progress) {
	if !p.forgot {
		p.forgot = true
		r.forgot = append(r.forgot, p.id)
	}
}

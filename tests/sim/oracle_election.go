package main

import "raftkv/raft/core"

// electionSafety: at most one leader per term (Figure 3), who voted for itself
// on its disk; and leader completeness: it holds every entry that was committed
// in an earlier term. (A leader may be seen late: what later terms committed is
// not its affair.)
func (o *oracles) electionSafety(s *server, now core.Observed) {
	if leader, known := o.leaders[now.Term]; known {
		if leader != s.id {
			o.w.fail("two leaders in term %d: %s and %s", now.Term, leader, s.id)
		}
		return
	}
	o.leaders[now.Term] = s.id
	o.w.counts.Elections++
	o.w.event(string(s.id), "leads term %d", now.Term)
	if disk := s.model.state; disk.Term != now.Term || disk.VotedFor != s.id {
		o.w.fail("%s leads term %d but its disk holds term %d, vote %q", s.id, now.Term, disk.Term, disk.VotedFor)
	}
	log := logOf(s)
	for i, e := range o.committed {
		if o.chosenIn[i] < now.Term && !log.holds(e.Index, e.Term) {
			o.w.fail("%s leads term %d without committed entry %d of term %d", s.id, now.Term, e.Index, e.Term)
		}
	}
}

// answered: an answer that leaves is true on the disk. A vote is given once a
// term, in all lives of a server together.
func (o *oracles) answered(s *server, from core.ID, request core.Request, reply core.Reply) {
	disk := &s.model.state
	switch rep := reply.(type) {
	case *core.RequestVoteReply:
		req := request.(*core.RequestVote)
		if !rep.VoteGranted || req.Pre {
			return
		}
		b := ballot{s.id, req.Term}
		if other, voted := o.votes[b]; voted && other != from {
			o.w.fail("%s voted for %s and for %s in term %d", s.id, other, from, req.Term)
		}
		o.votes[b] = from
		if disk.Term < req.Term || disk.Term == req.Term && disk.VotedFor != from {
			o.w.fail("%s gave %s its vote in term %d but its disk holds term %d, vote %q", s.id, from, req.Term, disk.Term, disk.VotedFor)
		}
	case *core.AppendEntriesReply:
		req := request.(*core.AppendEntries)
		if disk.Term < rep.Term {
			o.w.fail("%s answered in term %d but its disk holds term %d", s.id, rep.Term, disk.Term)
		}
		if !rep.Success || disk.Term > rep.Term {
			return
		}
		last, term := req.PrevLogIndex, req.PrevLogTerm
		if n := len(req.Entries); n > 0 {
			last, term = req.Entries[n-1].Index, req.Entries[n-1].Term
		}
		if last > 0 && !s.model.holds(last, term) {
			o.w.fail("%s acknowledged entry %d of term %d, which its disk does not hold", s.id, last, term)
		}
	}
}

package main

import (
	"math/bits"

	"raftkv/raft/core"
)

// elections is what is known of terms: Election Safety of Figure 3, and that a
// vote is given once a term in all lives of a server together.
type elections struct {
	leaders map[uint64]*server // by term
	votes   map[ballot]favour

	// With pre-vote a term begins when a majority would have the candidate, or
	// when the leader before told it to stand.
	preVotes map[ballot]uint // by candidate and term: a bit for each server that would vote for it
	told     map[ballot]bool // by candidate and term: it was told to stand in it
	latest   uint64          // the latest term that anybody began
}

// favour is whom a vote was given to, and how many disks that server had lost by
// then.
type favour struct {
	candidate *server
	lost      int
}

// ballot is a server's part in the election of a term.
type ballot struct {
	server *server
	term   uint64
}

// entered: a server has a term that is new to it. Somebody must have begun it,
// and been allowed to: a server that is merely cut off raises no terms.
func (o *oracles) entered(s *server, now core.Observed) {
	s.watch.term = now.Term
	if now.Term <= o.elections.latest || o.w.options.Labs {
		return
	}
	if s.disk.booted == now.Term {
		o.elections.latest = now.Term // it began the term and died before it could be seen
		return
	}
	b := ballot{s, now.Term}
	would := o.elections.preVotes[b] | 1<<s.index
	if !o.elections.told[b] && !o.mayDecide(s, now.LastIndex, nil, func(other *server) bool { return would>>other.index&1 != 0 }) {
		o.w.fail("pre-vote", "%s is a %v in term %d, which nobody was allowed to begin: %d of %d would vote for it",
			s.id, now.Role, now.Term, bits.OnesCount(would), len(o.w.servers))
	}
	o.elections.latest = now.Term
}

// elected: at most one leader per term, which voted for itself on its disk, and
// which holds every entry that was committed in an earlier term (Leader
// Completeness). A leader may be seen late: what later terms committed is not
// its affair.
func (o *oracles) elected(s *server, now core.Observed) {
	s.watch.led, s.watch.tail = now.Term, now.LastIndex
	o.w.event(s.index, evLeads, now.Term, now.LastIndex)
	if leader, known := o.elections.leaders[now.Term]; known {
		o.w.fail("election safety", "two leaders in term %d: %s and %s", now.Term, leader.id, s.id)
	}
	o.elections.leaders[now.Term] = s
	o.w.nemesis.elected(s)
	o.w.counts.Elections++
	if newest := s.replica.Configurations().Newest; newest.Record != nil && newest.Record.Joint() {
		o.w.counts.ElectedJoint++
	}
	if disk := s.model.state; disk.Term != now.Term || disk.VotedFor != s.id {
		o.w.fail("durable vote", "%s leads term %d but its disk holds term %d, vote %q", s.id, now.Term, disk.Term, disk.VotedFor)
	}
	log := logOf(s)
	for i := int(log.base); i < len(o.logs.committed); i++ {
		if c := &o.logs.committed[i]; c.by < now.Term && !log.holds(c.Index, c.Term) {
			o.w.fail("leader completeness", "%s leads term %d without committed entry %d of term %d", s.id, now.Term, c.Index, c.Term)
		}
	}
}

// answered: an answer that leaves is true on the disk.
func (o *oracles) answered(s, from *server, request core.Request, reply core.Reply) {
	disk := &s.model.state
	switch rep := reply.(type) {
	case *core.RequestVoteReply:
		o.voted(s, from, request.(*core.RequestVote), rep)
	case *core.AppendEntriesReply:
		req := request.(*core.AppendEntries)
		if disk.Term < rep.Term {
			o.w.fail("durable term", "%s answered in term %d but its disk holds term %d", s.id, rep.Term, disk.Term)
		}
		if !rep.Success {
			o.w.counts.AppendsRejected++
			return
		}
		if disk.Term > rep.Term {
			return
		}
		last, term := req.PrevLogIndex, req.PrevLogTerm
		if n := len(req.Entries); n > 0 {
			last, term = req.Entries[n-1].Index, req.Entries[n-1].Term
		}
		if last > 0 && !s.model.holds(last, term) {
			o.w.fail("durable acknowledgement", "%s acknowledged entry %d of term %d, which its disk does not hold", s.id, last, term)
		}
	case *core.InstallSnapshotReply:
		req := request.(*core.InstallSnapshot)
		if disk.Term < rep.Term {
			o.w.fail("durable term", "%s answered in term %d but its disk holds term %d", s.id, rep.Term, disk.Term)
		}
		if disk.Term == rep.Term && rep.Term == req.Term && !s.model.holds(req.Snapshot.Index, req.Snapshot.Term) {
			o.w.fail("durable acknowledgement", "%s acknowledged the snapshot at %d, which its disk does not hold", s.id, req.Snapshot.Index)
		}
	}
}

func (o *oracles) voted(s, from *server, req *core.RequestVote, rep *core.RequestVoteReply) {
	if !rep.VoteGranted {
		o.countRefusedVote(s, req, rep)
		return
	}
	if req.Pre {
		o.elections.preVotes[ballot{from, req.Term}] |= 1 << s.index
		return
	}
	b := ballot{s, req.Term}
	// A candidate that has lost its disk since will never count the votes it got.
	if other, voted := o.elections.votes[b]; voted && other.candidate != from && other.lost == len(other.candidate.lost) {
		o.w.fail("one vote a term", "%s voted for %s and for %s in term %d", s.id, other.candidate.id, from.id, req.Term)
	}
	o.elections.votes[b] = favour{from, len(from.lost)}
	if disk := &s.model.state; disk.Term < req.Term || disk.Term == req.Term && disk.VotedFor != from.id {
		o.w.fail("durable vote", "%s gave %s its vote in term %d but its disk holds term %d, vote %q", s.id, from.id, req.Term, disk.Term, disk.VotedFor)
	}
}

// countRefusedVote counts why a vote was refused.
func (o *oracles) countRefusedVote(s *server, req *core.RequestVote, rep *core.RequestVoteReply) {
	c, now := o.w.counts, s.replica.Observe()
	behind := req.LastLogTerm < now.LastTerm || req.LastLogTerm == now.LastTerm && req.LastLogIndex < now.LastIndex
	switch {
	case req.Term < rep.Term:
		c.VotesRefusedTerm++
	case now.Term < req.Term && !req.Pre:
		c.VotesWithheld++
	case behind:
		c.VotesRefusedLog++
	case !req.Pre && now.Term == req.Term && now.VotedFor != core.None && now.VotedFor != req.CandidateID:
		c.VotesRefusedGiven++
	case req.Pre:
		c.PreVotesRefused++
	}
}

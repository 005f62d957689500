package core

import "raftkv/raft/members"

// vote is a peer's answer in a campaign.
type vote uint8

const (
	voteUnasked vote = iota // not asked yet, or the answer was lost: to be asked with the next heartbeat
	voteAwaited
	voteGranted
	voteRefused
)

// resetElectionTimer starts the wait for a leader anew with a timeout drawn at
// random, so that servers seldom campaign at the same time (§5.2).
func (r *Raft) resetElectionTimer() {
	r.electionElapsed = 0
	r.yielded, r.drewAgain = false, false
	r.electionTimeout = r.config.ElectionTicks + r.config.Rand.IntN(r.config.ElectionTicks)
}

// startCampaign begins an election (§5.2), by asking first if PreVote is on, or
// PreVoteAgain and this is not the first.
func (r *Raft) startCampaign() {
	again := r.campaigned
	r.campaigned = true
	if r.config.PreVote || r.config.PreVoteAgain && again {
		r.becomePreCandidate()
	} else {
		r.becomeCandidate()
	}
}

// newCampaign forgets the answers to the campaign before, and makes sure that those
// still to come are not counted.
func (r *Raft) newCampaign() {
	r.campaign++
	r.ownVoteCounted = false
	r.transferred = false
	r.leader = None
	for i := range r.members {
		r.members[i].vote = voteUnasked
	}
	r.resetElectionTimer()
}

// countOwnVote counts the candidate's own vote and asks for the others', once that
// vote is on the disk. A server that asked before, crashed and forgot could vote for
// another candidate in the same term. The wait for the answers begins now.
func (r *Raft) countOwnVote() {
	if r.role != Candidate || r.ownVoteCounted || r.promised() > r.saved {
		return
	}
	r.ownVoteCounted = true
	r.resetElectionTimer()
	r.countVote(r.self(), true)
	if r.role == Candidate {
		r.requestVotes()
	}
}

// requestVotes sends RequestVote to every other voter that has not been asked. It
// sends nothing before the candidate's own vote is saved.
func (r *Raft) requestVotes() {
	term, pre := r.currentTerm, r.role == PreCandidate
	if pre {
		term++
	} else if !r.ownVoteCounted {
		return
	}
	request := &RequestVote{
		Term:         term,
		CandidateID:  r.config.ID,
		LastLogIndex: r.log.lastIndex(),
		LastLogTerm:  r.log.lastTerm(),
		Pre:          pre,
		Transfer:     r.transferred,
	}
	for i := range r.members {
		s := &r.members[i]
		if s.vote == voteUnasked && s.id != r.config.ID && r.configuration.Places[i].Votes != 0 {
			s.vote = voteAwaited
			r.calls = append(r.calls, Call{To: s.id, Request: request, generation: r.campaign})
		}
	}
}

// countVote records one server's answer and ends the campaign if it decides. A server
// that is no member, as this one may be, counts for nothing.
func (r *Raft) countVote(of *memberState, granted bool) {
	if of != nil && of.vote < voteGranted {
		of.vote = voteRefused
		if granted {
			of.vote = voteGranted
		}
	}
	if !r.configuration.HasQuorum(func(i int) bool { return r.members[i].vote == voteGranted }) {
		return
	}
	if r.role == PreCandidate {
		r.becomeCandidate()
	} else {
		r.becomeLeader()
	}
}

// handleRequestVote is the receiver's side of RequestVote (Figure 2).
func (r *Raft) handleRequestVote(tag Tag, req *RequestVote) {
	if req.Term < r.currentTerm || r.withholdsVote(req) {
		r.noteVote(req, false)
		r.answer(tag, &RequestVoteReply{Term: r.currentTerm}, 0)
		return
	}
	if req.Pre {
		// Thesis 9.6: an answer to "would you?" changes nothing that is promised, nor
		// the time since the leader was heard. A server whose disk hangs could not make
		// the vote durable that it would be asked for.
		granted := req.Term > r.currentTerm && r.isUpToDate(req.LastLogIndex, req.LastLogTerm) && !r.stalled() &&
			!r.rejoining.On && !r.favoursAnother(req.CandidateID)
		if granted {
			r.yield()
		}
		r.noteVote(req, granted)
		r.answer(tag, &RequestVoteReply{Term: r.currentTerm, VoteGranted: granted}, 0)
		return
	}
	r.observeTerm(req.Term)
	granted := (r.votedFor == None || r.votedFor == req.CandidateID) &&
		r.role != Leader && !r.rejoining.On && r.isUpToDate(req.LastLogIndex, req.LastLogTerm)
	r.noteVote(req, granted)
	if granted {
		if r.votedFor == None {
			r.votedFor = req.CandidateID
			r.dirty.hard = true
		}
		if r.role == PreCandidate {
			r.becomeFollower(r.currentTerm, None)
		}
		r.resetElectionTimer()
		r.waited = 0
		r.campaigned = false
	}
	r.answer(tag, &RequestVoteReply{Term: r.currentTerm, VoteGranted: granted}, 0)
}

// withholdsVote reports whether this server hears its leader, so that a candidate
// that was merely cut off cannot depose it (§6 end, thesis 4.2.3). The candidate's
// term is then ignored.
func (r *Raft) withholdsVote(req *RequestVote) bool {
	if !r.config.CheckQuorum || req.Transfer {
		return false
	}
	return r.role == Leader || r.leader != None && r.electionElapsed < r.config.ElectionTicks
}

// isUpToDate is the election restriction (§5.4.1): a vote goes only to a
// candidate whose log is at least as complete as the voter's.
func (r *Raft) isUpToDate(lastLogIndex, lastLogTerm uint64) bool {
	if lastLogTerm != r.log.lastTerm() {
		return lastLogTerm > r.log.lastTerm()
	}
	return lastLogIndex >= r.log.lastIndex()
}

// handleVote takes the answer to a RequestVote of ours, nil if it was lost.
// Only an answer to the present campaign counts, and each server's once.
func (r *Raft) handleVote(call Call, req *RequestVote, reply *RequestVoteReply) {
	if reply != nil {
		r.observeTerm(reply.Term)
	}
	if call.generation != r.campaign {
		return
	}
	campaigning := r.role == Candidate && !req.Pre && req.Term == r.currentTerm
	asking := r.role == PreCandidate && req.Pre && req.Term == r.currentTerm+1
	voter := r.member(call.To)
	switch {
	case voter == nil || !campaigning && !asking:
	case reply != nil:
		r.countVote(voter, reply.VoteGranted)
	case voter.vote == voteAwaited:
		voter.vote = voteUnasked
	}
}

// tickCampaign repeats requests for votes that were lost, at most once a heartbeat.
func (r *Raft) tickCampaign() {
	if r.role != Follower && r.electionElapsed%r.config.HeartbeatTicks == 0 {
		r.requestVotes()
	}
}

// Suspect tells the server that the connection to peer was ended by the peer's side.
// If peer is the leader, a server that asks before it campaigns (PreVote) need not
// wait out the election timeout, and no longer vouches for that leader. The safety
// of elections never rests on time, and a pre-vote needs a majority that has lost
// the leader too. So a false alarm costs a handful of messages.
//
// All followers lose a dead leader in the same instant. They campaign in turn, in the
// order of their IDs and two ticks apart. That is time enough for one election, so
// votes do not split.
func (r *Raft) Suspect(peer ID) {
	if !r.config.PreVote || r.role != Follower || r.leader != peer {
		return
	}
	r.note(Note{Kind: NoteSuspected, Peer: peer, A: uint64(r.electionElapsed)})
	r.leader = None
	if !r.isVoter(r.config.ID) {
		return
	}
	turn := 0
	for _, p := range r.configuration.Places {
		if p.ID < r.config.ID && p.ID != peer && p.Votes&members.NewHalf != 0 {
			turn++
		}
	}
	r.electionTimeout = r.electionElapsed + 1 + 2*turn
}

package core

// Role is what a server is at the moment (Figure 4).
type Role uint8

// The roles of Figure 4; PreCandidate asks whether a campaign would succeed
// before it raises its term (thesis 9.6).
const (
	Follower Role = iota
	PreCandidate
	Candidate
	Leader
)

func (r Role) String() string {
	return [...]string{"follower", "pre-candidate", "candidate", "leader"}[r]
}

// observeTerm applies the rule for all servers of Figure 2: a server that sees a
// newer term adopts it and is a follower in it.
func (r *Raft) observeTerm(term uint64) {
	if term > r.currentTerm {
		r.becomeFollower(term, None)
	}
}

// becomeFollower enters or stays in term as a follower of leader, or of nobody
// yet. The vote is forgotten only with a new term. The election timer goes on:
// only hearing the leader, giving a vote or having been leader starts it anew.
func (r *Raft) becomeFollower(term uint64, leader ID) {
	if term < r.currentTerm {
		broken("term would fall from %d to %d", r.currentTerm, term)
	}
	r.noteNewerTerm(term)
	if term > r.currentTerm {
		r.currentTerm = term
		r.votedFor = None
		r.dirty.hard = true
	}
	if r.role == Leader {
		r.failReads()
		r.transferee = None
		r.uncommittedBytes = 0
		r.leaving = nil
		r.resetElectionTimer()
	}
	r.role = Follower
	r.leader = leader
}

// follow makes this server a follower of the leader that it has heard, and begins the
// wait for a leader anew.
func (r *Raft) follow(term uint64, leader ID) {
	if leader != r.leader || term > r.currentTerm {
		r.note(Note{Kind: NoteFollowed, Peer: leader, Term: term})
	}
	r.becomeFollower(term, leader)
	r.resetElectionTimer()
	r.waited = 0
	r.campaigned = false
}

// becomePreCandidate asks for votes in the next term without entering it.
func (r *Raft) becomePreCandidate() {
	r.role = PreCandidate
	r.counts.PreVotes++
	r.note(Note{Kind: NotePreVote, Term: r.currentTerm + 1, Index: r.log.lastIndex(), A: r.log.lastTerm()})
	r.newCampaign()
	r.countVote(r.self(), true)
	if r.role == PreCandidate {
		r.requestVotes()
	}
}

// becomeCandidate enters the next term with a vote for itself. Nothing is
// asked of others before that vote is on the disk; see countOwnVote.
func (r *Raft) becomeCandidate() {
	assert(!r.rejoining.On, "a server that is rejoining stands for election")
	assert(r.mayStand(), "%s stands for election and has no vote in the configuration of entry %d", r.config.ID, r.log.newest().Index)
	r.role = Candidate
	r.counts.Campaigns++
	r.currentTerm++
	r.note(Note{Kind: NoteCampaign, Index: r.log.lastIndex(), A: r.log.lastTerm()})
	r.votedFor = r.config.ID
	r.dirty.hard = true
	r.newCampaign()
}

// becomeLeader takes over the term it was elected in (Figure 2 "Rules for
// Servers", Leaders). The first heartbeats leave with the next Ready.
func (r *Raft) becomeLeader() {
	assert(r.role == Candidate, "a %v cannot become leader", r.role)
	r.role = Leader
	if r.transferred {
		r.counts.Transferred++
	} else {
		r.counts.Elected++
	}
	r.noteElected()
	r.leader = r.config.ID
	r.electionElapsed = 0
	r.heartbeatElapsed = 0
	r.transferee = None
	for i := range r.members {
		s := &r.members[i]
		s.progress = r.newProgress(s.id)
	}
	r.seeOffAgain()
	r.uncommittedBytes = r.log.bytes(r.commitIndex + 1)
	r.unsavedBytes = r.log.bytes(r.durable + 1)
	if r.config.Noop {
		r.appendToLog(r.noop())
	}
}

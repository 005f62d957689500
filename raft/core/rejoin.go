package core

// A server that has lost its disk has forgotten what it promised: whom it voted
// for, and which entries it holds. Under its old name it could vote twice in a
// term, and help to elect a leader without an entry that was committed with its
// help. It may come back all the same, because the others know enough.
//
// First it asks every other server (Rejoin) and ignores all other requests until all
// have answered. Servers that are coming back themselves say so. The rest, the full
// members, must be a majority, and must have been asked after that was heard of the
// others. When the latest term among their answers is that of a server that leads it,
// that term and the end of that leader's log make the goal. The server enters
// that term with a vote for itself, so that it gives that term's vote to nobody,
// and becomes an ordinary follower but for one thing: until its disk holds the log
// up to the goal as a leader of the goal's term or a later one has it, it abstains.
// It gives no vote, promises none, and does not campaign.
//
// Why that is safe. A vote that was forgotten matters if its candidate was elected
// or may yet be. If the candidate has not lost its disk, it is one that has
// answered, and it is in that term: this is why all must answer, and a majority is
// not enough. If it has, it must have been elected before that. Then a majority had
// entered the term, and one of them is a full member that was asked later. Either
// way the term is not later than the goal's, and in no such term will the server
// vote again, nor take an entry from a leader of an earlier one.
//
// An entry that was confirmed and forgotten is held by the rest of the majority
// that committed it, or will. Every later leader is elected by a majority, the two
// share a server, and that server has not forgotten the entry, for whoever has
// forgotten it abstains. So all later leaders have it (§5.4.3 as it stands), and the
// leader of the goal had it when it answered: it was elected later than the entry
// was made, or had made it itself. So the entry lies at or before the goal, in that
// leader's log and in those of all later ones. Once the server's disk agrees with
// one of these logs up to the goal, it holds the entry again, and it has forgotten
// nothing that counts. Whether the rest of that log is committed does not matter. It
// could not always be waited for: if that leader is gone, there may be no other
// without this server's vote.
//
// The same holds for reads (§8). A server that abstains helps a leader to prove
// that it still leads. It could only prove too much if a later leader had been
// elected before; but that one was elected without the server, so one of the others
// that vouch for the earlier leader would have been in the later term already.
//
// Late answers of the former life do no harm to any of this, as they were true when
// they were given. But a leader that counts one as the new life's would believe
// entries to be where they are not, and never send them: so Rejoin makes it forget
// all it knew of the server, and what it sent before is no longer looked at.

// All of it is about the servers of one cluster. Another one's server may answer at
// a member's address. In its place the member would not be asked, whose term counts,
// or the goal would lie in a log that has nothing to do with what was promised. So
// the answers of full members count only while all of them name the same UID. One
// that knows none yet is not heard until it does: a leader tells it. (A cluster
// whose servers draw none, as in the labs, is not held to this.) With the goal the
// server knows its own UID: it is the one that they have named (Write.GoalUID).

// Rejoining says how far a server that lost its disk has come back. The zero Rejoining
// is that of a full member.
type Rejoining struct {
	On    bool   // the server abstains
	Term  uint64 // the goal's; 0: there is no goal yet, the others are being asked
	Index uint64 // the goal: how far the disk must agree with a leader of Term or later
}

// rejoinAnswer is what another server last answered to Rejoin.
type rejoinAnswer struct {
	awaited  bool // a call was sent and has not ended
	answered bool
	round    uint64 // in which a full member was asked
	RejoinReply
}

// asksToRejoin reports whether this server has no goal yet: then it takes no part
// in anything.
func (r *Raft) asksToRejoin() bool { return r.rejoining.On && r.rejoining.Term == 0 }

// tickRejoin takes the place of the election timer on a server that must not campaign.
func (r *Raft) tickRejoin() {
	if r.asksToRejoin() && r.electionElapsed%r.config.HeartbeatTicks == 0 {
		r.askToRejoin()
	}
	r.electionElapsed++
	if r.electionElapsed < r.electionTimeout {
		return
	}
	r.leader = None
	r.resetElectionTimer()
	for i := range r.members {
		r.members[i].rejoin.awaited = false // a call may vanish without being reported lost
	}
}

// askToRejoin asks all other servers that have no call to answer. Servers that have
// answered are asked again, because what they said may have changed.
func (r *Raft) askToRejoin() {
	for i := range r.members {
		if s := &r.members[i]; s.id != r.config.ID && !s.rejoin.awaited {
			s.rejoin.awaited = true
			r.calls = append(r.calls, Call{To: s.id, Request: &Rejoin{}, round: r.rejoinRound})
		}
	}
}

// handleRejoin answers a server that has lost its disk.
func (r *Raft) handleRejoin(tag Tag, from ID) {
	if s := r.member(from); s != nil && r.role == Leader {
		s.progress = r.freshProgress(from)
		if r.transferee == from {
			r.abandonTransfer()
		}
	}
	r.answer(tag, &RejoinReply{
		Term: r.currentTerm, Rejoining: r.rejoining.On, Leads: r.role == Leader, LastIndex: r.log.lastIndex(), UID: r.UID(),
	}, 0)
}

// handleRejoinReply takes the answer to a Rejoin of ours, nil if it was lost.
func (r *Raft) handleRejoinReply(call Call, reply *RejoinReply) {
	s := r.member(call.To)
	if s == nil || !r.asksToRejoin() {
		return
	}
	a := &s.rejoin
	a.awaited = false
	if reply == nil {
		return
	}
	if reply.Rejoining && !a.Rejoining {
		r.rejoinRound++ // what the full members have said does not count any more
	}
	a.answered, a.round, a.RejoinReply = true, call.round, *reply
	r.setGoal()
}

// setGoal makes the goal if the answers allow it.
func (r *Raft) setGoal() {
	if r.rejoinAtOdds() {
		return
	}
	latest := RejoinReply{}
	for i := range r.members {
		s := &r.members[i]
		switch a := &s.rejoin; {
		case s.id == r.config.ID:
		case !r.heardToRejoin(a):
			return
		case !a.Rejoining:
			if a.Term > latest.Term || a.Term == latest.Term && a.Leads {
				latest = a.RejoinReply
			}
		}
	}
	full := func(i int) bool { return r.members[i].id != r.config.ID && !r.members[i].rejoin.Rejoining }
	if !r.configuration.HasQuorum(full) || !latest.Leads {
		return
	}
	if latest.Term > r.currentTerm {
		r.currentTerm = latest.Term
		r.votedFor = None
	}
	if r.votedFor == None {
		r.votedFor = r.config.ID
	}
	r.rejoining = Rejoining{On: true, Term: r.currentTerm, Index: latest.LastIndex}
	r.goalUID = latest.UID
	r.note(Note{Kind: NoteRejoinGoal, Index: latest.LastIndex})
	r.dirty.hard = true
	r.resetElectionTimer()
}

// heardToRejoin reports whether a server's answer counts.
func (r *Raft) heardToRejoin(a *rejoinAnswer) bool {
	known := a.UID != (UID{}) || r.config.NewUID == (UID{}) || !r.config.Noop
	return a.answered && (a.Rejoining || a.round == r.rejoinRound && known)
}

// rejoinAtOdds reports whether servers of different clusters have answered.
func (r *Raft) rejoinAtOdds() bool {
	var said UID
	for i := range r.members {
		switch a := &r.members[i].rejoin; {
		case a.UID == (UID{}):
		case said == (UID{}):
			said = a.UID
		case said != a.UID:
			return true
		}
	}
	return false
}

// endRejoin makes this server a full member when it has reached its goal. What it
// then promises leaves only when that and the log up to the goal are on the disk.
func (r *Raft) endRejoin() {
	if !r.rejoining.On || r.asksToRejoin() {
		return
	}
	term, ok := r.log.term(r.commitIndex)
	committed := r.commitIndex >= r.rejoining.Index || ok && term > r.rejoining.Term
	agrees := r.agreed.Term >= r.rejoining.Term && min(r.agreed.Index, r.durable) >= r.rejoining.Index
	if committed || agrees {
		r.note(Note{Kind: NoteRejoined, Index: r.rejoining.Index})
		r.rejoining, r.goalUID = Rejoining{}, UID{}
		for i := range r.members {
			r.members[i].rejoin = rejoinAnswer{}
		}
		r.dirty.hard = true
		r.resetElectionTimer()
	}
}

// rejoinWaits returns the servers whose answers are still needed for a goal, and those
// that are coming back themselves.
func (r *Raft) rejoinWaits() (unheard, rejoining []ID) {
	if !r.asksToRejoin() {
		return nil, nil
	}
	atOdds := r.rejoinAtOdds()
	for i := range r.members {
		s := &r.members[i]
		switch a := &s.rejoin; {
		case s.id == r.config.ID:
		case !r.heardToRejoin(a), atOdds && !a.Rejoining: // it is not known which of them is the stranger
			unheard = append(unheard, s.id)
		case a.Rejoining:
			rejoining = append(rejoining, s.id)
		}
	}
	return unheard, rejoining
}

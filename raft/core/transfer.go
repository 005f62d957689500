package core

import (
	"fmt"
	"slices"
)

// Transfer begins to hand leadership to another server (thesis 3.10): new
// proposals are refused, the other's log is brought up to date, then it is told to
// campaign at once. The transfer is given up after ElectionTicks. None picks the
// server whose log is most complete of those that would lead. Errors: ErrNotLeader,
// ErrTransferring, ErrNobodyElse, or a sentence when to cannot lead.
func (r *Raft) Transfer(to ID) error {
	switch {
	case r.role != Leader:
		return ErrNotLeader
	case r.transferee != None:
		return ErrTransferring
	case r.isAlone():
		return fmt.Errorf("core: there is no other server to lead")
	case to == None:
		if to = r.mostComplete(); to == None {
			return ErrNobodyElse
		}
	}
	target := r.member(to)
	if target == nil || to == r.config.ID || !r.isVoter(to) {
		return fmt.Errorf("core: %q is not another voter of this cluster %v", to, r.configuration.Voters())
	}
	if target.progress.ratherNot {
		return fmt.Errorf("core: %q cannot serve now (it is loading, installing, stopping or wrong); choose another server", to)
	}
	r.transferee = to
	r.note(Note{Kind: NoteTransfer, Peer: to})
	r.timeoutNow = false
	r.electionElapsed = 0
	target.progress.heartbeat()
	return nil
}

// mostComplete returns the other server whose log is most complete, of those that
// answer if any does; None if all had better not lead. Among equals it is the next
// one in the order of IDs, in a circle that begins behind this server. So two servers
// that pass leadership on again and again do not pass it to each other.
func (r *Raft) mostComplete() ID {
	var best *progress
	self, _ := slices.BinarySearchFunc(r.members, r.config.ID, compareState)
	for step := range r.members {
		p := &r.members[(self+step)%len(r.members)].progress
		if p.ratherNot || p.id == r.config.ID || !r.isVoter(p.id) {
			continue
		}
		if best == nil || best.silent && !p.silent || best.silent == p.silent && p.matchIndex > best.matchIndex {
			best = p
		}
	}
	if best == nil {
		return None
	}
	return best.id
}

// sendTimeoutNow tells the transferee to campaign, once its log is as long as ours. A
// leader that has no vote any more steps down with that.
func (r *Raft) sendTimeoutNow() {
	if r.transferee == None || r.timeoutNow {
		return
	}
	if p := r.progressOf(r.transferee); p.matchIndex == r.log.lastIndex() {
		outside := r.isOutside()
		r.timeoutNow = true
		r.call(r.transferee, &TimeoutNow{Term: r.currentTerm, LeaderID: r.config.ID})
		if outside {
			r.note(Note{Kind: NoteSteppedDown, Why: WhyTransfer, Peer: r.transferee})
			r.becomeFollower(r.currentTerm, None)
		}
	}
}

func compareState(s memberState, id ID) int {
	switch {
	case s.id == id:
		return 0
	case s.id < id:
		return -1
	}
	return 1
}

// abandonTransfer takes proposals again after a transfer that did not happen
// in time. The transferee may still win: then it is an election like any other.
func (r *Raft) abandonTransfer() {
	if r.transferee != None {
		r.note(Note{Kind: NoteTransferGivenUp, Peer: r.transferee})
	}
	r.transferee = None
}

// handleTimeoutNow campaigns at once, without a pre-vote, because the leader itself
// wants it. Four kinds of servers do not: one whose disk hangs could not win, one
// that had better not lead waits for another, one that is rejoining must not, and one
// that has no vote, or loses it with the change under way, should not.
func (r *Raft) handleTimeoutNow(tag Tag, req *TimeoutNow) {
	r.observeTerm(req.Term)
	if req.Term == r.currentTerm && r.role == Follower && !r.stalled() && !r.ratherNot && !r.rejoining.On && r.isVoter(r.config.ID) {
		r.note(Note{Kind: NoteTransferTaken, Peer: req.LeaderID})
		r.becomeCandidate()
		r.transferred = true
	}
	r.answer(tag, &TimeoutNowReply{Term: r.currentTerm}, 0)
}

// Some servers could lead but had better not: those whose state is wrong or not
// loaded yet, those that are installing a snapshot, and those that are about to
// stop. Nothing here touches safety. Such a server votes and confirms as usual. It
// lets several waits for a leader pass before it campaigns, and does not campaign when
// a leader asks it to. It says so to every leader, which hands over to others.

// ratherWaits is the number of waits for a leader after which a server campaigns that
// had better not lead: by then it is clear that no other can.
const ratherWaits = 5

// RatherNot says whether this server had better not lead. A leader is not deposed by
// it: its driver calls Transfer. A server that is alone leads in any case.
func (r *Raft) RatherNot(ratherNot bool) { r.ratherNot = ratherNot }

// timeOut ends a wait for a leader.
func (r *Raft) timeOut() {
	r.note(Note{Kind: NoteTimeout, Peer: r.leader, A: uint64(r.electionElapsed)})
	if r.ratherNot && !r.isAlone() && r.waited < ratherWaits {
		r.waited++
		if r.role != Follower {
			r.becomeFollower(r.currentTerm, None)
		}
		r.leader = None
		r.resetElectionTimer()
		return
	}
	if !r.mayStand() {
		r.leader = None
		r.resetElectionTimer()
		return
	}
	r.startCampaign()
}

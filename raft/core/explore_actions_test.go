package core

import (
	"fmt"
	"slices"
)

// exKind is what happens.
type exKind uint8

const (
	exSave      exKind = iota // the outstanding write is on the platter
	exTimeout                 // an election timeout passes
	exPropose                 // a command comes
	exHeartbeat               // a heartbeat to one follower is due
	exAgain                   // lost requests for votes, or to rejoin, are due again
	exDeliver                 // a message arrives
	exCopy                    // a request arrives, and will once more
	exTell                    // a caller is told that its call was lost
	exCut                     // the power fails, and the write under way is lost
	exCutKept                 // the power fails, and the write under way has reached the disk
	exUnheard                 // a follower has not heard its leader for an election timeout
	exCheck                   // a leader looks whether it has heard from a quorum
	exCompact                 // a snapshot is taken of what is applied
	exRead                    // a linearizable read is asked for
	exTick                    // a tick passes: the next round of reads need not wait
	exTransfer                // leadership is to be handed over
	exWipe                    // the disk is lost, and the server comes back to rejoin
	exKinds                   // number of kinds
)

// exAction is one thing that may happen in a world.
type exAction struct {
	kind   exKind
	server uint8  // where it happens
	to     uint8  // heartbeat, transfer: the follower
	answer bool   // message: it is an answer
	serial uint32 // message: which
}

// Actions appends what may happen next. What could change nothing is left out.
func (w *exWorld) Actions(to []exAction) []exAction {
	if w.fault != nil {
		return to
	}
	for i := range w.bounds.servers {
		to = w.serverActions(to, i)
	}
	for k, m := range w.flight {
		to = w.messageActions(to, k, m)
	}
	return to
}

// serverActions appends what may happen at one server by itself.
func (w *exWorld) serverActions(to []exAction, i int) []exAction {
	n, b := w.nodes[i], w.bounds
	r := n.core
	add := func(may bool, kind exKind) {
		if may {
			to = append(to, exAction{kind: kind, server: uint8(i)})
		}
	}
	leads := r.role == Leader
	add(n.writing != nil, exSave)
	add(!leads && !r.rejoining.On && r.currentTerm < b.terms && w.left.timeouts > 0, exTimeout)
	add(leads && w.left.entries > 0 && r.transferee == None, exPropose)
	if leads && !b.silent {
		for j := range b.servers {
			if j != i && w.heartbeatMeans(i, j) {
				to = append(to, exAction{kind: exHeartbeat, server: uint8(i), to: uint8(j)})
			}
		}
	}
	add(w.mayAskAgain(i), exAgain)
	add(w.left.cuts > 0, exCut)
	add(w.left.cuts > 0 && n.writing != nil, exCutKept)
	add(b.checkQuorum && !leads && r.leader != None && r.electionElapsed < r.config.ElectionTicks, exUnheard)
	add(leads && (b.checkQuorum && w.left.checks > 0 || r.transferee != None), exCheck)
	add(w.left.snapshots > 0 && r.lastApplied > r.log.snapshot.Index, exCompact)
	add(w.left.reads > 0 && r.leader != None && !r.rejoining.On, exRead)
	add(r.askAge == 0 && (len(r.asking) > 0 || slices.ContainsFunc(r.reads, func(p pendingRead) bool { return p.round == 0 })), exTick)
	if leads && w.left.transfers > 0 && r.transferee == None {
		for j := range b.servers {
			if j != i && !r.members[j].progress.ratherNot {
				to = append(to, exAction{kind: exTransfer, server: uint8(i), to: uint8(j)})
			}
		}
	}
	add(w.left.wipes > 0, exWipe)
	return to
}

// heartbeatMeans reports whether a heartbeat could change anything: nothing is on its
// way between the two, and the follower is not where the leader wants it.
func (w *exWorld) heartbeatMeans(leader, follower int) bool {
	for _, m := range w.flight {
		if int(m.from) == leader && int(m.to) == follower && !m.orphan {
			return false
		}
	}
	for _, x := range w.nodes[follower].waiting {
		if int(x.item.from) == leader && !x.item.orphan {
			return false
		}
	}
	l, f := w.nodes[leader].core, w.nodes[follower].core
	p := &l.members[follower].progress
	return f.currentTerm != l.currentTerm || f.role != Follower || f.leader != l.config.ID ||
		f.commitIndex != l.commitIndex || p.matchIndex != l.log.lastIndex() || !p.pipelining || p.silent || p.paused ||
		w.bounds.checkQuorum && (!p.heard || f.electionElapsed >= f.config.ElectionTicks) ||
		len(l.reads) > 0 && p.round < l.round
}

// mayAskAgain reports whether a server would repeat requests that were lost.
func (w *exWorld) mayAskAgain(i int) bool {
	r := w.nodes[i].core
	for j := range r.members {
		s := &r.members[j]
		switch {
		case j == i:
		case r.asksToRejoin() && !s.rejoin.awaited:
			// Whenever it asks, its leader begins anew with it. So that this ends, it
			// asks again only when nothing is on its way from it or to it.
			if !s.rejoin.answered || !slices.ContainsFunc(w.flight, func(m *exItem) bool { return int(m.from) == i || int(m.to) == i }) {
				return true
			}
		case (r.role == PreCandidate || r.role == Candidate && r.ownVoteCounted) && s.vote == voteUnasked:
			return true
		}
	}
	return false
}

// messageActions appends what may happen to the message at k.
func (w *exWorld) messageActions(to []exAction, k int, m *exItem) []exAction {
	if w.bounds.fifo && slices.ContainsFunc(w.flight[:k], m.sameConnection) {
		return to
	}
	a := exAction{kind: exDeliver, serial: m.serial, answer: m.reply != nil}
	a.server = m.to
	if a.answer {
		a.server = m.from
	}
	to = append(to, a)
	if w.left.copies > 0 && !a.answer {
		a.kind = exCopy
		to = append(to, a)
	}
	if w.left.losses > 0 && !m.orphan {
		a.kind, a.server = exTell, m.from
		to = append(to, a)
	}
	return to
}

// sameConnection reports whether another message travels the same way. A server's
// calls and their answers have a connection of their own to each server.
func (m *exItem) sameConnection(other *exItem) bool {
	return m.from == other.from && m.to == other.to && (m.reply != nil) == (other.reply != nil)
}

// Do returns the world after an action. An assertion of the core that breaks is a
// broken promise.
func (w *exWorld) Do(a exAction) (next *exWorld) {
	next = w.next()
	next.do(a)
	return next
}

// do changes the world by an action.
func (w *exWorld) do(a exAction) {
	defer func() {
		if broken := recover(); broken != nil {
			w.failf("the core stopped itself: %v", broken)
		}
	}()
	w.act(a)
	if w.fault == nil && !w.bounds.keepDead {
		w.bury()
	}
	w.rehash()
}

// rehash hashes the nodes that were made for this world.
func (w *exWorld) rehash() {
	for i := range w.bounds.servers {
		if w.owned[i] {
			w.nodes[i].keys = w.nodeKeys(i)
		}
	}
}

// act is what happens.
func (w *exWorld) act(a exAction) {
	i := int(a.server)
	switch a.kind {
	case exSave:
		w.own(i)
		w.input(i, func(*Raft) { w.save(i) })
	case exTimeout:
		if w.left.timeouts != unbounded {
			w.left.timeouts--
		}
		w.input(i, (*Raft).startCampaign)
	case exPropose:
		w.left.entries--
		w.input(i, func(r *Raft) {
			if _, _, err := r.Propose([]byte("x")); err != nil {
				w.failf("a leader refuses a command: %w", err)
			}
		})
	case exHeartbeat:
		w.input(i, func(r *Raft) { r.members[a.to].progress.heartbeat() })
	case exAgain:
		w.input(i, (*Raft).askAgain)
	case exDeliver, exCopy, exTell:
		w.actOnMessage(a)
	case exCut, exCutKept:
		w.left.cuts--
		w.own(i)
		if a.kind == exCutKept {
			w.write(i)
		}
		w.restart(i, w.nodes[i].disk)
	case exUnheard:
		w.input(i, (*Raft).loseTouch)
	case exCheck:
		if w.bounds.checkQuorum {
			w.left.checks--
		}
		w.input(i, (*Raft).checkNow)
	case exCompact:
		w.left.snapshots--
		w.input(i, func(r *Raft) { r.Compact(Snapshot{Index: r.lastApplied}) })
	case exRead:
		w.ask(i)
	case exTick:
		w.input(i, (*Raft).waitForRound)
	case exTransfer:
		w.left.transfers--
		w.input(i, func(r *Raft) {
			if err := r.Transfer(w.bounds.ids[a.to]); err != nil {
				w.failf("a leader refuses to hand over: %w", err)
			}
		})
	case exWipe:
		w.left.wipes--
		w.former = append(slices.Clip(w.former), exFormer{i, w.nodes[i].disk.positions()})
		w.restart(i, State{Rejoining: Rejoining{On: true}})
	default:
		panic(fmt.Sprintf("unknown action %d", a.kind))
	}
}

// actOnMessage is what happens to a message.
func (w *exWorld) actOnMessage(a exAction) {
	switch a.kind {
	case exDeliver:
		w.deliver(w.take(a.serial, a.answer))
	case exCopy:
		w.left.copies--
		k := slices.IndexFunc(w.flight, func(m *exItem) bool { return m.serial == a.serial })
		w.deliver(w.flight[k])
		later := *w.flight[k] // it may be an orphan by now
		w.serial++
		later.serial = w.serial
		w.flight[k] = &later
	case exTell:
		w.left.losses--
		k := slices.IndexFunc(w.flight, func(m *exItem) bool { return m.serial == a.serial && m.reply != nil == a.answer })
		m := w.flight[k]
		if a.answer {
			w.flight = slices.Delete(w.flight, k, k+1)
		} // else the request may still arrive
		w.returned(m, nil)
	}
}

// ask asks for a read at a server.
func (w *exWorld) ask(i int) {
	w.left.reads--
	tag := Tag(w.bounds.limit.reads - w.left.reads)
	w.floors = append(slices.Clip(w.floors), exFloor{tag, uint64(len(w.chosen))})
	w.input(i, func(r *Raft) {
		if err := r.Read(tag); err != nil {
			w.failf("a server that knows a leader refuses a read: %w", err)
		}
	})
}

// bury takes away messages that can change nothing any more.
func (w *exWorld) bury() { w.flight = slices.DeleteFunc(w.flight, w.isDead) }

// isDead reports whether the end of a call changes nothing at its caller, now or later.
// Terms and the numbers of campaigns and leaderships never fall in a server's life.
func (w *exWorld) isDead(m *exItem) bool {
	if m.reply == nil {
		return m.orphan && m.isStale(w.nodes[m.to].disk.Term)
	}
	if m.orphan {
		return true
	}
	r := w.nodes[m.from].core
	switch req := m.call.Request.(type) {
	case *RequestVote:
		counts := r.role == Candidate && !req.Pre && req.Term == r.currentTerm || r.role == PreCandidate && req.Pre && req.Term == r.currentTerm+1
		return m.reply.(*RequestVoteReply).Term <= r.currentTerm && (m.call.generation != r.campaign || !counts)
	case *AppendEntries:
		term := m.reply.(*AppendEntriesReply).Term
		return term <= r.currentTerm && (r.role != Leader || req.Term != r.currentTerm || term != r.currentTerm)
	case *InstallSnapshot:
		term := m.reply.(*InstallSnapshotReply).Term
		return term <= r.currentTerm && (r.role != Leader || req.Term != r.currentTerm || term != r.currentTerm)
	case *TimeoutNow:
		return m.reply.(*TimeoutNowReply).Term <= r.currentTerm
	}
	return false
}

// isStale reports whether a request is refused by a server in a term, without effect.
func (m *exItem) isStale(term uint64) bool {
	switch req := m.call.Request.(type) {
	case *RequestVote:
		return req.Term < term
	case *AppendEntries:
		return req.Term < term
	case *InstallSnapshot:
		return req.Term < term
	case *TimeoutNow:
		return req.Term < term
	}
	return false
}

package core

// Compact lets a snapshot of the state machine, taken by its service, stand for
// the log up to snapshot.Index (§7): the disk forgets that part of the log, and
// memory what nobody needs (forget.go). The snapshot's Term is the log's; it must
// be given where the log may have forgotten it. Compact is ignored unless the
// snapshot covers more than the present one and no more than was handed out for
// applying: a service may be late, or speak for an earlier life of itself.
func (r *Raft) Compact(snapshot Snapshot) {
	if snapshot.Index == r.lostSnapshot {
		r.lostSnapshot = 0 // its file is there again
	}
	if snapshot.Index <= r.log.snapshot.Index || snapshot.Index > r.applying {
		return
	}
	if term, ok := r.log.term(snapshot.Index); ok {
		snapshot.Term = term
	}
	assert(snapshot.Term != 0, "no term known for a snapshot at %d", snapshot.Index)
	snapshot.UID = r.UIDAt(snapshot.Index)
	snapshot.Members = r.ConfigurationAt(snapshot.Index)
	if r.dirty.replaced {
		// The snapshot that replaced the log never got to the disk, so this one
		// replaces it: entries between the two would stand there behind a gap.
		r.dirty.from = max(r.dirty.from, snapshot.Index+1)
	}
	r.replaceSnapshot(snapshot)
	r.log.forgetEditions()
	r.forget()
}

// replaceSnapshot makes a snapshot the newest.
func (r *Raft) replaceSnapshot(s Snapshot) {
	r.previous = r.log.snapshot.Index
	r.log.snapshot = s
	r.dirty.snapshot = true
}

// sendSnapshot sends the newest snapshot to a follower that needs what the log
// has forgotten. Until it is answered nothing but heartbeats follow.
func (r *Raft) sendSnapshot(p *progress) {
	p.installing = r.log.snapshot.Index
	p.installAge = 0
	r.note(Note{Kind: NoteSnapshotSent, Peer: p.id, Index: p.installing, A: p.nextIndex - 1, B: r.log.firstIndex()})
	p.roundSent = r.round
	p.heartbeatDue = false
	r.calls = append(r.calls, Call{
		To:         p.id,
		Request:    &InstallSnapshot{Term: r.currentTerm, LeaderID: r.config.ID, Snapshot: r.log.snapshot},
		generation: p.generation,
		round:      r.round,
	})
}

// tickSnapshots gives up snapshots that were not answered in time; see
// Config.SnapshotPatience. It is called with every tick, so that each snapshot has its
// whole time, whenever it was sent.
func (r *Raft) tickSnapshots() {
	if r.config.SnapshotPatience < 0 {
		return
	}
	for p := range r.followers {
		if p.installing == 0 {
			continue
		}
		if p.installAge++; p.installAge >= r.config.SnapshotPatience*r.config.ElectionTicks {
			r.fallBack(p, p.nextIndex)
		}
	}
}

// handleInstallSnapshot is the receiver's side of InstallSnapshot (Figure 13).
func (r *Raft) handleInstallSnapshot(tag Tag, req *InstallSnapshot) {
	if req.Term < r.currentTerm { // step 1
		r.answer(tag, &InstallSnapshotReply{Term: r.currentTerm}, 0)
		return
	}
	assert(r.role != Leader || req.Term > r.currentTerm, "two leaders in term %d: %s and %s", req.Term, r.config.ID, req.LeaderID)
	r.follow(req.Term, req.LeaderID)

	s := req.Snapshot
	r.compareAt(req.LeaderID, s.Index, s.Term)
	if term, ok := r.log.term(s.Index); ok && term == s.Term {
		// Step 6: the log holds what the snapshot stands for, and what follows it
		// may be committed already. There is nothing to install.
		r.commitTo(s.Index)
	} else if s.Index > r.commitIndex { // steps 5 and 7; 8 is the next batch
		known := r.UID()
		assert(known == (UID{}) || s.UID == known, "leader %s sent a snapshot of the cluster %q, and this one is %q", req.LeaderID, s.UID, known)
		committed := r.Configurations().Committed.Index
		assert(s.Members.Index >= committed, "leader %s sent a snapshot at %d with the configuration of entry %d, and that of entry %d is committed",
			req.LeaderID, s.Index, s.Members.Index, committed)
		r.replaceLog(s)
	}
	r.answer(tag, &InstallSnapshotReply{Term: r.currentTerm}, s.Index)
}

// replaceLog discards the whole log for a snapshot. Of the log on the disk only the
// committed part still counts: the rest contradicts the snapshot or lies beyond it.
func (r *Raft) replaceLog(s Snapshot) {
	r.note(Note{Kind: NoteInstalled, Peer: r.leader, Index: s.Index, A: r.log.lastIndex()})
	r.undo(r.commitIndex + 1)
	r.replaceSnapshot(s)
	r.log = newLog(r.log.static, s, nil)
	r.adopt()
	r.dirty.replaced = true
	r.dirty.from = s.Index + 1
	r.commitIndex = s.Index
	r.unappliedBytes = 0
}

// handleInstallSnapshotReply takes the end of an InstallSnapshot of ours, nil
// if it was lost.
func (r *Raft) handleInstallSnapshotReply(call Call, req *InstallSnapshot, reply *InstallSnapshotReply) {
	lost, term := reply == nil, uint64(0)
	if !lost {
		term = reply.Term
	}
	p := r.follower(call, req.Term, lost, term)
	if p == nil {
		return
	}
	present := call.generation == p.generation
	r.note(Note{Kind: NoteSnapshotTaken, Peer: p.id, Index: req.Snapshot.Index})
	p.raiseMatch(req.Snapshot.Index)
	p.renewed = r.log.lastIndex()
	if present {
		r.generation++
		p.advance(r.generation)
	}
	r.advanceCommitIndex()
}

// A snapshot's file may be found damaged while the server runs, mostly when it is to
// be sent to a follower. The log goes on as before: only the file is missing. But the
// snapshot cannot be sent, so the service is asked for another one, which may even be
// of the same index.

// SnapshotLost tells the server that the file of the snapshot at index is damaged or
// missing. It is ignored unless that is the newest snapshot.
func (r *Raft) SnapshotLost(index uint64) {
	if index != 0 && index == r.log.snapshot.Index {
		r.lostSnapshot = index
	}
}

// lostNewest reports whether the newest snapshot has no file.
func (r *Raft) lostNewest() bool {
	return r.lostSnapshot != 0 && r.lostSnapshot == r.log.snapshot.Index
}

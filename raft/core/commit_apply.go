package core

// advanceCommitIndex applies the leader's last rule of Figure 2: commit what a
// majority holds, if it is of the current term; what came before is then
// committed with it (§5.4.2, Figure 8). The leader itself counts with what is
// on its disk, not with what is in its log.
func (r *Raft) advanceCommitIndex() {
	if r.role != Leader {
		return
	}
	index := r.configuration.QuorumIndex(func(i int) uint64 {
		if s := &r.members[i]; s.id != r.config.ID {
			return s.progress.matchIndex
		}
		return r.durable
	})
	if term, ok := r.log.term(index); ok && index > r.commitIndex && term == r.currentTerm {
		r.noteFirstCommit(index)
		r.commitTo(index)
		r.continueChange()
	}
}

// commitTo raises commitIndex to index, if that is higher.
func (r *Raft) commitTo(index uint64) {
	if index <= r.commitIndex {
		return
	}
	if index > r.log.lastIndex() {
		broken("commit index %d beyond the log's end %d", index, r.log.lastIndex())
	}
	size := r.log.sizeOf(r.commitIndex+1, index)
	if r.role == Leader {
		r.uncommittedBytes -= size
	}
	r.unappliedBytes += size
	r.commitIndex = index
}

// committedInTerm reports whether this leader has committed an entry of its
// own term: before that it may not know what earlier leaders committed (§8).
func (r *Raft) committedInTerm() bool {
	term, ok := r.log.term(r.commitIndex)
	return ok && term == r.currentTerm
}

// nextBatch hands out committed entries for applying, if the state machine is
// free and there are any (Figure 2 "All Servers": commitIndex > lastApplied).
// A snapshot that replaced the log goes first.
func (r *Raft) nextBatch() *Batch {
	if r.applying > r.lastApplied || r.applying == r.commitIndex {
		return nil
	}
	if r.applying < r.log.snapshot.Index {
		snapshot := r.log.snapshot
		r.applying = snapshot.Index
		return &Batch{Snapshot: &snapshot}
	}
	entries := r.log.slice(r.applying+1, r.commitIndex, r.config.MaxApplyBytes)
	mustBeIntact(entries, "applied")
	for i := range entries {
		if err := entries[i].meaning(); err != nil {
			broken("%v", err)
		}
	}
	r.applying += uint64(len(entries))
	return &Batch{Entries: entries}
}

// Applied tells the server that the state machine has applied everything up to index,
// which must be the end of the outstanding batch.
func (r *Raft) Applied(index uint64) {
	if index != r.applying || index < r.lastApplied {
		broken("applied %d, but the batch under way ends at %d", index, r.applying)
	}
	from := r.lastApplied + 1
	r.lastApplied = index
	r.noteApplied(from, index)
}

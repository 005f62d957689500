package core

import "slices"

// The rule of this file: a server never lets go of a promise that its disk
// does not hold (Figure 2 "Updated on stable storage before responding to
// RPCs"). At most one write is with the disk; whatever changes meanwhile
// gathers for the next. A leader's AppendEntries are not promises and leave
// before its own write is saved (thesis 10.2.1).

// dirty is what changed since the last write was handed out.
type dirty struct {
	hard     bool   // currentTerm, votedFor or rejoining
	from     uint64 // lowest changed index of the log; 0 if none
	snapshot bool   // the log's snapshot
	// replaced: the snapshot took the place of the log. What lies between the end
	// of the log on the disk and the snapshot's is nowhere but in the snapshot.
	replaced bool
}

// entry marks the log as changed at index and above.
func (d *dirty) entry(index uint64) {
	if d.from == 0 || index < d.from {
		d.from = index
	}
}

// write is what must be remembered of the last write handed out.
type write struct {
	seq  uint64 // its sequence number
	hard uint64 // sequence number of the last write that held the present term and vote
	last uint64 // last index that its completion may confirm (the clamp)
	// commit is the commit index that it holds; commitAge is for how many ticks a
	// higher one has been known.
	commit    uint64
	commitAge int
}

// held is an answer that waits for the disk.
type held struct {
	Answer
	seq   uint64 // it needs this write
	index uint64 // and the log up to here
}

// promised returns the sequence number of the write after which the present
// term and vote are on the disk.
func (r *Raft) promised() uint64 {
	if r.dirty.hard {
		return r.written.seq + 1
	}
	return r.written.hard
}

// answer gives the answer to a request once it can be relied on: when the
// term, the vote and the log up to index are on the disk. Answers that are
// true already leave at once.
func (r *Raft) answer(tag Tag, reply Reply, index uint64) {
	h := held{Answer{Tag: tag, Reply: reply}, r.promised(), index}
	if h.seq > r.saved || h.index > r.durable {
		r.held = append(r.held, h)
		return
	}
	r.answers = append(r.answers, h.Answer)
}

// undo takes back what was known of the durability of the log at index and above,
// also from the outstanding write, whose completion must not confirm entries that the
// log no longer has. An answer that waits for an entry there was true when it was
// given. It leaves with the outstanding write if that holds the entry. Otherwise it
// leaves with the next write, which holds what took the entry's place, and the term
// in which that happened.
func (r *Raft) undo(index uint64) {
	for i := range r.held {
		h := &r.held[i]
		if h.index < index {
			continue
		}
		if h.index > r.written.last {
			h.seq = r.written.seq + 1
		}
		h.index = index - 1
	}
	r.written.last = min(r.written.last, index-1)
	r.durable = min(r.durable, index-1)
}

// truncateLog drops the entries at index and above.
func (r *Raft) truncateLog(index uint64) {
	if index <= r.commitIndex {
		contradiction("the leader of term %d would truncate entry %d, and what is committed here reaches to %d", r.currentTerm, index, r.commitIndex)
	}
	r.noteTruncated(index)
	r.log.truncate(index)
	r.dirty.entry(index)
	r.undo(index)
}

// nextWrite hands out what is not with the disk yet, if the disk is free and there is
// anything to write: the term and the vote, and at most as many entries as one write
// may have. The rest goes with the next write.
func (r *Raft) nextWrite() *Write {
	if r.written.seq > r.saved || r.dirty == (dirty{}) && !r.commitDue() {
		return nil
	}
	w := &Write{Seq: r.written.seq + 1, Term: r.currentTerm, VotedFor: r.votedFor, Rejoining: r.rejoining, GoalUID: r.goalUID, From: r.dirty.from}
	if r.dirty.snapshot && (w.From == 0 || w.From > r.log.snapshot.Index) {
		snapshot := r.log.snapshot
		w.Snapshot = &snapshot
	} // else the entries it stands for come first: the log on disk has no gap
	if w.From != 0 {
		w.Entries = r.log.slice(w.From, r.log.lastIndex(), r.config.MaxWriteBytes)
	}
	r.written.seq = w.Seq
	r.written.last = r.log.lastIndex()
	if r.dirty.hard {
		r.written.hard = w.Seq
	}
	r.dirty = dirty{snapshot: r.dirty.snapshot && w.Snapshot == nil}
	if end := w.From + uint64(len(w.Entries)); w.From != 0 && end <= r.log.lastIndex() {
		r.written.last = end - 1
		r.dirty.from = end
	}
	r.complete(w)
	return w
}

// complete gives a write the commit index, as far as the log will be on the disk
// with it, and looks once more at what it holds.
func (r *Raft) complete(w *Write) {
	last := r.log.lastIndex()
	if w.From != 0 {
		last = w.From - 1 + uint64(len(w.Entries))
	}
	w.Commit = min(r.commitIndex, last)
	r.written.commit, r.written.commitAge = w.Commit, 0
	mustBeIntact(w.Entries, "written")
}

// tickCommit counts how long the disk has been without the present commit index.
func (r *Raft) tickCommit() {
	if r.written.commit < min(r.commitIndex, r.durable) {
		r.written.commitAge++
	}
}

// commitDue reports whether the commit index is to be written for its own sake.
func (r *Raft) commitDue() bool {
	return r.config.CommitTicks > 0 && r.written.commitAge >= r.config.CommitTicks
}

const unlimited = int(^uint(0) >> 1)

// Saved tells the server that the write with this sequence number is on the platter.
// What the write makes true may now be relied on: answers leave, and the candidate's
// own vote and the leader's own entries count.
func (r *Raft) Saved(seq uint64) {
	if seq != r.saved+1 || seq != r.written.seq {
		broken("write %d saved, but %d is under way", seq, r.written.seq)
	}
	r.noteDiskBack()
	r.saved = seq
	r.noteSync(seq, r.writeAge)
	r.writeAge = 0
	r.durable = r.written.last
	if r.role == Leader {
		r.unsavedBytes = r.log.bytes(r.durable + 1)
	}
	r.held = slices.DeleteFunc(r.held, func(h held) bool {
		if h.seq > r.saved || h.index > r.durable {
			return false
		}
		r.answers = append(r.answers, h.Answer)
		return true
	})
	r.countOwnVote()
	r.advanceCommitIndex()
}

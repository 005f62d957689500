package core

import "fmt"

// Observed is the part of a server's state that the delta checks compare.
type Observed struct {
	ID          ID
	Role        Role
	Term        uint64
	VotedFor    ID
	Leader      ID
	CommitIndex uint64
	LastApplied uint64
	LastIndex   uint64
	LastTerm    uint64
	// SnapshotIndex is the index of the newest snapshot that was taken here or came
	// from the leader; 0 if there is none.
	SnapshotIndex uint64
	Durable       uint64 // last index known to be on the disk
	Saved         uint64 // last write known to be on the disk
	Round         uint64
}

// Observe returns the present state. O(1).
func (r *Raft) Observe() Observed {
	return Observed{
		ID: r.config.ID, Role: r.role, Term: r.currentTerm, VotedFor: r.votedFor, Leader: r.leader,
		CommitIndex: r.commitIndex, LastApplied: r.lastApplied,
		LastIndex: r.log.lastIndex(), LastTerm: r.log.lastTerm(), SnapshotIndex: r.log.snapshot.Index,
		Durable: r.durable, Saved: r.saved, Round: r.round,
	}
}

// CheckStep reports a change between two states of one server, in this order,
// that the rules do not allow. Ready makes this check on every call and panics.
func CheckStep(before, after Observed) error {
	fault := func(format string, args ...any) error {
		return fmt.Errorf("core: %s: %s (before %+v, after %+v)", after.ID, fmt.Sprintf(format, args...), before, after)
	}
	sameTerm := before.Term == after.Term
	switch {
	case after.Term < before.Term:
		return fault("the term fell")
	case sameTerm && before.VotedFor != None && after.VotedFor != before.VotedFor:
		return fault("the vote changed within a term")
	case sameTerm && before.Role == Leader && after.Role == Leader && after.LastIndex < before.LastIndex:
		return fault("a leader truncated its log (Leader Append-Only)")
	case sameTerm && before.Role == Leader && after.Role != Leader && after.Role != Follower && after.Role != PreCandidate:
		return fault("a leader stood for election in its own term")
	case sameTerm && before.Role != Candidate && before.Role != Leader && after.Role == Leader && before.VotedFor != after.ID && before.VotedFor != None:
		return fault("a server became leader in a term in which it voted for another")
	case after.CommitIndex < before.CommitIndex:
		return fault("the commit index fell")
	case after.LastApplied < before.LastApplied:
		return fault("the applied index fell")
	case after.LastApplied > after.CommitIndex:
		return fault("an uncommitted entry was applied")
	case after.CommitIndex > after.LastIndex:
		return fault("the commit index is beyond the log's end")
	case after.Durable > after.LastIndex:
		return fault("more is durable than the log holds")
	case after.SnapshotIndex < before.SnapshotIndex:
		return fault("the snapshot went back")
	case after.SnapshotIndex > after.CommitIndex:
		return fault("the snapshot holds what is not committed")
	case after.LastTerm > after.Term:
		return fault("the log is of a later term than the server")
	case after.Saved < before.Saved:
		return fault("a write was un-saved")
	case after.Round < before.Round:
		return fault("the read round fell")
	}
	return nil
}

// Check reports a state that the rules do not allow. It walks the whole log:
// for tests and the simulator.
func (r *Raft) Check() error {
	if err := r.log.check(); err != nil {
		return err
	}
	fault := func(format string, args ...any) error {
		return fmt.Errorf("core: %s: %s", r.config.ID, fmt.Sprintf(format, args...))
	}
	switch {
	case r.role == Leader && r.leader != r.config.ID:
		return fault("leader follows %q", r.leader)
	case (r.role == Leader || r.role == Candidate) && r.votedFor != r.config.ID:
		return fault("%v did not vote for itself but for %q", r.role, r.votedFor)
	case r.applying < r.lastApplied || r.applying > r.commitIndex:
		return fault("applying %d outside [%d, %d]", r.applying, r.lastApplied, r.commitIndex)
	case r.log.base.Index > max(r.lastApplied, r.log.snapshot.Index):
		return fault("entries up to %d are forgotten, applied are those up to %d", r.log.base.Index, r.lastApplied)
	case r.dirty.from != 0 && r.dirty.from < r.log.firstIndex():
		return fault("changes marked at %d, which the log has forgotten (it starts at %d)", r.dirty.from, r.log.firstIndex())
	case r.dirty.from > r.log.lastIndex()+1:
		return fault("changes marked at %d beyond the log's end %d", r.dirty.from, r.log.lastIndex())
	case r.dirty.from == 0 && r.written.seq == r.saved && r.durable != r.log.lastIndex():
		return fault("nothing to write but durable %d is not the log's end %d", r.durable, r.log.lastIndex())
	case r.configuration != r.log.newest().Configuration || len(r.members) != len(r.configuration.Places):
		return fault("it counts by another configuration than the newest of its log, of entry %d", r.log.newest().Index)
	case len(r.leaving) > 0 && r.role != Leader:
		return fault("%v sees %d servers off", r.role, len(r.leaving))
	case r.dirty.from != 0 && r.durable >= r.dirty.from:
		return fault("durable %d covers a change at %d", r.durable, r.dirty.from)
	}
	if want := r.log.sizeOf(r.lastApplied+1, r.commitIndex); r.unappliedBytes != want {
		return fault("unapplied bytes counted as %d, are %d", r.unappliedBytes, want)
	}
	if r.role != Leader {
		return nil
	}
	if want := r.log.bytes(r.commitIndex + 1); r.uncommittedBytes != want {
		return fault("uncommitted bytes counted as %d, are %d", r.uncommittedBytes, want)
	}
	if want := r.log.bytes(r.durable + 1); r.durable >= r.log.base.Index && r.unsavedBytes != want {
		return fault("bytes that are not on the disk counted as %d, are %d", r.unsavedBytes, want)
	}
	for i, read := range r.reads {
		if i > 0 && read.round != 0 && (r.reads[i-1].round == 0 || r.reads[i-1].round > read.round) {
			return fault("a read of round %d stands behind one of round %d", read.round, r.reads[i-1].round)
		}
	}
	for p := range r.followers {
		if err := p.check(r.log.lastIndex()); err != nil {
			return fault("%v", err)
		}
	}
	return nil
}

func (p *progress) check(lastIndex uint64) error {
	bytes := 0
	for _, size := range p.inflightSizes {
		bytes += size
	}
	switch {
	case p.nextIndex <= p.matchIndex:
		return fmt.Errorf("next %d is not above match %d of %s", p.nextIndex, p.matchIndex, p.id)
	case p.matchIndex > lastIndex:
		return fmt.Errorf("match %d of %s is beyond the log's end %d", p.matchIndex, p.id, lastIndex)
	case p.nextIndex > lastIndex+1:
		return fmt.Errorf("next %d of %s is beyond the log's end %d", p.nextIndex, p.id, lastIndex)
	case bytes != p.inflightBytes || len(p.inflight) != len(p.inflightSizes):
		return fmt.Errorf("bytes in flight to %s counted as %d, are %d", p.id, p.inflightBytes, bytes)
	case p.probe.last != 0 && (p.pipelining || p.probe.last != p.nextIndex-1):
		return fmt.Errorf("a probe of %s ends at %d, next is %d, pipelining %v", p.id, p.probe.last, p.nextIndex, p.pipelining)
	case !p.pipelining && len(p.inflight) > 0:
		return fmt.Errorf("probing %s with %d in flight", p.id, len(p.inflight))
	}
	return nil
}

// Broken is what a server panics with when it hears or holds something that Raft
// excludes while every server keeps its disk: two histories have met. It is not a
// mistake of the program. A disk was put back to an earlier state somewhere, or
// clusters were mixed. The server must end, and its driver should tell people; what
// the server holds may be all that is left of what was acknowledged.
//
// None of the places that raise it can be reached otherwise:
//
//   - What is committed here was confirmed by a majority in a term that is not later
//     than the present one. Whoever leads this term was elected by a majority that
//     shares a server with the first, so its log holds the same entries (§5.4.3). An
//     AppendEntries or InstallSnapshot of this term that says otherwise comes from a
//     leader whose voters had forgotten what they confirmed.
//   - For the same reason a follower that answers in a leader's own term has
//     committed nothing beyond that leader's log.
//   - A leader gives a read index after it has committed in its own term, and a
//     majority confirms later than the read came that it still leads. What a follower
//     had committed when it asked was therefore committed in that term or an earlier
//     one, and lies below the leader's own commit index.
type Broken struct{ Reason string }

func (b *Broken) Error() string {
	return "two histories of this cluster have met: " + b.Reason +
		". Somewhere a data directory was put back to an earlier state, or directories of different clusters were mixed. " +
		"Keep the data directories of all nodes, stop the cluster, and start it again from the nodes whose log is longest; " +
		"a node whose directory was put back comes back with --rejoin on an empty one"
}

// contradiction ends this server: see Broken.
func contradiction(format string, args ...any) {
	panic(&Broken{Reason: fmt.Sprintf(format, args...)})
}

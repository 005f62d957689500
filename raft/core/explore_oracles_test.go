package core

import (
	"fmt"
	"slices"
)

// The promises that are asked for in every world: the five of Figure 3, and those of
// durable.go. They look at what is on disks and in messages, as those of
// oracles_test.go do, and keep nothing that two equal worlds could differ in.

// Check returns the promise that the last step broke.
func (w *exWorld) Check(end bool) error {
	if w.fault != nil {
		return w.fault
	}
	if end && !w.bounds.silent {
		return w.judgeEnd()
	}
	return nil
}

// judgeState watches a server's state after a step: Election Safety, Leader
// Completeness, State Machine Safety, Log Matching, and a majority of disks behind
// what a leader commits. The core itself watches Leader Append-Only (CheckStep).
func (w *exWorld) judgeState(i int, before, now Observed) {
	r := w.nodes[i].core
	if err := r.Check(); err != nil {
		w.failf("%w", err)
		return
	}
	if !slices.EqualFunc(r.members, w.bounds.ids, func(s memberState, id ID) bool { return s.id == id }) {
		w.failf("the explorer takes the members for fixed, and %s has others: %+v", now.ID, r.members)
	}
	if now.Role == Leader && w.leaders[now.Term] != uint8(i+1) {
		if other := w.leaders[now.Term]; other != 0 {
			w.failf("Election Safety: %s and %s both lead term %d", w.bounds.ids[other-1], now.ID, now.Term)
			return
		}
		w.leaders[now.Term] = uint8(i + 1)
		for index := range w.chosen {
			w.complete(i, uint64(index+1))
		}
	}
	base := r.log.base
	if base.Index > uint64(len(w.chosen)) || base.Index > 0 && w.chosen[base.Index-1].term != base.Term {
		w.failf("%s has a snapshot at %d@%d of what was never committed", now.ID, base.Index, base.Term)
		return
	}
	for index := max(before.CommitIndex, base.Index) + 1; index <= now.CommitIndex; index++ {
		w.committed(i, r.log.entries[index-base.Index-1])
	}
	for j := range w.bounds.servers {
		other := w.nodes[j]
		if j != i {
			w.matches(i, r.log.base, r.log.entries, j, other.core.log.base, other.core.log.entries)
		}
		w.matches(i, r.log.base, r.log.entries, j, position{other.disk.Snapshot.Index, other.disk.Snapshot.Term}, other.disk.Entries)
	}
}

// committed takes note of an entry that a server takes for committed.
func (w *exWorld) committed(i int, e Entry) {
	id, term := w.bounds.ids[i], w.nodes[i].core.currentTerm
	if e.Index <= uint64(len(w.chosen)) {
		if old := w.chosen[e.Index-1]; old.term != e.Term || old.sum != e.Sum {
			w.failf("State Machine Safety: %d is committed as %d@%d, and by %s as %d@%d", e.Index, e.Index, old.term, id, e.Index, e.Term)
		}
		return
	}
	w.chosen = append(slices.Clip(w.chosen), exChoice{term: e.Term, by: term, sum: e.Sum})
	for j := range w.bounds.servers {
		if w.nodes[j].core.role == Leader {
			w.complete(j, e.Index)
		}
	}
	holders := 0 // servers: one that lost a disk counts once
	for j := range w.bounds.servers {
		if w.nodes[j].disk.holds(e.Index, e.Term) || slices.ContainsFunc(w.former, func(f exFormer) bool {
			return f.server == j && slices.Contains(f.log, position{e.Index, e.Term})
		}) {
			holders++
		}
	}
	if 2*holders <= w.bounds.servers {
		w.failf("%s commits %d@%d, which only %d of %d disks hold", id, e.Index, e.Term, holders, w.bounds.servers)
	}
}

// complete checks that a leader has an entry that was committed in an earlier term.
func (w *exWorld) complete(leader int, index uint64) {
	r, c := w.nodes[leader].core, w.chosen[index-1]
	if r.currentTerm <= c.by || index <= r.log.base.Index {
		return
	}
	if term, ok := r.log.term(index); !ok || term != c.term {
		w.failf("Leader Completeness: %s leads term %d without %d@%d, committed in term %d", r.config.ID, r.currentTerm, index, c.term, c.by)
	}
}

// matches checks two logs: where they have the same entry, they have the same before.
func (w *exWorld) matches(i int, base position, log []Entry, j int, otherBase position, other []Entry) {
	last := min(base.Index+uint64(len(log)), otherBase.Index+uint64(len(other)))
	same := false
	for index := last; index > max(base.Index, otherBase.Index); index-- {
		a, b := &log[index-base.Index-1], &other[index-otherBase.Index-1]
		switch {
		case a.Term == b.Term && a.Sum == b.Sum:
			same = true
		case same || a.Term == b.Term:
			w.failf("Log Matching: at %d %s has an entry of term %d and %s one of term %d, and a later one in common",
				index, w.bounds.ids[i], a.Term, w.bounds.ids[j], b.Term)
			return
		}
	}
}

// judgeWrite watches a disk: its term never falls, and it has one vote a term.
func (w *exWorld) judgeWrite(i int, d *State, x *Write) {
	id, last := w.bounds.ids[i], d.Snapshot.Index+uint64(len(d.Entries))
	switch {
	case x.Term < d.Term:
		w.failf("the term on the disk of %s falls from %d to %d", id, d.Term, x.Term)
	case x.Term == d.Term && d.VotedFor != None && x.VotedFor != d.VotedFor:
		w.failf("double vote: on its disk %s votes for %s and then for %s in term %d", id, d.VotedFor, x.VotedFor, x.Term)
	case x.From > last+1 && (x.Snapshot == nil || x.From != x.Snapshot.Index+1):
		w.failf("%s writes entries from %d on behind a log that ends at %d", id, x.From, last)
	case x.Snapshot != nil && last < x.Snapshot.Index && x.From != x.Snapshot.Index+1:
		w.failf("%s writes a snapshot at %d behind a log that ends at %d, as if it were its own", id, x.Snapshot.Index, last)
	}
}

// judgeCall watches that a request leaves only when the sender's disk holds the term
// it speaks in, and the vote that it asks others to join.
func (w *exWorld) judgeCall(i int, call Call) {
	switch req := call.Request.(type) {
	case *RequestVote:
		if !req.Pre {
			w.judgeVote(i, req.Term, req.CandidateID)
		}
	case *AppendEntries:
		w.judgeTerm(i, req.Term)
		if err := req.Valid(); err != nil {
			w.failf("%s sends an impossible message: %w", w.bounds.ids[i], err)
		}
	case *InstallSnapshot:
		w.judgeTerm(i, req.Term)
	}
}

// judgeAnswer watches that an answer leaves only when what it promises is on the disk.
// A promise of an older term is kept by having entered a newer one.
func (w *exWorld) judgeAnswer(i int, m *exItem, reply Reply) {
	disk, id := &w.nodes[i].disk, w.bounds.ids[i]
	switch rep := reply.(type) {
	case *RequestVoteReply:
		w.judgeTerm(i, rep.Term)
		req := m.call.Request.(*RequestVote)
		if rep.VoteGranted && !req.Pre {
			w.judgeVote(i, req.Term, req.CandidateID)
		}
	case *InstallSnapshotReply:
		w.judgeTerm(i, rep.Term)
		req := m.call.Request.(*InstallSnapshot)
		if rep.Term == req.Term && disk.Term == rep.Term && !disk.holds(req.Snapshot.Index, req.Snapshot.Term) {
			w.failf("dishonest answer: %s says that it holds the snapshot at %d, its disk does not", id, req.Snapshot.Index)
		}
	case *AppendEntriesReply:
		w.judgeTerm(i, rep.Term)
		req := m.call.Request.(*AppendEntries)
		if !rep.Success || disk.Term > rep.Term {
			return
		}
		ok := disk.holds(req.PrevLogIndex, req.PrevLogTerm)
		for k := range req.Entries {
			ok = ok && disk.holds(req.Entries[k].Index, req.Entries[k].Term)
		}
		if !ok {
			w.failf("dishonest answer: %s says that it holds up to %d, its disk does not", id, req.PrevLogIndex+uint64(len(req.Entries)))
		}
	}
}

func (w *exWorld) judgeTerm(i int, term uint64) {
	if disk := &w.nodes[i].disk; disk.Term < term {
		w.failf("dishonest: %s speaks in term %d, its disk is in term %d", w.bounds.ids[i], term, disk.Term)
	}
}

func (w *exWorld) judgeVote(i int, term uint64, candidate ID) {
	disk := &w.nodes[i].disk
	if disk.Term < term || disk.Term == term && disk.VotedFor != candidate {
		w.failf("dishonest vote: %s votes for %s in term %d, its disk has term %d and vote %q", w.bounds.ids[i], candidate, term, disk.Term, disk.VotedFor)
	}
}

// judgeBatch watches State Machine Safety at the state machine itself.
func (w *exWorld) judgeBatch(i int, batch *Batch) {
	id, next := w.bounds.ids[i], w.nodes[i].core.lastApplied+1
	if s := batch.Snapshot; s != nil {
		if s.Index < next || s.Index > uint64(len(w.chosen)) || w.chosen[s.Index-1].term != s.Term {
			w.failf("State Machine Safety: %s restores a snapshot at %d@%d behind entry %d", id, s.Index, s.Term, next-1)
		}
		return
	}
	for k := range batch.Entries {
		e := &batch.Entries[k]
		if e.Index != next || next > uint64(len(w.chosen)) || w.chosen[next-1].term != e.Term || w.chosen[next-1].sum != e.Sum {
			w.failf("State Machine Safety: %s applies %d@%d behind entry %d", id, e.Index, e.Term, next-1)
			return
		}
		next++
	}
}

// judgeRead watches that no read sees less than was committed when it was asked.
func (w *exWorld) judgeRead(i int, done ReadDone) {
	k := slices.IndexFunc(w.floors, func(f exFloor) bool { return f.tag == done.Tag })
	if k < 0 {
		w.failf("%s ends read %d, which was not asked or ended before", w.bounds.ids[i], done.Tag)
		return
	}
	if floor := w.floors[k].floor; done.Err == nil && done.Index < floor {
		w.failf("stale read: %s serves a read at %d, %d was committed before it was asked", w.bounds.ids[i], done.Index, floor)
	}
	w.floors = slices.Delete(slices.Clone(w.floors), k, k+1)
}

// judgeEnd looks at a world in which nothing can happen any more: whoever leads the
// latest term has brought all others to its own log and commit index, and has
// committed what it has of its own term. A follower may have more entries: the leader
// lets it drop them when it has others to put in their place (§5.3).
func (w *exWorld) judgeEnd() error {
	leader := -1
	for i := range w.bounds.servers {
		if r := w.nodes[i].core; leader < 0 || r.currentTerm > w.nodes[leader].core.currentTerm || r.role == Leader && r.currentTerm == w.nodes[leader].core.currentTerm {
			leader = i
		}
	}
	l := w.nodes[leader].core
	if l.role != Leader {
		return w.judgeNoLeader(l.currentTerm)
	}
	stuck := func(format string, args ...any) error {
		return fmt.Errorf("stuck: nothing can happen any more, and %s", fmt.Sprintf(format, args...))
	}
	if l.commitIndex < l.log.lastIndex() && l.log.lastTerm() == l.currentTerm {
		return stuck("%s, which leads, has committed up to %d of %d", l.config.ID, l.commitIndex, l.log.lastIndex())
	}
	for i := range w.bounds.servers {
		r := w.nodes[i].core
		switch {
		case r.currentTerm != l.currentTerm || r.leader != l.config.ID:
			return stuck("%s does not follow %s", r.config.ID, l.config.ID)
		case !r.log.reaches(l.log.lastIndex(), l.log.lastTerm()):
			return stuck("the log of %s ends at %d@%d, that of its leader %s at %d@%d", r.config.ID,
				r.log.lastIndex(), r.log.lastTerm(), l.config.ID, l.log.lastIndex(), l.log.lastTerm())
		case r.commitIndex != l.commitIndex:
			return stuck("%s has committed up to %d, its leader %s up to %d", r.config.ID, r.commitIndex, l.config.ID, l.commitIndex)
		case r.rejoining.On:
			return stuck("%s has not rejoined", r.config.ID)
		}
	}
	if len(w.floors) > 0 && l.committedInTerm() { // before that none may end (§8), and Config.Noop is there for it
		return stuck("%d reads have not ended", len(w.floors))
	}
	return nil
}

// judgeNoLeader looks at an end at which nobody leads the latest term: the bounds allow no
// more campaigns. If no answer can have been lost, nobody stands there who has the votes of a
// majority on their disks.
func (w *exWorld) judgeNoLeader(term uint64) error {
	if b := &w.bounds.limit; b.losses > 0 || b.cuts > 0 || b.wipes > 0 || b.checks > 0 {
		return nil
	}
	for i := range w.bounds.servers {
		if r := w.nodes[i].core; r.role != Candidate || r.currentTerm != term {
			continue
		}
		votes := 0
		for j := range w.bounds.servers {
			if disk := &w.nodes[j].disk; disk.Term == term && disk.VotedFor == w.bounds.ids[i] {
				votes++
			}
		}
		if 2*votes > w.bounds.servers {
			return fmt.Errorf("stuck: nothing can happen any more, and %s, which has the votes of %d servers in term %d, does not lead", w.bounds.ids[i], votes, term)
		}
	}
	return nil
}

// reaches reports whether a log has an entry.
func (l *log) reaches(index, term uint64) bool {
	here, ok := l.term(index)
	return ok && here == term
}

// positions returns the entries that a disk holds.
func (s *State) positions() (list []position) {
	for index := uint64(1); index <= s.Snapshot.Index; index++ {
		list = append(list, position{index, s.Snapshot.Term})
	}
	for _, e := range s.Entries {
		list = append(list, position{e.Index, e.Term})
	}
	return list
}

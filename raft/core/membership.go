package core

import (
	"fmt"
	"slices"

	"raftkv/raft/members"
)

// Changes of the membership by joint consensus (§6; thesis 4.3). A change to other
// voters takes two entries: the joint configuration, in which a decision takes a
// majority of the former voters and one of the voters to be, and the final one, which
// leaves the former out. The final one is appended when the joint one is committed,
// and by nothing else. So there is no moment at which two majorities could decide
// apart, however many servers a change replaces at once.
//
// A change that leaves the voters as they are takes one entry: learners that come and
// go (thesis 4.2.1), addresses, settings.
//
// One change is under way at a time, and nothing ends a joint configuration but its
// final one.

// Reconfigure appends the configuration that wanted says, if from is the index of the
// newest one, and returns its position; see members.Next for what wanted means. It is
// a proposal like one of Propose: it is chosen when an entry of this index and this
// term is committed. Final configurations follow by themselves.
//
// Errors, after which nothing was appended: ErrNotLeader, ErrConfigurationChanged,
// ErrTransferring, ErrChangeInProgress, or a sentence that says what cannot be.
func (r *Raft) Reconfigure(wanted members.Record, from uint64) (index, term uint64, err error) {
	now := r.log.newest()
	switch {
	case r.role != Leader:
		return 0, 0, ErrNotLeader
	case from != now.Index:
		return 0, 0, fmt.Errorf("%w: it is that of entry %d, not of %d", ErrConfigurationChanged, now.Index, from)
	case r.transferee != None:
		return 0, 0, ErrTransferring
	case now.Joint || now.Index > r.commitIndex || !r.committedInTerm():
		return 0, 0, ErrChangeInProgress
	case r.log.uid != (UID{}) && wanted.UID != r.log.uid:
		return 0, 0, fmt.Errorf("core: the cluster is %s, not %s", r.log.uid, wanted.UID)
	}
	next, err := members.Next(now.Configuration, now.Record, wanted)
	if err != nil {
		return 0, 0, err
	}
	if next.Joint() {
		final := next.Final()
		final.Stamp(^uint64(0)) // the longest it can become
		if _, err := final.Encode(); err != nil {
			return 0, 0, err
		}
	}
	entry, err := r.configurationEntry(next)
	if err != nil {
		return 0, 0, err
	}
	r.appendToLog(entry)
	return entry.Index, entry.Term, nil
}

// configurationEntry returns the next entry of the log with a record as its data.
func (r *Raft) configurationEntry(record members.Record) (Entry, error) {
	index := r.log.lastIndex() + 1
	record.Stamp(index)
	data, err := record.Encode()
	if err != nil {
		return Entry{}, err
	}
	return NewEntry(index, r.currentTerm, KindConfiguration, data), nil
}

// continueChange does what the commit of a configuration makes due: behind a joint one
// the final one is appended, also by a leader that found the joint one in its log; a
// leader that the final one leaves out hands over. It is called when this leader has
// committed an entry of its own term.
func (r *Raft) continueChange() {
	now := r.log.newest()
	switch {
	case now.Record == nil || now.Index > r.commitIndex:
	case now.Joint:
		entry, err := r.configurationEntry(now.Record.Final())
		if err != nil {
			broken("the joint configuration of entry %d has no final one: %v", now.Index, err)
		}
		r.appendToLog(entry)
	case r.isOutside() && r.transferee == None:
		r.handOver()
	}
}

// mayStand reports whether this server may campaign: if it votes in either half, or if
// it did in a configuration that the newest replaces, until the newest is committed. It
// may be needed to commit the very entry that removes it (thesis 4.2.2).
func (r *Raft) mayStand() bool {
	for _, e := range slices.Backward(r.log.editions) {
		if e.Votes(r.config.ID) != 0 {
			return true
		}
		if e.Index <= r.commitIndex {
			return false
		}
	}
	return false
}

// isVoter reports whether a server votes in the new half. Only such a server is asked
// to take over.
func (r *Raft) isVoter(id ID) bool { return r.configuration.Votes(id)&members.NewHalf != 0 }

// isRemoved reports whether a server is in no configuration that may still be in force
// anywhere. Where there is no record, nobody was removed.
func (r *Raft) isRemoved(id ID) bool {
	for _, e := range slices.Backward(r.log.editions) {
		if e.Record == nil || e.Position(id) >= 0 {
			return false
		}
		if e.Index <= r.commitIndex {
			return true
		}
	}
	return false
}

// isOutside reports whether this leader has no vote in the configuration that is in
// force for good: its change has ended. Until then it leads, and does not count itself
// (§6, third issue).
func (r *Raft) isOutside() bool {
	now := r.log.newest()
	return r.role == Leader && now.Record != nil && !now.Joint && now.Index <= r.commitIndex && !r.isVoter(r.config.ID)
}

// handOver begins to give leadership up: everybody is told the commit index, and the
// voter whose log is most complete is told to campaign when it has all of this one's
// (sendTimeoutNow). What was proposed until now goes on with it.
func (r *Raft) handOver() {
	for p := range r.followers {
		p.heartbeat()
	}
	if to := r.mostComplete(); to != None { // else it steps down with the next look at its majority
		r.transferee = to
		r.timeoutNow = false
		r.electionElapsed = 0
	}
}

// stepAside gives leadership up at once, with the voter whose log is most complete
// told to campaign.
func (r *Raft) stepAside() {
	to := r.mostComplete()
	if to != None {
		r.call(to, &TimeoutNow{Term: r.currentTerm, LeaderID: r.config.ID})
	}
	r.note(Note{Kind: NoteSteppedDown, Why: WhyTransfer, Peer: to})
	r.becomeFollower(r.currentTerm, None)
}

// leaver is a server that the newest configuration does not have and the one before
// did. It is sent entries like a follower, and counts in nothing, until it knows that
// it was removed.
type leaver struct {
	progress progress
	until    uint64 // index of the configuration that removed it
	age      int    // ticks since
}

// leavingTimeouts is the number of election timeouts for which a leader sends entries
// to a server that was removed and does not confirm them.
const leavingTimeouts = 10

// seeOff lets the servers be sent the rest that a configuration had and the one in
// force has not. Those that have come back as members are on no way out any more.
func (r *Raft) seeOff(before *members.Configuration, table []memberState) {
	r.leaving = slices.DeleteFunc(r.leaving, func(l leaver) bool { return r.configuration.Position(l.progress.id) >= 0 })
	for i, p := range before.Places {
		if r.configuration.Position(p.ID) < 0 && p.ID != r.config.ID {
			r.leaving = append(r.leaving, leaver{progress: table[i].progress, until: r.log.newest().Index})
		}
	}
}

// seeOffAgain does the same for a new leader that finds the configuration which
// removed servers at the end of its history: its predecessor may not have got so far.
func (r *Raft) seeOffAgain() {
	r.leaving = nil
	n := len(r.log.editions)
	if n < 2 {
		return
	}
	before := r.log.editions[n-2].Configuration
	table := make([]memberState, len(before.Places))
	for i, p := range before.Places {
		table[i].progress = r.newProgress(p.ID)
	}
	r.seeOff(before, table)
}

// noteLeft drops a server that leaves when it holds the configuration that removed it
// and knows it to be committed.
func (r *Raft) noteLeft(id ID, commit uint64) {
	r.leaving = slices.DeleteFunc(r.leaving, func(l leaver) bool {
		return l.progress.id == id && min(l.progress.matchIndex, commit) >= l.until
	})
}

// tickMembers counts what is counted in ticks of members: the rounds of learners, the
// silence of all, the time of those that leave.
func (r *Raft) tickMembers() {
	last := r.log.lastIndex()
	for i := range r.members {
		p := &r.members[i].progress
		p.unheard++
		if r.configuration.Places[i].Votes == 0 {
			p.catchUp.tick(p.matchIndex, last)
		}
	}
	if len(r.leaving) > 0 {
		r.leaving = slices.DeleteFunc(r.leaving, func(l leaver) bool {
			return l.age >= leavingTimeouts*r.config.ElectionTicks
		})
		for i := range r.leaving {
			r.leaving[i].age++
		}
	}
}

// Configurations are the two that matter to everybody but the core.
type Configurations struct {
	Newest    members.Version // in force: what this server counts by; zero if there is no record
	Committed members.Version // the newest that is known to be committed; zero if no record is
}

// Configurations returns the present ones.
func (r *Raft) Configurations() Configurations {
	committed, known := r.log.editionAt(r.commitIndex)
	if !known {
		broken("no configuration is known at the commit index %d", r.commitIndex)
	}
	return Configurations{Newest: r.log.newest().Version, Committed: committed.Version}
}

// ConfigurationAt returns the newest configuration of the log up to index: what a
// snapshot at index carries. Zero if there is no record, or if it was forgotten.
func (r *Raft) ConfigurationAt(index uint64) members.Version {
	e, _ := r.log.editionAt(index)
	return e.Version
}

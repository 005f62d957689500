package core

import (
	"fmt"
	"slices"

	"raftkv/raft/members"
)

// A server counts by the newest configuration in its log, whether committed or not,
// from the moment that it is appended (§6). When the log is truncated, the one before
// is in force again. So the log itself keeps the configurations that it holds: they are
// appended, truncated and compacted with their entries, and a restart finds the same.

// edition is one configuration that a log holds.
type edition struct {
	members.Version        // zero for the static list of Config.Peers
	*members.Configuration // what its record says of counting
}

func newEdition(v members.Version) edition {
	return edition{Version: v, Configuration: v.Record.Configuration()}
}

// static returns the configuration of a log that has no record: these servers vote.
// It panics if one is named twice, or if self is not among them and there are any. A
// server that joins a cluster has no list, and takes part in nothing but by voting
// and by taking entries until the log tells it of a configuration.
func static(voters []ID, self ID) edition {
	c := members.Static(voters)
	ids := c.Voters()
	assert(len(slices.Compact(slices.Clone(ids))) == len(ids), "a server is named twice in %v", ids)
	assert(len(ids) == 0 || slices.Contains(ids, self), "server %q is not one of %v", self, ids)
	return edition{Configuration: c}
}

// begin makes an edition the one that the log begins with: the newest at or below its
// snapshot.
func (l *log) begin(static edition) {
	l.static = static
	first := static
	if v := l.snapshot.Members; v.Record != nil {
		assert(v.Index <= l.snapshot.Index, "the snapshot at %d carries the configuration of entry %d", l.snapshot.Index, v.Index)
		first = newEdition(v)
	}
	l.editions = []edition{first}
}

// noteConfiguration remembers the configuration that an entry at the end of the log
// brings. It stops the server if no log can have that one behind the one before: their
// majorities might not meet.
func (l *log) noteConfiguration(e *Entry) {
	if e.Kind != KindConfiguration {
		return
	}
	record, err := members.Decode(e.Data)
	if err != nil {
		broken("%v", e.unknown(err))
	}
	if l.uid != (UID{}) && record.UID != l.uid {
		broken("entry %d of term %d brings the members of the cluster %s, and this one is %s", e.Index, e.Term, record.UID, l.uid)
	}
	if before := l.newest(); before.Record != nil {
		if err := record.Follows(before.Record); err != nil {
			broken("entry %d of term %d cannot follow the configuration of entry %d: %v", e.Index, e.Term, before.Index, err)
		}
	}
	l.editions = append(l.editions, newEdition(members.Version{Index: e.Index, Record: record}))
}

// newest returns the configuration that is in force: the newest of the log.
func (l *log) newest() edition { return l.editions[len(l.editions)-1] }

// editionAt returns the newest configuration at or below index; false if the log has
// forgotten which that was.
func (l *log) editionAt(index uint64) (edition, bool) {
	for i := len(l.editions) - 1; i >= 0; i-- {
		if e := l.editions[i]; e.Index <= index {
			return e, true
		}
	}
	return edition{}, false
}

// truncateEditions drops the configurations of the entries at index and above.
func (l *log) truncateEditions(index uint64) {
	for len(l.editions) > 1 && l.newest().Index >= index {
		l.editions = l.editions[:len(l.editions)-1]
	}
}

// forgetEditions drops the configurations that were replaced by others at or below
// the newest snapshot.
func (l *log) forgetEditions() {
	for len(l.editions) > 1 && l.editions[1].Index <= l.snapshot.Index {
		l.editions = slices.Clone(l.editions[1:])
	}
}

// checkEditions reports configurations that are not those of the log.
func (l *log) checkEditions() error {
	var held []uint64 // by the entries in memory, behind the snapshot
	for _, e := range l.entries {
		if e.Kind == KindConfiguration && e.Index > l.snapshot.Index {
			held = append(held, e.Index)
		}
	}
	var known []uint64
	for i, e := range l.editions {
		switch {
		case i == 0 && e.Index > l.snapshot.Index, i > 0 && e.Index <= max(l.editions[i-1].Index, l.snapshot.Index), e.Index > l.lastIndex():
			return fmt.Errorf("core: the configuration of entry %d is number %d of a log from the snapshot at %d to %d", e.Index, i, l.snapshot.Index, l.lastIndex())
		case i > 0 && e.Index > l.base.Index:
			known = append(known, e.Index)
		}
	}
	if !slices.Equal(held, known) {
		return fmt.Errorf("core: configurations are known of the entries %v, and the log has them at %v", known, held)
	}
	return nil
}

// memberState is what this server keeps of one member, itself included: a row of the
// table Raft.members, which is sorted by ID. Row i is that of Places[i].
type memberState struct {
	id       ID
	vote     vote         // its answer in the present campaign (election.go)
	progress progress     // leader: how far it is as a follower (progress.go); reset by becomeLeader
	rejoin   rejoinAnswer // what it answered while this server asks to rejoin (rejoin.go)
}

// adopt lets the newest configuration of the log be in force. It is called whenever
// the log has changed. What is kept of a member belongs to its ID and to the entry that
// added it: an ID that comes again starts at nothing.
func (r *Raft) adopt() {
	now := r.log.newest().Configuration
	if now == r.configuration {
		return
	}
	before, table := r.configuration, r.members
	r.configuration = now
	r.members = make([]memberState, len(now.Places))
	for i, p := range now.Places {
		r.members[i] = memberState{id: p.ID}
		if j := positionOf(before, p); j >= 0 {
			r.members[i] = table[j]
		} else if r.role == Leader {
			r.members[i].progress = r.freshProgress(p.ID)
		}
	}
	if r.role == Leader {
		r.seeOff(before, table)
	}
}

// positionOf returns where a member stands in an earlier configuration, -1 if it is
// not the same there. The members of a static list are those of the first record.
func positionOf(c *members.Configuration, p members.Place) int {
	if c == nil {
		return -1
	}
	i := c.Position(p.ID)
	if i >= 0 && c.Places[i].Added != p.Added && c.Places[i].Added != 0 && p.Added != 0 {
		return -1
	}
	return i
}

// member returns what is kept of a member, nil if the configuration does not have
// it.
func (r *Raft) member(id ID) *memberState {
	if i := r.configuration.Position(id); i >= 0 {
		return &r.members[i]
	}
	return nil
}

// self returns the row of this server, nil if it is no member.
func (r *Raft) self() *memberState { return r.member(r.config.ID) }

// isAlone reports whether this server decides everything by itself.
func (r *Raft) isAlone() bool {
	return r.configuration.HasQuorum(func(i int) bool { return r.members[i].id == r.config.ID })
}

// followers yields, on a leader, the progress of every other member, in the order
// of their IDs, and then of the servers that are on their way out.
func (r *Raft) followers(yield func(*progress) bool) {
	for i := range r.members {
		if s := &r.members[i]; s.id != r.config.ID && !yield(&s.progress) {
			return
		}
	}
	for i := range r.leaving {
		if !yield(&r.leaving[i].progress) {
			return
		}
	}
}

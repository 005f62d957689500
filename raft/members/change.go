package members

import (
	"fmt"
	"slices"
)

// First returns the edition with which a cluster begins its register: the servers of
// its static list, all of which vote.
func First(uid UID, level uint32, voters []ID) Record {
	r := Record{UID: uid, Generation: FirstGeneration, Level: level, Settings: DefaultSettings(len(voters))}
	for _, id := range voters {
		r.Put(Member{ID: id, Role: Voter, WasVoter: true})
	}
	return r
}

// Next makes of what is wanted the edition that the log gets next (§6). now is the
// configuration in force, and current its record, nil while it is a static list.
// wanted lists the members to be, each with its role; a member that it leaves out is to
// go. Everything else is taken from it as it is.
//
// If the voters differ, the result is joint: former voters that are to go stay in it,
// Leaving, until Final. A member that does not vote goes at once. Next fills in
// WasVoter and Added, and what the change adds to Removed: its caller need not. The
// indices that only the log gives are 0 until Stamp.
//
// The error is a sentence that says what cannot be: a change while now is joint,
// a member under whose ID another directory is to go on, a level that falls, or
// an edition that is not Valid.
func Next(now *Configuration, current *Record, wanted Record) (Record, error) {
	if now.Joint {
		return Record{}, fmt.Errorf("members: the change to the voters %v has not ended", now.Voters())
	}
	next := wanted.Clone()
	if err := next.continues(current); err != nil {
		return Record{}, err
	}
	next.Removed = nil
	if current != nil {
		next.Removed = slices.Clone(current.Removed)
	}
	for i := range next.Members {
		m := &next.Members[i]
		if m.Role == Leaving {
			return Record{}, fmt.Errorf("members: %q has the role %v: a member that is to go is left out", m.ID, m.Role)
		}
		if err := m.goesOn(now, current); err != nil {
			return Record{}, err
		}
	}
	for _, p := range now.Places {
		if next.Member(p.ID) == nil {
			next.leave(p, current)
		}
	}
	next.trim()
	return next, next.Valid()
}

// goesOn fills in what a member has from the configuration before, and refuses to let
// another directory go on under its ID.
func (m *Member) goesOn(now *Configuration, current *Record) error {
	m.WasVoter = now.Votes(m.ID)&NewHalf != 0
	var before *Member
	if current != nil {
		before = current.Member(m.ID)
	}
	switch {
	case before == nil && m.Added != 0:
		return fmt.Errorf("members: %q is new and claims to have been added by entry %d", m.ID, m.Added)
	case before == nil:
		return nil
	case m.Added != 0 && m.Added != before.Added:
		return fmt.Errorf("members: %q was added by entry %d, not by %d", m.ID, before.Added, m.Added)
	case before.Incarnation != Incarnation{} && m.Incarnation != before.Incarnation:
		return fmt.Errorf("members: %q has the data directory %s, not %q: remove it first, and add it again with another change", m.ID, before.Incarnation, m.Incarnation)
	}
	m.Added = before.Added
	return nil
}

// leave lets a server of the configuration before go that is not wanted any more.
func (r *Record) leave(p Place, current *Record) {
	m := Member{ID: p.ID}
	if current != nil {
		m = *current.Member(p.ID)
	}
	if p.Votes&NewHalf == 0 {
		r.Removed = append(r.Removed, Removed{ID: m.ID, Incarnation: m.Incarnation, Added: m.Added})
		return
	}
	m.Role, m.WasVoter, m.Promote, m.Replaces = Leaving, true, false, None
	r.Put(m)
}

// Final returns the edition that ends a joint one (§6: C_new): those that leave are
// removed, and those that are to vote are the voters.
func (r *Record) Final() Record {
	final := r.Clone()
	final.Members = final.Members[:0]
	for _, m := range r.Clone().Members {
		if m.Role == Leaving {
			final.Removed = append(final.Removed, Removed{ID: m.ID, Incarnation: m.Incarnation, Added: m.Added})
			continue
		}
		m.WasVoter = m.Role == Voter
		if m.WasVoter {
			m.Replaces = None // it has taken the place
		}
		final.Members = append(final.Members, m)
	}
	final.trim()
	return final
}

// Recovered returns the edition with which a member goes on alone after the majority was
// lost for good: it is the only voter, on its data directory, in the next generation. All
// others are removed, and no token is good any more. The error says why the member cannot.
func (r *Record) Recovered(id ID, directory Incarnation) (Record, error) {
	m := r.Member(id)
	switch {
	case m == nil:
		return Record{}, fmt.Errorf("members: %q is no member", id)
	case m.Incarnation != Incarnation{} && m.Incarnation != directory:
		return Record{}, fmt.Errorf("members: %q has the data directory %s, not %s", id, m.Incarnation, directory)
	}
	next := r.Clone()
	next.Generation++
	next.Tokens = nil
	next.Members = next.Members[:0]
	for _, one := range r.Members {
		if one.ID != id {
			next.Removed = append(next.Removed, Removed{ID: one.ID, Incarnation: one.Incarnation, Added: one.Added})
		}
	}
	left := *m
	left.Role, left.WasVoter, left.Incarnation, left.Promote, left.Replaces = Voter, true, directory, false, None
	next.Members = append(next.Members, left)
	next.trim()
	return next, next.Valid()
}

// Stamp gives an edition the index of its entry wherever it stands for that.
func (r *Record) Stamp(index uint64) {
	for i := range r.Members {
		setIndex(&r.Members[i].Added, index)
	}
	for i := range r.Removed {
		setIndex(&r.Removed[i].Index, index)
	}
	for i := range r.Changes {
		setIndex(&r.Changes[i].Index, index)
	}
}

func setIndex(where *uint64, index uint64) {
	if *where == 0 {
		*where = index
	}
}

// trim drops the oldest of what is kept for a while.
func (r *Record) trim() {
	r.Removed = r.Removed[max(0, len(r.Removed)-MaxRemoved):]
	r.Changes = r.Changes[max(0, len(r.Changes)-MaxChanges):]
}

// continues refuses an edition of another cluster, or of an older state of this one.
func (r *Record) continues(current *Record) error {
	switch {
	case current == nil && r.Generation == FirstGeneration:
		return nil
	case current == nil:
		return fmt.Errorf("members: the first record of a cluster has generation %d, not %d", FirstGeneration, r.Generation)
	case r.UID != current.UID:
		return fmt.Errorf("members: the cluster is %s, not %s", current.UID, r.UID)
	case r.Generation != current.Generation:
		return fmt.Errorf("members: the generation is %d, not %d", current.Generation, r.Generation)
	case r.Level < current.Level:
		return fmt.Errorf("members: the level is %d and never falls, not to %d", current.Level, r.Level)
	}
	return nil
}

// Follows reports why an edition cannot stand in a log next behind another one, or
// nil: a joint one is followed by its final one, and any other by one that begins with
// its voters. A record of a higher generation follows every other, because it was made
// when the majority was lost.
func (r *Record) Follows(before *Record) error {
	if r.Generation > before.Generation && r.UID == before.UID {
		return nil
	}
	if err := r.continues(before); err != nil {
		return err
	}
	was, is := before.Configuration(), r.Configuration()
	switch {
	case was.Joint && is.Joint:
		return fmt.Errorf("members: a joint configuration of %v follows the joint one of %v", is.Voters(), was.Voters())
	case !slices.Equal(is.OldVoters(), was.Voters()):
		return fmt.Errorf("members: a change that begins with the voters %v follows a configuration of the voters %v", is.OldVoters(), was.Voters())
	}
	return nil
}

package membership

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/raft/levels"
	"raftkv/raft/members"
)

// The guards stand in the order in which they are asked. Each refusal says its arithmetic.

// guardLevels refuses a node that does not know the level at which the cluster works, or
// is to work: it could not read what it would be sent.
func (p *Plan) guardLevels(v *View) error {
	level := v.Newest.Record.Level
	for _, add := range p.Ask.Add {
		if !add.Levels.Knows(level) {
			return failure.Of(failure.LevelTooLow, nil, "%s works at levels %v, and the cluster at level %d: upgrade it first", add.ID, add.Levels, level)
		}
	}
	for _, id := range p.Ask.joining()[len(p.Ask.Add):] {
		if shown := v.node(id).Shown; shown != nil && !shown.Levels.Knows(level) {
			return failure.Of(failure.LevelTooLow, nil, "%s (build %s) works at levels %v, and the cluster at level %d: upgrade it first", id, shown.Build, shown.Levels, level)
		}
	}
	if p.Ask.Level == 0 {
		return nil
	}
	if p.Ask.Level <= level {
		return failure.Of(failure.BadRequest, nil, "the cluster works at level %d, which never falls and need not be raised to %d", level, p.Ask.Level)
	}
	if lacking := v.lacking(p.Ask.Level); len(lacking) > 0 {
		return failure.Of(failure.LevelTooLow, nil, "not every member knows level %d: %s", p.Ask.Level, describeHolders(lacking))
	}
	return nil
}

// guardVersion refuses a change of another configuration than its client has seen.
func (p *Plan) guardVersion(v *View) error {
	if want := p.Ask.IfMatch; want != nil && *want != v.Newest.Index && !v.onlyUpkeepSince(*want) {
		return failure.Of(failure.Precondition, nil, "the configuration has version %d, not %d: look at the members again", v.Newest.Index, *want)
	}
	return nil
}

// Upkeep begins the ids of changes that a leader makes to keep the record true: addresses
// and data directories. They change nothing that a client asks about.
const Upkeep = "upkeep-"

// ownIDs are the forms of the ids of changes that nodes make themselves: upkeep, tokens made
// and dropped (MakeToken, DropToken), and joins with what goes before them (changeOf, makeRoom).
var ownIDs = regexp.MustCompile(`^(` + Upkeep + `|token-|join-[0-9a-f]{24}(-|$))`)

// IsOwnID reports whether an id is for changes that nodes make themselves. A client may not
// give it: a change whose id is taken counts as made, so that a token would not be dropped.
func IsOwnID(id string) bool { return ownIDs.MatchString(id) }

// onlyUpkeepSince reports whether nothing but upkeep has changed the configuration of a
// version.
func (v *View) onlyUpkeepSince(version uint64) bool {
	changes := v.Newest.Record.Changes
	last := len(changes) - 1
	if version > v.Newest.Index || last < 0 || changes[last].Index != v.Newest.Index {
		return false
	}
	for ; last >= 0 && changes[last].Index > version; last-- {
		if !strings.HasPrefix(changes[last].ID, Upkeep) {
			return false
		}
	}
	return last >= 0 || len(changes) < members.MaxChanges // else older ones were dropped
}

// guardProgress refuses a second change before the first has ended, and a third learner
// that catches up.
func (p *Plan) guardProgress(v *View) error {
	if !v.Settled {
		return failure.RetryAfter(failure.ChangeInProgress, time.Second, "the change of entry %d has not ended: one is made at a time", v.Newest.Index)
	}
	if len(p.Ask.Add) == 0 {
		return nil
	}
	return v.roomFor(len(p.Ask.Add))
}

// roomFor refuses to add n nodes where, with them, too many learners would catch up at one
// time. One that does not answer catches up with nothing, and counts for nothing.
func (v *View) roomFor(n int) error {
	var catching []members.ID
	for i := range v.Newest.Record.Members {
		m := &v.Newest.Record.Members[i]
		if is := v.node(m.ID); m.Role == members.Learner && m.Promote && is.Answers && !is.Ready {
			catching = append(catching, m.ID)
		}
	}
	if len(catching)+n > maxCatchingUp {
		return failure.RetryAfter(failure.ChangeInProgress, time.Second, "%d learners are catching up (%s) and %d more are to be added: %d do so at one time", len(catching), joinIDs(catching), n, maxCatchingUp)
	}
	return nil
}

// guardCaughtUp refuses to give a vote to a node that lacks entries: until it has them,
// nothing could be committed with it.
func (p *Plan) guardCaughtUp(v *View) error {
	for _, id := range p.Ask.joining()[len(p.Ask.Add):] {
		if n := v.node(id); !n.Ready {
			return failure.Of(failure.NotCaughtUp, nil, "%s has not caught up: it %s", id, n.Behind)
		}
	}
	return nil
}

// guardQuorum refuses a change in one of whose halves the healthy voters are no majority:
// the cluster would hang in it. It counts healthy voters, not members.
func (p *Plan) guardQuorum(v *View) error {
	if !p.Joint {
		return nil
	}
	for _, half := range []struct {
		name string
		Count
	}{{"present", p.Before}, {"new", p.After}} {
		if len(half.Voters) == 0 || half.Tolerance() >= 0 {
			continue
		}
		return failure.Of(failure.WouldLoseQuorum, nil, "of the %d %s voters (%s) %d are healthy and %d are needed: %s",
			len(half.Voters), half.name, joinIDs(half.Voters), len(half.Healthy), half.Majority, v.unhealthy(half.Count))
	}
	return nil
}

// guardVoters refuses a change after which nobody votes.
func (p *Plan) guardVoters(*View) error {
	switch n := len(p.After.Voters); {
	case n == 0:
		return failure.Of(failure.TooFew, nil, "no voter would be left of %s: a cluster has 1 to %d", joinIDs(p.Before.Voters), members.MaxVoters)
	case n > members.MaxVoters:
		return failure.Of(failure.BadRequest, nil, "%d voters: a cluster has 1 to %d", n, members.MaxVoters)
	}
	return nil
}

// Holder is a member that holds a level back.
type Holder struct {
	ID  members.ID
	Why string // the end of a sentence that begins with the member
}

// lacking returns the members that have not shown, in their newest boot, that they know a
// level.
func (v *View) lacking(level uint32) (lacking []Holder) {
	for _, id := range v.ids() {
		switch n := v.node(id); {
		case id == v.Self && v.Level >= level:
		case id == v.Self:
			lacking = append(lacking, Holder{id, fmt.Sprintf("works at levels %d to %d", levels.Min, v.Level)})
		case n.Shown == nil:
			lacking = append(lacking, Holder{id, "has not been heard since this leader began"})
		case !n.Shown.Levels.Knows(level):
			lacking = append(lacking, Holder{id, fmt.Sprintf("(build %s) works at levels %v", n.Shown.Build, n.Shown.Levels)})
		}
	}
	return lacking
}

func describeHolders(holders []Holder) (text string) {
	for i, h := range holders {
		if i > 0 {
			text += "; "
		}
		text += string(h.ID) + " " + h.Why
	}
	return text
}

// level returns the cluster's level.
func (v *View) level() uint32 {
	if v.Newest.Record == nil {
		return levels.Min
	}
	return v.Newest.Record.Level
}

// Raise returns the level to which the leader raises the cluster by itself, 0 if it does
// not, and the members that hold back the highest level that this program knows. A member
// that is not connected holds it back, too, until it has shown that it knows it.
func (v *View) Raise() (to uint32, held []Holder) {
	present := v.level()
	if v.Level <= present {
		return 0, nil
	}
	held = v.lacking(v.Level)
	record := v.Newest.Record
	if record == nil {
		held = v.withHolders(held)
	}
	if !v.Settled || record == nil && v.Holds || record != nil && record.Settings.Hold || v.UID == (members.UID{}) {
		return 0, held
	}
	for level := v.Level; level > present; level-- {
		if len(v.lacking(level)) == 0 {
			return level, held
		}
	}
	return 0, held
}

// First returns the first record of a cluster that has none.
func (v *View) First(level uint32) members.Record {
	r := members.First(v.UID, level, v.ids())
	for _, s := range v.Static {
		m := r.Member(s.ID)
		m.Peer, m.HTTP = s.Peer, s.HTTP
		m.Incarnation = v.directoryOf(s.ID)
	}
	return r
}

// keptPlace returns a learner that waits for the place of a voter which has been healthy for so
// long that it is not lost; None: there is none. If the learner went on waiting, the
// voter would lose its place much later, when it is started anew.
func (v *View) keptPlace() members.ID {
	if r := v.Newest.Record; r != nil {
		for i := range r.Members {
			m := &r.Members[i]
			if m.Replaces != members.None && m.Replaces != m.ID && v.node(m.Replaces).Well >= wellAgain {
				return m.ID
			}
		}
	}
	return members.None
}

// directoryOf returns the data directory from which a member talks to this leader, zero if it
// does not. A member that was only heard may still be refused, and so is none.
func (v *View) directoryOf(id members.ID) members.Incarnation {
	if n := v.node(id); n.Healthy && n.Shown != nil {
		return n.Shown.Incarnation
	}
	return members.Incarnation{}
}

// named returns the record with the data directories of members that this leader has heard.
func (v *View) named(ids []members.ID) members.Record {
	r := v.Newest.Record.Clone()
	for _, id := range ids {
		r.Member(id).Incarnation = v.node(id).Shown.Incarnation
	}
	return r
}

// unpinned returns the members whose data directories the record does not name and this leader
// knows. One that is not named could not be told, after its removal, that it is one.
func (v *View) unpinned() (ids []members.ID) {
	if r := v.Newest.Record; r != nil {
		for i := range r.Members {
			m := &r.Members[i]
			if m.Role != members.Leaving && m.Incarnation == (members.Incarnation{}) && v.directoryOf(m.ID) != m.Incarnation {
				ids = append(ids, m.ID)
			}
		}
	}
	return ids
}

// Promotion returns the change by which the leader gives votes to learners that are
// ready, and whether there is one. Why says for what it waits if there is none and a
// learner is to be promoted. The number of voters becomes odd, as far as there are ready
// learners: two voters survive less than one.
//
// A member that lost its disk gets its vote back before anybody else gets one, and whatever is
// wanted: it is one of the voters that there are to be.
func (v *View) Promotion() (ask Ask, due bool, why string) {
	r := v.Newest.Record
	if r == nil || !v.Settled {
		return Ask{}, false, ""
	}
	var ready []members.ID
	awaited := 0 // members that come back, and may yet
	for i := range r.Members {
		m := &r.Members[i]
		back := returns(m)
		if m.Role != members.Learner || !m.Promote || !r.Settings.Promotion && !back {
			continue
		}
		n := v.node(m.ID)
		old := r.Member(m.Replaces)
		if back && n.Silent < v.awaits() {
			awaited++
		}
		switch replaces := m.Replaces != members.None && old != nil && old.Role == members.Voter; {
		case !n.Ready:
			why = "waits for " + string(m.ID) + ", which " + n.Behind
		case back:
			return Ask{Promote: []members.ID{m.ID}}, true, ""
		case replaces && !v.lost(m.Replaces, unattendedSilence):
			why = fmt.Sprintf("%s is to take the place of %s, which has answered in the last %v", m.ID, m.Replaces, unattendedSilence)
		case replaces:
			return Ask{Replace: []Replacement{{m.Replaces, m.ID}}}, true, ""
		default:
			ready = append(ready, m.ID)
		}
	}
	slices.Sort(ready)
	if v.takesLeave() && v.Stood < v.awaits() {
		awaited++
	}
	voters := len(r.Voters()) + awaited
	most := min(voters+len(ready), r.Settings.Wanted)
	if most%2 == 0 {
		most--
	}
	switch n := most - voters; {
	case n > 0:
		return Ask{Promote: ready[:n]}, true, ""
	case len(ready) > 0 && voters < r.Settings.Wanted:
		return Ask{}, false, "waiting_for_pair: one more learner makes the number of voters odd"
	case why == "" && len(ready) > 0:
		return Ask{}, false, fmt.Sprintf("spare: %s would be a voter more than the %d that are wanted", joinIDs(ready), r.Settings.Wanted)
	}
	return Ask{}, false, why
}

// takesLeave reports whether the newest change, upkeep aside, took the vote of a member that
// comes back: the change that adds its new directory is about to follow.
func (v *View) takesLeave() bool {
	for _, c := range slices.Backward(v.Newest.Record.Changes) {
		if !strings.HasPrefix(c.ID, Upkeep) {
			return strings.HasSuffix(c.ID, voterSuffix)
		}
	}
	return false
}

// awaits returns for how long a member that is coming back may be silent before a spare gets
// the place that is kept for it: as long as a dead voter keeps its own.
func (v *View) awaits() time.Duration {
	return time.Duration(v.Newest.Record.Settings.ReplaceAfter) * time.Millisecond
}

package membership

import (
	"fmt"
	"slices"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/raft/members"
)

// Plan is a change that may be made.
type Plan struct {
	Ask    Ask
	From   uint64         // index of the configuration that it changes
	Wanted members.Record // for consensus
	Joint  bool           // other voters: it takes two entries
	// Before and After are the voters that the change begins and ends with.
	Before, After Count
	Warnings      []string
	// Leaves says that the leader is no voter afterwards; HandOver is the voter that leads
	// then.
	Leaves   bool
	HandOver members.ID
	// Pin names members whose data directories the record must name before they are
	// removed: those that were never written down could come back.
	Pin []members.ID
}

// ToleranceDuring returns how many healthy voters may fail while the change is joint.
func (p *Plan) ToleranceDuring() int { return min(p.Before.Tolerance(), p.After.Tolerance()) }

// maxCatchingUp bounds the learners that catch up at one time.
const maxCatchingUp = 2

// Decide says how a change is made, or why it is not. The error is one of package failure,
// with the arithmetic, and then nothing may be appended.
//
// An ask whose id stands in the record was taken before and must not come here.
func Decide(v View, a Ask) (Plan, error) {
	if err := a.check(); err != nil {
		return Plan{}, err
	}
	current := v.Newest.Record
	if current == nil {
		return Plan{}, failure.Of(failure.NotActive, nil, "the cluster has no record of its members: it works at level 2, and changes of the membership need level 3; upgrade all nodes")
	}
	p := Plan{Ask: a, From: v.Newest.Index, Wanted: current.Clone()}
	wrong := p.apply(&v)
	for _, guard := range []func(*View) error{p.guardLevels, p.guardVersion} {
		if err := guard(&v); err != nil {
			return Plan{}, err
		}
	}
	if wrong != nil { // only now: another version may be what makes it wrong
		return Plan{}, wrong
	}
	if err := p.guardProgress(&v); err != nil {
		return Plan{}, err
	}
	p.Before, p.After = v.count(current.Configuration().Voters()), v.count(p.Wanted.Voters())
	p.Joint = !slices.Equal(p.Before.Voters, p.After.Voters)
	for _, guard := range []func(*View) error{p.guardCaughtUp, p.guardQuorum, p.guardVoters} {
		if err := guard(&v); err != nil {
			return Plan{}, err
		}
	}
	p.Wanted.Changes = append(p.Wanted.Changes, members.Change{ID: a.ID})
	if _, err := members.Next(current.Configuration(), current, p.Wanted); err != nil {
		return Plan{}, failure.Of(failure.BadRequest, err, "the change cannot be: %v", err)
	}
	p.finish(&v)
	return p, nil
}

// apply makes the wanted record. The error says what in the ask does not fit the record.
func (p *Plan) apply(v *View) error {
	a, r := &p.Ask, &p.Wanted
	for i := range a.Add {
		if err := p.add(v, &a.Add[i]); err != nil {
			return err
		}
	}
	for _, id := range a.Promote {
		m, err := p.member(id)
		if err != nil {
			return err
		}
		if m.Role == members.Voter {
			return failure.Of(failure.BadRequest, nil, "%s votes already", id)
		}
		if !returns(m) {
			p.giveAway()
		}
		m.Role = members.Voter
	}
	for _, id := range a.Demote {
		m, err := p.member(id)
		if err != nil {
			return err
		}
		if m.Role != members.Voter {
			return failure.Of(failure.BadRequest, nil, "%s is a %v and has no vote to lose", id, m.Role)
		}
		m.Role, m.Promote, m.Replaces = members.Learner, false, members.None
	}
	for _, replace := range a.Replace {
		if err := p.replace(v, replace); err != nil {
			return err
		}
	}
	for _, id := range a.Remove {
		if _, err := p.member(id); err != nil {
			return err
		}
		p.delete(id)
	}
	if a.Settings != nil {
		old := r.Settings
		a.Settings(&r.Settings)
		if err := checkSettings(&r.Settings); err != nil {
			return err
		}
		if err := v.Transport.checkTransport(&old, &r.Settings); err != nil {
			return err
		}
	}
	if a.Tokens != nil {
		if r.Tokens = a.Tokens(r.Tokens); len(r.Tokens) > members.MaxJoinTokens {
			return failure.Of(failure.BadRequest, nil, "the cluster keeps %d join tokens, which are neither used up nor expired: drop one that is not needed (raftkv member token list, raftkv member token drop ID)", members.MaxJoinTokens)
		}
	}
	if a.Level != 0 {
		r.Level = a.Level
	}
	return nil
}

// giveAway drops the place kept for a returning member when promoting another one fills the
// wanted number. The returning member stays a learner.
func (p *Plan) giveAway() {
	r := &p.Wanted
	if len(r.Voters())+1 < r.Settings.Wanted {
		return
	}
	for i := range r.Members {
		if m := &r.Members[i]; returns(m) && !slices.Contains(p.Ask.Promote, m.ID) {
			m.Replaces = members.None
			return
		}
	}
}

// member returns a member of the wanted record.
func (p *Plan) member(id members.ID) (*members.Member, error) {
	if m := p.Wanted.Member(id); m != nil {
		return m, nil
	}
	var ids []members.ID
	for i := range p.Wanted.Members {
		ids = append(ids, p.Wanted.Members[i].ID)
	}
	return nil, failure.Of(failure.NoSuchMember, nil, "%.80q is no member of the cluster; its members are %s", id, joinIDs(ids))
}

// add takes a node in that is not a member yet.
func (p *Plan) add(v *View, add *Addition) error {
	r := &p.Wanted
	if m := r.Member(add.ID); m != nil {
		return failure.Of(failure.IDTaken, nil, "%s is a %v of the cluster on the data directory %v: choose another id, or remove it first", add.ID, m.Role, m.Incarnation)
	}
	for i := range r.Members {
		m := &r.Members[i]
		if add.Peer != "" && add.Peer == m.Peer || add.HTTP != "" && add.HTTP == m.HTTP {
			return failure.Of(failure.AddressTaken, nil, "%s has the addresses %s and %s, and %s is to have %s and %s: each node needs its own", m.ID, m.Peer, m.HTTP, add.ID, add.Peer, add.HTTP)
		}
	}
	if r.IsRemoved(add.ID, add.Incarnation) {
		return failure.Of(failure.IDTaken, nil, "the data directory %v of %s was removed and is never a member again: empty it first", add.Incarnation, add.ID)
	}
	if add.Replaces != members.None {
		old := r.Member(add.Replaces)
		if old == nil || old.Role != members.Voter {
			return failure.Of(failure.BadRequest, nil, "%s is to take the place of %.80q, which is no voter", add.ID, add.Replaces)
		}
		switch lost := v.lost(add.Replaces, 0); {
		case !lost && p.Ask.EvenIfAlive:
			return failure.Of(failure.BadRequest, nil, "%s cannot wait for the place of %s, which is not lost. even_if_alive holds for one change alone, and a voter that is well could be replaced much later. Add %s without replaces. When it has caught up, type: raftkv member replace %s --with %s --even-if-alive", add.ID, add.Replaces, add.ID, add.Replaces, add.ID)
		case !lost:
			return v.alive(add.Replaces)
		}
	}
	if add.Token != "" {
		r.Tokens = spend(r.Tokens, add.Token)
	}
	m := members.Member{
		ID: add.ID, Role: add.Role, Incarnation: add.Incarnation, Peer: add.Peer, HTTP: add.HTTP,
		Promote: add.Promote && add.Role == members.Learner, Replaces: add.Replaces,
	}
	if add.Returns && m.Promote {
		m.Replaces = add.ID // its own place; see returns
	}
	r.Put(m)
	return nil
}

// returns reports whether a member voted until it lost its disk, and is to get its vote back
// when it has caught up, whatever number of voters is wanted: a learner that waits for the
// place of its own name.
func returns(m *members.Member) bool {
	return m.Role == members.Learner && m.Promote && m.Replaces == m.ID
}

// replace gives a voter's place to another member.
func (p *Plan) replace(v *View, replace Replacement) error {
	old, err := p.member(replace.Old)
	if err != nil {
		return err
	}
	if old.Role != members.Voter {
		return failure.Of(failure.BadRequest, nil, "%s is a %v: only a voter has a place to take", replace.Old, old.Role)
	}
	m, err := p.member(replace.New)
	if err != nil {
		return err
	}
	if m.Role == members.Voter {
		return failure.Of(failure.BadRequest, nil, "%s votes already: remove %s instead", replace.New, replace.Old)
	}
	if !v.lost(replace.Old, 0) && !p.Ask.EvenIfAlive {
		return v.alive(replace.Old)
	}
	m.Role, m.Replaces = members.Voter, members.None
	p.delete(replace.Old)
	return nil
}

// delete removes a member. Nobody waits for its place any more: its name may come back as
// another directory, which has that place for itself.
func (p *Plan) delete(id members.ID) {
	p.Wanted.Delete(id)
	for i := range p.Wanted.Members {
		if m := &p.Wanted.Members[i]; m.Replaces == id {
			m.Replaces = members.None
		}
	}
}

// alive refuses to give a member's place away.
func (v *View) alive(id members.ID) error {
	if n := v.node(id); !n.Answers {
		return failure.Of(failure.StillAlive, nil, "this leader has seen %s silent for %v, and its place is given away after %v: it may only be started anew; ask again, or say that it is meant although it may be alive (even_if_alive)",
			id, n.Silent.Round(100*time.Millisecond), v.LostAfter)
	}
	return failure.Of(failure.StillAlive, nil, "%s answers, and replacing is for a node that is lost: stop it first, or say that it is meant although it is alive (even_if_alive)", id)
}

// finish says what else is to be known of a plan that is allowed.
func (p *Plan) finish(v *View) {
	current := v.Newest.Record
	for i := range current.Members {
		m := &current.Members[i]
		n := v.node(m.ID)
		if p.Wanted.Member(m.ID) == nil && m.Incarnation == (members.Incarnation{}) && n.Shown != nil && n.Shown.Incarnation != (members.Incarnation{}) && n.Shown.Incarnation != p.Ask.Successor {
			p.Pin = append(p.Pin, m.ID)
		}
	}
	if !p.Joint {
		return
	}
	if n := len(p.After.Voters); n%2 == 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d voters tolerate no more failures than %d; an odd number is better", n, n-1))
	}
	if p.After.Tolerance() <= 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("no voter may fail afterwards: %d of %d are healthy and %d are needed", len(p.After.Healthy), len(p.After.Voters), p.After.Majority))
	}
	if !slices.Contains(p.After.Voters, v.Self) {
		p.Leaves = true
		p.HandOver = p.fittest(v)
	}
}

// fittest returns the voter that should lead before the change. Among the healthy voters that
// stay, those willing to lead come first, then the one with the longest log. If none of them is
// willing, the longest log decides, and consensus then refuses the transfer. It returns None if
// no present voter stays and is healthy; then the leader makes the change itself (R9).
func (p *Plan) fittest(v *View) members.ID {
	best := members.None
	for _, id := range p.After.Healthy {
		if !slices.Contains(p.Before.Voters, id) {
			continue
		}
		switch n, than := v.node(id), v.node(best); {
		case best == members.None, !n.RatherNot && than.RatherNot, n.RatherNot == than.RatherNot && n.Match > than.Match:
			best = id
		}
	}
	return best
}

package membership

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/raft"
	"raftkv/raft/levels"
	"raftkv/raft/members"
)

// Describe returns the members as this node sees them. Only a leader knows of the health
// of others.
func (d *Driver) Describe() api.Members {
	s, v := d.config.Consensus.Status(), d.View()
	m := api.Members{Version: v.Newest.Index, UID: v.UID.String(), Level: d.level(&v, leads(s)), Healthy: -1, Tolerance: -1}
	voters := v.ids()
	if r := v.Newest.Record; r != nil {
		m.ClusterNumber, m.Generation, m.Joint, m.Wanted = r.UID.ClusterNumber(), r.Generation, r.Joint(), r.Settings.Wanted
		voters = r.Voters()
		if n := len(r.Changes); n > 0 {
			m.Change = r.Changes[n-1].ID
		}
	}
	if leads(s) {
		m.Healthy, m.Tolerance = v.Tolerance()
		d.mu.Lock()
		m.Waits = d.waits
		d.mu.Unlock()
	}
	peers := map[members.ID]*raft.PeerStatus{}
	for i := range s.Peers {
		peers[s.Peers[i].ID] = &s.Peers[i]
	}
	for _, id := range v.ids() {
		one := d.describeMember(&v, id, slices.Contains(voters, id))
		one.Leader = id == s.Leader
		if leads(s) {
			describeProgress(&one, v.node(id), peers[id], s)
		}
		m.Members = append(m.Members, one)
	}
	return m
}

// Tolerance returns how many voters are healthy, and how many of them may fail; -1 if no
// majority is healthy. Of a joint configuration the worse half counts.
func (v *View) Tolerance() (healthy, tolerance int) {
	ids := v.ids()
	c := members.Static(ids)
	if r := v.Newest.Record; r != nil {
		c = r.Configuration()
	}
	count := v.count(c.Voters())
	tolerance = count.Tolerance()
	if c.Joint {
		old := v.count(c.OldVoters())
		tolerance = min(tolerance, old.Tolerance())
	}
	return len(count.Healthy), max(tolerance, -1)
}

// describeMember says what stands in the record of a member, and what it has shown.
func (d *Driver) describeMember(v *View, id members.ID, votes bool) api.Member {
	one := api.Member{ID: string(id), Role: members.Learner.String()}
	if votes {
		one.Role = members.Voter.String()
	}
	for _, s := range v.Static {
		if s.ID == id {
			one.Peer, one.HTTP = s.Peer, s.HTTP
		}
	}
	if r := v.Newest.Record; r != nil {
		m := r.Member(id)
		one.Role, one.WasVoter, one.Added, one.Incarnation = m.Role.String(), m.WasVoter && m.Role != members.Voter, m.Added, m.Incarnation.String()
		one.Peer, one.HTTP, one.Promote, one.Replaces = m.Peer, m.HTTP, m.Promote, string(m.Replaces)
		one.Number = r.UID.MemberNumber(m)
	}
	if shown := v.node(id).Shown; shown != nil {
		one.Build, one.LevelMin, one.LevelMax = shown.Build, shown.Levels.Min, shown.Levels.Max
		one.Peer, one.HTTP = cmp.Or(one.Peer, shown.Peer), cmp.Or(one.HTTP, shown.HTTP)
	}
	return one
}

// describeProgress says what a leader knows of a member.
func describeProgress(one *api.Member, n Node, p *raft.PeerStatus, s *raft.Status) {
	one.Health, one.Why = "healthy", ""
	if !n.Healthy {
		one.Health, one.Why = "unhealthy", n.Why
	}
	if one.Role != members.Voter.String() && !n.Ready {
		one.Behind = n.Behind
	}
	if p != nil {
		one.Match, one.Round = p.MatchIndex, p.Rounds
		one.Lag = s.LastIndex - min(p.MatchIndex, s.LastIndex)
	}
}

func (d *Driver) level(v *View, leads bool) api.Level {
	l := api.Level{Level: v.level(), BuildMin: levels.Min, BuildMax: v.Level, Hold: v.Newest.Record == nil && (v.Holds || len(v.Holders) > 0)}
	if r := v.Newest.Record; r != nil {
		l.Hold = r.Settings.Hold
	}
	if leads {
		_, held := v.Raise()
		for _, h := range held {
			l.HeldBack = append(l.HeldBack, api.LevelHeld{ID: string(h.ID), Why: h.Why})
		}
	}
	return l
}

// Level returns the cluster's level as this node sees it.
func (d *Driver) Level() api.Level {
	v := d.View()
	return d.level(&v, leads(d.config.Consensus.Status()))
}

// Endpoints returns where the voters and replicas of the newest committed configuration take
// clients, as far as that is known.
func (d *Driver) Endpoints() api.Endpoints {
	v := d.View()
	v.Newest = d.Configurations().Committed
	n := number(v.Newest)
	e := api.Endpoints{Generation: n.Generation, Version: n.Version, UID: v.UID.String(), Addresses: []string{}}
	for _, id := range v.ids() {
		one := d.describeMember(&v, id, true)
		if one.HTTP != "" && (one.Role == members.Voter.String() || one.Role == members.Replica.String()) {
			e.Addresses = append(e.Addresses, one.HTTP)
		}
	}
	return e
}

// Results of changes, as Changes counts them.
const (
	resultDone    = "done"
	resultRefused = "refused"
	resultUnknown = "unknown" // its end was not seen
)

// count counts the result of a change. One that another node is to make does not count.
func (d *Driver) count(state string, err error) {
	result := resultUnknown
	switch {
	case err == nil && state == api.ChangeDone:
		result = resultDone
	case errors.Is(err, failure.NoLeader):
		return
	case err != nil && failure.KindOf(err).Outcome == api.OutcomeNotApplied:
		result = resultRefused
	}
	d.mu.Lock()
	d.changes[result]++
	d.mu.Unlock()
}

// Changes returns how many changes this node has made or refused as leader, by result.
func (d *Driver) Changes() map[string]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.changes)
}

// Answers returns which members answer this leader, itself among them, and how many learners
// wait for a vote that they are to get; leads is false, and nothing is known, where it leads
// nobody.
func (d *Driver) Answers() (answers map[members.ID]bool, waiting int, leads bool) {
	v := d.View()
	if v.Led == 0 {
		return nil, 0, false
	}
	answers = map[members.ID]bool{}
	for _, id := range v.ids() {
		answers[id] = v.node(id).Answers
	}
	if r := v.Newest.Record; r != nil {
		for i := range r.Members {
			m := &r.Members[i]
			wanted := len(r.Voters()) < r.Settings.Wanted || m.Replaces != members.None
			if m.Role == members.Learner && m.Promote && (wanted || !v.node(m.ID).Ready) {
				waiting++
			}
		}
	}
	return answers, waiting, true
}

// Settings returns the cluster's settings, false while it has no record.
func (d *Driver) Settings() (members.Settings, uint64, bool) {
	v := d.Configurations().Newest
	if v.Record == nil {
		return members.Settings{}, 0, false
	}
	return v.Record.Settings, v.Index, true
}

// Body returns a result as clients see it.
func (r *Result) Body(version uint64) api.MembersPlan {
	p := &r.Plan
	body := api.MembersPlan{
		Change: p.Ask.ID, State: r.State, Version: version, Index: r.Index, Joint: p.Joint, Before: p.Before.body(), After: p.After.body(),
		Tolerance: [3]int{p.Before.Tolerance(), p.ToleranceDuring(), p.After.Tolerance()}, Leader: string(p.HandOver), Warnings: p.Warnings,
	}
	return body
}

func (c Count) body() api.MembersHalf {
	return api.MembersHalf{Voters: texts(c.Voters), Healthy: texts(c.Healthy), Majority: c.Majority}
}

func texts(ids []members.ID) []string {
	all := make([]string, 0, len(ids))
	for _, id := range ids {
		all = append(all, string(id))
	}
	return all
}

package membership

import (
	"fmt"
	"time"

	"raftkv/raft"
	"raftkv/raft/members"
)

// A node is healthy that has answered within healthyTimeouts election timeouts and whose
// log is within maxLag entries of the leader's. Ten rounds of catching up without keeping
// up are enough to say that a learner cannot.
const (
	healthyTimeouts = 2
	maxLag          = 10_000
	maxRounds       = 10
)

// nodes returns what is known of the nodes. On a leader it goes on to measure how long
// learners have kept up.
func (d *Driver) nodes(s *raft.Status, record *members.Record) map[members.ID]Node {
	nodes := map[members.ID]Node{}
	if !leads(s) {
		for _, id := range d.ids(record) {
			nodes[id] = Node{Why: "is not this node's to judge: it does not lead", Shown: d.config.Shown(id)}
		}
		return nodes
	}
	now := time.Now()
	self := Node{Healthy: !s.Stalled, Answers: true, Ready: true, Shown: d.config.Shown(d.config.Self)}
	if s.Stalled {
		self.Why, self.Ready, self.Behind = "has a disk that hangs", false, "has a disk that hangs"
	}
	nodes[d.config.Self] = self
	for i := range s.Peers {
		p := &s.Peers[i]
		n := Node{Shown: d.config.Shown(p.ID)}
		at, heard := s.Contacts[p.ID]
		silence, limit := now.Sub(at), healthyTimeouts*d.config.ElectionTimeout
		lag := s.LastIndex - min(p.MatchIndex, s.LastIndex)
		switch n.Answers = heard && silence <= limit; {
		case !heard:
			n.Why = "has not answered this leader"
		case !n.Answers:
			n.Why = fmt.Sprintf("has not answered for %v", silence.Round(100*time.Millisecond))
		case lag > maxLag || p.MatchIndex == 0 && s.LastIndex > 0:
			n.Why = fmt.Sprintf("has entry %d of %d", p.MatchIndex, s.LastIndex)
		default:
			n.Healthy = true
		}
		nodes[p.ID] = n
	}
	d.keepUp(nodes, s, record, now)
	return nodes
}

// ids returns the members of a record, or of the list.
func (d *Driver) ids(record *members.Record) []members.ID {
	v := View{Newest: members.Version{Record: record}, Static: d.config.Static}
	return v.ids()
}

// keepUp says of each member that does not vote whether it is ready to. A break begins the
// time anew.
func (d *Driver) keepUp(nodes map[members.ID]Node, s *raft.Status, record *members.Record, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range s.Peers {
		p := &s.Peers[i]
		n := nodes[p.ID]
		if p.Votes != 0 || record == nil {
			n.Ready = n.Healthy
			nodes[p.ID] = n
			delete(d.since, p.ID)
			continue
		}
		if !p.CaughtUp || !n.Healthy {
			delete(d.since, p.ID)
			n.Behind = behind(p, s, n.Why)
			nodes[p.ID] = n
			continue
		}
		since, known := d.since[p.ID]
		if !known {
			since = now
			d.since[p.ID] = now
		}
		after := time.Duration(record.Settings.PromoteAfter) * time.Millisecond
		if kept := now.Sub(since); kept >= after {
			n.Ready = true
		} else {
			n.Behind = fmt.Sprintf("has kept up for %v of %v", kept.Round(100*time.Millisecond), after)
		}
		nodes[p.ID] = n
	}
}

// behind says what a learner lacks.
func behind(p *raft.PeerStatus, s *raft.Status, why string) string {
	switch {
	case p.Installing != 0:
		return "is being sent a snapshot"
	case why != "":
		return why
	case p.Rounds >= maxRounds:
		return fmt.Sprintf("cannot keep up: after %d rounds it has entry %d of %d", p.Rounds, p.MatchIndex, s.LastIndex)
	}
	return fmt.Sprintf("has entry %d of %d", p.MatchIndex, s.LastIndex)
}

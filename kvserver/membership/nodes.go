package membership

import (
	"fmt"
	"time"

	"raftkv/raft"
	"raftkv/raft/members"
)

// A node is healthy if it has answered within healthyTimeouts election timeouts, lacks at most
// maxLacks bytes of the log (far), and has not stood still for hangTimeouts election timeouts
// before something that is committed (hangs). Ten rounds of catching up without keeping up are
// enough to say that a learner cannot.
const (
	healthyTimeouts = 2
	hangTimeouts    = 5 // a leader's own write hangs after 4.5
	maxLacks        = 4 << 20
	maxRounds       = 10
)

// A member is lost that has been silent for lostTimeouts election timeouts while this leader
// looked: a person may give its place away. A leader does that by itself, for a learner that
// waits for the place, only after unattendedSilence. The learner waits no more once the member
// has been healthy for wellAgain: then it is not lost.
const (
	lostTimeouts      = 10
	unattendedSilence = 10 * time.Second
	wellAgain         = time.Minute
)

// stay is what a leader has seen of one stay of a member since it was elected. A zero time says
// that it is not so at the moment.
type stay struct {
	silent time.Time // since when it has not answered
	well   time.Time // since when it has been healthy
	kept   time.Time // since when it has kept up, without a vote
	moved  time.Time // since when its addresses have differed from the record's, and been at
	at     place
	missed bool      // they were refused, and that was said
	still  time.Time // since when it has been known to lack something committed, and stood at
	match  uint64
}

// place is the addresses that a member names.
type place struct{ peer, http string }

// stayOf returns what has been seen of a member in a term, and forgets what was seen in
// earlier ones. d.mu is held.
func (d *Driver) stayOf(term uint64, record *members.Record, id members.ID) *stay {
	if d.stays == nil || d.staysIn != term {
		d.stays, d.staysIn, d.ledSince = map[occupant]*stay{}, term, time.Now()
	}
	o := occupant{id: id}
	if record != nil {
		if m := record.Member(id); m != nil {
			o.added = m.Added
		}
	}
	if d.stays[o] == nil {
		d.stays[o] = &stay{}
	}
	return d.stays[o]
}

// since keeps the time at which something began to be so, and returns for how long it has
// been.
func since(from *time.Time, is bool, now time.Time) time.Duration {
	switch {
	case !is:
		*from = time.Time{}
		return 0
	case from.IsZero():
		*from = now
	}
	return now.Sub(*from)
}

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
	for i := range s.Peers {
		p := &s.Peers[i]
		n := Node{Shown: d.config.Shown(p.ID), RatherNot: p.RatherNot, Match: p.MatchIndex}
		at, heard := s.Contacts[p.ID]
		silence, limit := now.Sub(at), healthyTimeouts*d.config.ElectionTimeout
		switch n.Answers = heard && silence <= limit; {
		case !heard:
			n.Why = "has not answered this leader"
		case !n.Answers:
			n.Why = fmt.Sprintf("has not answered for %v", silence.Round(100*time.Millisecond))
		default:
			n.Why = far(p, s)
			n.Healthy = n.Why == ""
		}
		nodes[p.ID] = n
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	self.Well = since(&d.stayOf(s.Term, record, d.config.Self).well, self.Healthy, now)
	nodes[d.config.Self] = self
	for i := range s.Peers {
		id := s.Peers[i].ID
		n, seen := nodes[id], d.stayOf(s.Term, record, id)
		if why := seen.hangs(&s.Peers[i], s, now, hangTimeouts*d.config.ElectionTimeout); n.Healthy && why != "" {
			n.Healthy, n.Why = false, why
		}
		n.Silent = since(&seen.silent, !n.Answers, now)
		n.Well = since(&seen.well, n.Healthy, now)
		nodes[id] = n
	}
	d.keepUp(nodes, s, record, now)
	return nodes
}

// far returns why a member is too far behind to be healthy, "" if it is not.
//
// The bytes that it lacks decide, since they say how long it takes to catch up: ten thousand
// entries may be gigabytes or a few hundred kilobytes. The core counts 16 bytes for an entry
// in addition to its data, so that bounds the number of entries, too.
//
// What is not committed counts for nobody once this leader has committed something: no
// majority has it either. Otherwise all followers of a leader whose clients write large values
// would be unhealthy: 64 clients with values of 900 kB keep some 50 MB under way.
func far(p *raft.PeerStatus, s *raft.Status) string {
	lacks := p.LacksBytes
	if s.CommittedInTerm {
		lacks -= s.UncommittedBytes
	}
	switch {
	case p.MatchIndex == 0 && s.LastIndex > 0: // or it has not said what it has
		return fmt.Sprintf("has entry %d of %d", p.MatchIndex, s.LastIndex)
	case p.MatchIndex+1 < s.FirstIndex:
		return fmt.Sprintf("needs a snapshot: it has entry %d of %d, and the leader keeps those from %d on", p.MatchIndex, s.LastIndex, s.FirstIndex)
	case lacks > maxLacks:
		return fmt.Sprintf("lacks %.1f MiB of the log (healthy: %d MiB at most)", float64(lacks)/(1<<20), maxLacks>>20)
	}
	return ""
}

// hangs returns why a member that answers cannot confirm anything, "" if it can.
//
// A member answers heartbeats while its disk hangs, and it lacks few bytes where little is
// written. So the leader looks at what the member has confirmed: where something is committed
// that the member lacks, and for after it has confirmed nothing more, its vote commits nothing.
func (seen *stay) hangs(p *raft.PeerStatus, s *raft.Status, now time.Time, after time.Duration) string {
	lacks := p.MatchIndex < s.CommitIndex
	if p.MatchIndex != seen.match {
		seen.match, seen.still = p.MatchIndex, time.Time{}
	}
	still := since(&seen.still, lacks, now)
	if still < after {
		return ""
	}
	return fmt.Sprintf("has confirmed nothing for %v: it has entry %d, entry %d is committed, and its disk may hang", still.Round(100*time.Millisecond), p.MatchIndex, s.CommitIndex)
}

// ids returns the members of a record, or of the list.
func (d *Driver) ids(record *members.Record) []members.ID {
	v := View{Newest: members.Version{Record: record}, Static: d.config.Static}
	return v.ids()
}

// keepUp says of each member that does not vote whether it is ready to. A break begins the
// time anew. d.mu is held.
func (d *Driver) keepUp(nodes map[members.ID]Node, s *raft.Status, record *members.Record, now time.Time) {
	for i := range s.Peers {
		p := &s.Peers[i]
		n, seen := nodes[p.ID], d.stayOf(s.Term, record, p.ID)
		if p.Votes != 0 || record == nil {
			n.Ready = n.Healthy
			nodes[p.ID] = n
			seen.kept = time.Time{}
			continue
		}
		if !p.CaughtUp || !n.Healthy {
			seen.kept = time.Time{}
			n.Behind = behind(p, s, n.Why)
			nodes[p.ID] = n
			continue
		}
		after := time.Duration(record.Settings.PromoteAfter) * time.Millisecond
		if kept := since(&seen.kept, true, now); kept >= after {
			n.Ready = true
		} else {
			n.Behind = fmt.Sprintf("has not kept up for long enough (%v of %v)", kept.Round(100*time.Millisecond), after)
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

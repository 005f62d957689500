package core

import (
	"bytes"
	"fmt"
	"slices"

	"raftkv/raft/members"
)

// oracles watch every step of a cluster for the properties of Figure 3 and for
// the promises of durable.go and reads.go. They use what they saw, never what
// the code under test concludes from it.
type oracles struct {
	leaders map[uint64]ID        // of each term
	votes   map[ballot]favour    // that left their voter
	chosen  []choice             // chosen[i] was committed at index i+1
	origin  map[position]history // of every entry that was ever written
	floors  map[Tag]uint64       // what a read must at least see

	elections, truncations, reads, installs, stalls, rejoined int // to tell a run in which nothing happened
	memberTally
}

type ballot struct {
	term  uint64
	voter ID
}

type favour struct {
	candidate ID
	disks     int // that the candidate had lost by then
}

type choice struct {
	entry   Entry
	term    uint64  // of the server that first took it for committed
	machine machine // that has applied everything up to it
}

type history struct {
	previous uint64 // term of the entry before
	data     []byte
}

func newOracles() *oracles {
	return &oracles{
		leaders: map[uint64]ID{}, votes: map[ballot]favour{}, origin: map[position]history{}, floors: map[Tag]uint64{},
	}
}

// state watches a server's state after a step: Election Safety, Leader
// Completeness, State Machine Safety, and a majority of disks behind whatever
// a leader commits.
func (o *oracles) state(c *cluster, s *server, now Observed) {
	if now.Role == Leader {
		leader, known := o.leaders[now.Term]
		switch {
		case !known:
			o.leaders[now.Term] = s.id
			o.elections++
			if s.core.configuration.Joint {
				o.electedJoint++
			}
			for _, choice := range o.chosen {
				o.complete(c, s, choice)
			}
		case leader != s.id:
			c.failf("Election Safety: %s and %s both lead term %d", leader, s.id, now.Term)
		}
	}
	defer o.changes(c, s)
	base := s.core.log.snapshot
	if base.Index > uint64(len(o.chosen)) || base.Index > 0 && o.chosen[base.Index-1].entry.Term != base.Term {
		c.failf("%s has a snapshot at %d@%d of what was never committed", s.id, base.Index, base.Term)
		return
	}
	for index := max(s.seen.CommitIndex, base.Index) + 1; index <= now.CommitIndex; index++ {
		e := s.core.log.slice(index, index, unlimited)[0]
		if index <= uint64(len(o.chosen)) {
			if old := o.chosen[index-1].entry; old.Term != e.Term || !bytes.Equal(old.Data, e.Data) {
				c.failf("State Machine Safety: %d is committed as %d@%d, and by %s as %d@%d", index, index, old.Term, s.id, index, e.Term)
			}
			continue
		}
		fresh := choice{entry: e, term: now.Term}
		if index > 1 {
			fresh.machine = o.chosen[index-2].machine
		}
		fresh.machine.apply(e)
		o.chosen = append(o.chosen, fresh)
		for _, other := range c.servers {
			if other.core != nil && other.core.role == Leader {
				o.complete(c, other, fresh)
			}
		}
		o.durable(c, s, e)
	}
}

// complete checks one committed entry against one leader's log.
func (o *oracles) complete(c *cluster, leader *server, chosen choice) {
	if leader.core.currentTerm <= chosen.term {
		return
	}
	if chosen.entry.Index <= leader.core.log.base.Index {
		return // its snapshot is checked by itself
	}
	if term, ok := leader.core.log.term(chosen.entry.Index); !ok || term != chosen.entry.Term {
		c.failf("Leader Completeness: %s leads term %d without %d@%d, committed in term %d",
			leader.id, leader.core.currentTerm, chosen.entry.Index, chosen.entry.Term, chosen.term)
	}
}

// durable checks that a majority's disks hold what is taken for committed.
func (o *oracles) durable(c *cluster, s *server, e Entry) {
	var lacking error
	for _, halves := range o.countedBy(s, e) {
		if lacking = o.heldByHalves(c, e, halves); lacking == nil {
			return
		}
	}
	c.failf("%s commits %d@%d: %w", s.id, e.Index, e.Term, lacking)
}

// heldByHalves reports a half of which no majority's disks hold an entry.
func (o *oracles) heldByHalves(c *cluster, e Entry, halves [][]ID) error {
	for _, half := range halves {
		holders := 0
		for _, id := range half {
			other := c.server(id)
			// A disk that was lost may have been counted before it was.
			if slices.ContainsFunc(append(slices.Clone(other.former), other.disk), func(disk State) bool { return disk.holds(e.Index, e.Term) }) {
				holders++
			}
		}
		if 2*holders <= len(half) {
			return fmt.Errorf("only %d of the %d disks of %v hold it", holders, len(half), half)
		}
	}
	return nil
}

// countedBy returns the halves of the configurations by which a server may have
// counted when it first took an entry for committed. It reads them from the log, and
// believes nothing that the server concludes from that. A configuration is committed
// by itself; what it brings about comes later. Any other entry was counted by the
// configuration that was the newest before this step, or by one that this step brought.
func (o *oracles) countedBy(s *server, e Entry) (halves [][][]ID) {
	halves = [][][]ID{{s.config.Peers}}
	take := func(other Entry) {
		if other.Kind != KindConfiguration || e.Kind == KindConfiguration && other.Index > e.Index {
			return
		}
		if other.Index <= max(e.Index, s.seen.LastIndex) {
			halves = nil
		}
		record, _ := members.Decode(other.Data)
		halves = append(halves, halvesOf(record))
	}
	for _, c := range o.chosen[:s.core.log.base.Index] { // what memory has forgotten was committed
		take(c.entry)
	}
	for _, other := range s.core.log.entries {
		take(other)
	}
	return halves
}

// halvesOf returns the two sets of voters of a record: without a change under way they
// are the same.
func halvesOf(r *members.Record) [][]ID {
	var before, after []ID
	for _, m := range r.Members {
		if m.WasVoter {
			before = append(before, m.ID)
		}
		if m.Role == members.Voter {
			after = append(after, m.ID)
		}
	}
	return [][]ID{before, after}
}

// changes watches that a log holds one configuration at most that is not committed,
// and no final one whose joint one is not.
func (o *oracles) changes(c *cluster, s *server) {
	uncommitted, joint := uint64(0), uint64(0)
	for _, e := range s.core.log.entries {
		if e.Kind != KindConfiguration {
			continue
		}
		record, err := members.Decode(e.Data)
		switch {
		case err != nil:
			c.failf("%s holds %d@%d: %w", s.id, e.Index, e.Term, err)
			return
		case uncommitted != 0:
			c.failf("%s holds the configurations of entries %d and %d, and neither is committed", s.id, uncommitted, e.Index)
		case joint > uint64(len(o.chosen)):
			c.failf("%s holds the final configuration of entry %d, and the joint one of entry %d is not committed", s.id, e.Index, joint)
		}
		joint = 0
		if record.Joint() {
			joint = e.Index
		}
		if e.Index > uint64(len(o.chosen)) {
			uncommitted = e.Index
		}
	}
}

// applied watches State Machine Safety at the state machine itself, which a
// snapshot may have taken there.
func (o *oracles) applied(c *cluster, s *server) {
	if m := s.machine; m.index > 0 && (m.index > uint64(len(o.chosen)) || o.chosen[m.index-1].machine != m) {
		c.failf("State Machine Safety: at %d the state machine of %s is another", m.index, s.id)
	}
}

// holds reports whether a disk holds an entry; what a snapshot stands for was
// committed, and there is only one such entry at an index.
func (s State) holds(index, term uint64) bool {
	switch base := s.Snapshot; {
	case index < base.Index:
		return true
	case index == base.Index:
		return term == base.Term
	default:
		return index-base.Index <= uint64(len(s.Entries)) && s.Entries[index-base.Index-1].Term == term
	}
}

// write watches Log Matching: wherever an entry of some index and term is
// found, it is the same, and so is what stands before it.
func (o *oracles) write(c *cluster, s *server, w *Write) {
	if w.From != 0 && w.From <= s.disk.Snapshot.Index+uint64(len(s.disk.Entries)) {
		o.truncations++
		o.countTruncated(s.disk.Entries, w)
	}
	if w.Snapshot != nil {
		last := s.disk.Snapshot.Index + uint64(len(s.disk.Entries))
		switch behind := w.Snapshot.Index + 1; {
		case w.From != 0 && w.From < behind:
			c.failf("%s writes entries from %d below its snapshot at %d", s.id, w.From, w.Snapshot.Index)
		case last < w.Snapshot.Index && w.From != behind:
			c.failf("%s writes a snapshot at %d behind a log that ends at %d, as if it were its own", s.id, w.Snapshot.Index, last)
		}
	}
	for _, e := range w.Entries {
		previous, _ := s.core.log.term(e.Index - 1)
		key := position{e.Index, e.Term}
		if old, known := o.origin[key]; !known {
			o.origin[key] = history{previous, e.Data}
		} else if old.previous != previous || !bytes.Equal(old.data, e.Data) {
			c.failf("Log Matching: %d@%d is %q behind term %d, and at %s %q behind term %d",
				e.Index, e.Term, old.data, old.previous, s.id, e.Data, previous)
		}
	}
}

// call watches that a request leaves only when the sender's disk holds the
// term it speaks in, and the vote it asks others to join.
func (o *oracles) call(c *cluster, s *server, call Call) {
	switch req := call.Request.(type) {
	case *RequestVote:
		if !req.Pre {
			o.vote(c, s, req.Term, s.id)
		}
	case *InstallSnapshot:
		o.installs++
		if s.core.configuration.Votes(call.To) == 0 {
			o.learnersInstalled++
		}
		o.leads(c, s, req.Term)
	case *AppendEntries:
		o.leads(c, s, req.Term)
		if err := req.Valid(); err != nil {
			c.failf("%s sends an impossible message: %w", s.id, err)
		}
	}
}

func (o *oracles) leads(c *cluster, s *server, term uint64) {
	if s.disk.Term < term {
		c.failf("dishonest call: %s sends as leader of term %d, its disk is in term %d", s.id, term, s.disk.Term)
	}
}

// answer watches that an answer leaves only when what it promises is on the
// disk. A promise of an older term is kept by having entered a newer one.
func (o *oracles) answer(c *cluster, s *server, request *message, reply Reply) {
	switch rep := reply.(type) {
	case *RequestVoteReply:
		o.term(c, s, rep.Term)
		req := request.call.Request.(*RequestVote)
		if rep.VoteGranted && !req.Pre {
			o.vote(c, s, req.Term, req.CandidateID)
		}
	case *InstallSnapshotReply:
		o.term(c, s, rep.Term)
		req := request.call.Request.(*InstallSnapshot)
		if rep.Term == req.Term && s.disk.Term == rep.Term && !s.disk.holds(req.Snapshot.Index, req.Snapshot.Term) {
			c.failf("dishonest answer: %s says that it holds the snapshot at %d, its disk does not", s.id, req.Snapshot.Index)
		}
	case *AppendEntriesReply:
		o.term(c, s, rep.Term)
		req := request.call.Request.(*AppendEntries)
		if !rep.Success || s.disk.Term > rep.Term {
			return
		}
		ok := s.disk.holds(req.PrevLogIndex, req.PrevLogTerm)
		for _, e := range req.Entries {
			ok = ok && s.disk.holds(e.Index, e.Term)
		}
		if !ok {
			c.failf("dishonest answer: %s says that it holds up to %d, its disk does not",
				s.id, req.PrevLogIndex+uint64(len(req.Entries)))
		}
	}
}

func (o *oracles) term(c *cluster, s *server, term uint64) {
	if s.disk.Term < term {
		c.failf("dishonest answer: %s speaks in term %d, its disk is in term %d", s.id, term, s.disk.Term)
	}
}

// vote watches that a vote leaves only from the disk, and once a term.
func (o *oracles) vote(c *cluster, s *server, term uint64, candidate ID) {
	if s.disk.Term < term || s.disk.Term == term && s.disk.VotedFor != candidate {
		c.failf("dishonest vote: %s votes for %s in term %d, its disk has term %d and vote %q",
			s.id, candidate, term, s.disk.Term, s.disk.VotedFor)
	}
	key := ballot{term, s.id}
	old, voted := o.votes[key]
	// A candidate that has lost its disk since will never count the votes it got.
	if voted && old.candidate != candidate && len(c.server(old.candidate).former) == old.disks {
		c.failf("double vote: %s votes for %s and %s in term %d", s.id, old.candidate, candidate, term)
	}
	o.votes[key] = favour{candidate, len(c.server(candidate).former)}
}

// forgotten watches that nobody is accused of having forgotten something but those
// whose disk was put back.
func (o *oracles) forgotten(c *cluster, by *server, id ID) {
	if !c.server(id).putBack {
		c.failf("%s accuses %s of having forgotten something", by.id, id)
	}
}

// asked notes what was committed when a read began.
func (o *oracles) asked(tag Tag) { o.floors[tag] = uint64(len(o.chosen)) }

// read watches that no read is allowed to see less than that.
func (o *oracles) read(c *cluster, s *server, done ReadDone) {
	floor, asked := o.floors[done.Tag]
	if !asked {
		c.failf("%s ends read %d, which was not asked or ended before", s.id, done.Tag)
	}
	delete(o.floors, done.Tag)
	if done.Err == nil {
		o.reads++
		if done.Index < floor {
			c.failf("stale read: %s serves a read at %d, %d was committed before it was asked", s.id, done.Index, floor)
		}
	}
}

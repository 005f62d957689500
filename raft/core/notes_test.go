package core

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// noting returns server 1 of three, in a state from which it is changed.
func noting(state State, change func(*Config)) *Raft {
	config := Config{
		ID: "1", Peers: []ID{"1", "2", "3"}, ElectionTicks: 10, HeartbeatTicks: 2, PreVote: true, CheckQuorum: true, StallTicks: 20,
		Rand: rand.New(rand.NewPCG(1, 1)),
	}
	if change != nil {
		change(&config)
	}
	return New(config, state)
}

// notesOf ends a turn, saves what it writes, and returns its notes.
func notesOf(r *Raft) (notes []Note) {
	for {
		ready := r.Ready()
		notes = append(notes, ready.Notes...)
		if ready.Write == nil {
			return notes
		}
		r.Saved(ready.Write.Seq)
	}
}

// Goal: a vote that is refused says why, and the reason is the one that decided.
// Method: for each reason a state in which only that reason stands against the vote,
// and the same request in the same state without it, which is granted.
func TestARefusedVoteSaysWhy(t *testing.T) {
	log := State{Term: 3, Entries: []Entry{NewEntry(1, 1, KindCommand, nil), NewEntry(2, 3, KindCommand, nil)}}
	good := RequestVote{Term: 4, CandidateID: "2", LastLogIndex: 2, LastLogTerm: 3}
	ask := func(r *Raft, req RequestVote) Note {
		r.Receive(1, req.CandidateID, &req)
		notes := notesOf(r)
		return notes[slices.IndexFunc(notes, func(n Note) bool {
			return n.Peer == req.CandidateID && n.Kind >= NotePreVoteGranted && n.Kind <= NoteVoteRefused
		})]
	}
	for _, pre := range []bool{false, true} {
		granted, refused := NoteVoteGranted, NoteVoteRefused
		if pre {
			granted, refused = NotePreVoteGranted, NotePreVoteRefused
		}
		req := good
		req.Pre = pre
		if n := ask(noting(log, nil), req); n.Kind != granted || n.Why != WhyNone || n.Term != 4 {
			t.Errorf("a vote that nothing stands against is noted as %+v", n)
		}
		behind, older := req, req
		behind.LastLogIndex = 1
		older.Term = 2
		for want, c := range map[Why]struct {
			req     RequestVote
			prepare func(*Raft)
		}{
			WhyOlderTerm:   {older, func(*Raft) {}},
			WhyLogBehind:   {behind, func(*Raft) {}},
			WhyHearsLeader: {req, func(r *Raft) { r.follow(3, "3"); notesOf(r) }},
			WhyRejoining:   {req, func(r *Raft) { r.rejoining = Rejoining{On: true, Term: 9, Index: 9} }},
		} {
			r := noting(log, nil)
			c.prepare(r)
			n := ask(r, c.req)
			if n.Kind != refused || n.Why != want || n.Index != c.req.LastLogIndex || n.A != 2 || n.B != 3 {
				t.Errorf("a vote (asked before: %v) refused for reason %d is noted as %+v", pre, want, n)
			}
		}
	}
	voted := noting(State{Term: 4, VotedFor: "3"}, nil)
	if n := ask(voted, RequestVote{Term: 4, CandidateID: "2"}); n.Kind != NoteVoteRefused || n.Why != WhyVoted {
		t.Errorf("a second vote in a term is noted as %+v", n)
	}
}

// Goal: what happens in a cluster's life is noted at the server that knows it, in the
// order in which it happens, and a quiet cluster notes nothing, however much it
// replicates.
// Method: a cluster of three elects, commits, loses its leader, elects another, and the
// old one comes back with an entry that is dropped.
func TestNotesTellALife(t *testing.T) {
	c := newCluster(3, func(config *Config) { config.PreVote, config.CheckQuorum, config.Noop = true, true, true })
	said := func(id ID, kinds ...NoteKind) {
		t.Helper()
		at := 0
		for _, n := range c.heard[id] {
			if at < len(kinds) && n.Kind == kinds[at] {
				at++
			}
		}
		if at < len(kinds) {
			t.Errorf("server %s notes %+v, without kind %d in its place", id, c.heard[id], kinds[at])
		}
	}
	c.tick("1", 20)
	c.settle()
	said("1", NoteTimeout, NotePreVote, NoteCampaign, NoteElected, NoteFirstCommit)
	said("2", NotePreVoteGranted, NoteVoteGranted, NoteFollowed)
	clear(c.heard)
	for range 100 {
		c.propose("1", "x")
		c.tick("1", 2)
		c.settle()
	}
	if len(c.heard) > 0 {
		t.Errorf("while all is well, %+v is noted", c.heard)
	}
	for _, id := range []ID{"2", "3"} {
		c.cut[[2]ID{"1", id}], c.cut[[2]ID{id, "1"}] = true, true
	}
	c.propose("1", "lost")
	c.settle()
	c.tick("1", 20)
	c.settle()
	said("1", NoteSilent, NoteSilent, NoteSteppedDown)
	c.tick("3", 10)
	c.tick("2", 20)
	c.settle()
	said("2", NoteTimeout, NoteElected)
	clear(c.heard)
	clear(c.cut)
	for range 5 {
		c.tick("2", 2)
		c.settle()
	}
	said("1", NoteFollowed, NoteTruncated)
	for _, n := range c.heard["1"] {
		if n.Kind == NoteTruncated && (n.Index != 102 || n.A != 102 || n.B != 1 || n.Peer != "2") {
			t.Errorf("the old leader, whose entry 102 of term 1 is dropped, notes %+v", n)
		}
	}
	if c.fault != nil {
		t.Error(c.fault)
	}
}

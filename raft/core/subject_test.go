package core

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// subject is one server, "1"; the test plays the others and the disk. What the
// server hands out gathers in calls, answers and so on until it is taken. Its
// writes are saved at once unless slowDisk says otherwise.
type subject struct {
	*Raft
	t        *testing.T
	slowDisk bool
	idle     *Batch // if not nil, the state machine stands still, with the batch that it was given
	writes   []Write
	calls    []Call
	answers  map[Tag]Reply
	applied  []Entry
	restored []Snapshot // handed to the state machine
	ended    []ReadDone // reads
	lastTag  Tag
}

// Options change the configuration of a subject.
func withServers(n int) func(*Config) { return func(c *Config) { c.Peers = names(n) } }
func withPreVote(c *Config)           { c.PreVote = true }
func withCheckQuorum(c *Config)       { c.CheckQuorum = true }
func withNoop(c *Config)              { c.Noop = true }
func withSeed(s uint64) func(*Config) {
	return func(c *Config) { c.Rand = rand.New(rand.NewPCG(s, 0)) }
}
func inTerm(term uint64) func(*State)  { return func(s *State) { s.Term = term } }
func votedFor(id ID) func(*State)      { return func(s *State) { s.VotedFor = id } }
func withLog(t ...uint64) func(*State) { return func(s *State) { s.Entries = entriesOf(1, t...) } }

func names(n int) []ID {
	return []ID{"1", "2", "3", "4", "5", "6", "7", "8", "9"}[:n]
}

// entriesOf returns entries of these terms, the first of which has index first.
func entriesOf(first uint64, terms ...uint64) []Entry {
	var entries []Entry
	for i, term := range terms {
		entries = append(entries, NewEntry(first+uint64(i), term, KindCommand, []byte{byte(term)}))
	}
	return entries
}

// newSubject starts a server of three with the options given, which are
// func(*Config) or func(*State). Its term is at least its log's.
func newSubject(t *testing.T, options ...any) *subject {
	config := Config{ID: "1", Peers: names(3), ElectionTicks: 10, HeartbeatTicks: 2, Rand: rand.New(rand.NewPCG(1, 1))}
	var state State
	for _, option := range options {
		switch change := option.(type) {
		case func(*Config):
			change(&config)
		case func(*State):
			change(&state)
		default:
			t.Fatalf("unknown option %T", option)
		}
	}
	for _, e := range state.Entries {
		state.Term = max(state.Term, e.Term)
	}
	return &subject{Raft: New(config, state), t: t, answers: map[Tag]Reply{}}
}

// run takes what is ready, and again until nothing is.
func (s *subject) run() {
	for {
		ready := s.Ready()
		s.calls = append(s.calls, ready.Calls...)
		for _, a := range ready.Answers {
			s.answers[a.Tag] = a.Reply
		}
		s.ended = append(s.ended, ready.Reads...)
		if ready.Apply != nil && s.idle != nil {
			*s.idle, ready.Apply = *ready.Apply, nil
		}
		if ready.Apply != nil {
			if ready.Apply.Snapshot != nil {
				s.restored = append(s.restored, *ready.Apply.Snapshot)
			}
			s.applied = append(s.applied, ready.Apply.Entries...)
			s.Applied(ready.Apply.Last())
		}
		if ready.Write != nil {
			s.writes = append(s.writes, *ready.Write)
			if !s.slowDisk {
				s.Saved(ready.Write.Seq)
			}
		}
		if err := s.Check(); err != nil {
			s.t.Fatal(err)
		}
		if ready.Apply == nil && (ready.Write == nil || s.slowDisk) {
			return
		}
	}
}

// save completes the write under way.
func (s *subject) save() {
	s.t.Helper()
	if len(s.writes) == 0 || s.writes[len(s.writes)-1].Seq == s.saved {
		s.t.Fatal("no write is under way")
	}
	s.Saved(s.saved + 1)
	s.run()
}

// receive hands a request over and returns its tag.
func (s *subject) receive(from ID, req Request) Tag {
	s.lastTag++
	s.Receive(s.lastTag, from, req)
	s.run()
	return s.lastTag
}

// vote and append hand a request over and return its answer, which must come.
func (s *subject) vote(req RequestVote) RequestVoteReply {
	s.t.Helper()
	reply, ok := s.answers[s.receive(req.CandidateID, &req)].(*RequestVoteReply)
	if !ok {
		s.t.Fatalf("%+v is not answered", req)
	}
	return *reply
}

func (s *subject) append(req AppendEntries) AppendEntriesReply {
	s.t.Helper()
	reply, ok := s.answers[s.receive(req.LeaderID, &req)].(*AppendEntriesReply)
	if !ok {
		s.t.Fatalf("%+v is not answered", req)
	}
	return *reply
}

// ticks lets time pass and returns the calls made meanwhile.
func (s *subject) ticks(n int) []Call {
	s.takeCalls()
	for range n {
		s.Tick()
		s.run()
	}
	return s.takeCalls()
}

func (s *subject) takeCalls() []Call {
	calls := s.calls
	s.calls = nil
	return calls
}

// giveBack ends a call with this reply.
func (s *subject) giveBack(call Call, reply Reply) {
	s.Returned(call, reply)
	s.run()
}

// campaigns lets time pass until the server campaigns, and returns the
// requests for votes.
func (s *subject) campaigns() []Call {
	s.t.Helper()
	s.takeCalls()
	before := s.campaign
	for range 2 * s.config.ElectionTicks {
		s.Tick()
		if s.run(); s.campaign != before {
			return s.takeCalls()
		}
	}
	s.t.Fatal("the server does not stand for election")
	return nil
}

// lead makes the server leader with everybody's vote and returns the calls of
// its first turn as leader, one to each of the others.
func (s *subject) lead() []Call {
	s.t.Helper()
	for _, call := range s.campaigns() {
		s.giveBack(call, &RequestVoteReply{Term: call.Request.(*RequestVote).Term, VoteGranted: true})
		if s.role == Leader {
			break
		}
	}
	s.want(Leader, s.currentTerm)
	return s.takeCalls()
}

// accept ends an AppendEntries with success.
func (s *subject) accept(call Call) {
	s.giveBack(call, &AppendEntriesReply{Term: s.currentTerm, Success: true})
}

// propose appends a command and returns the calls that carry it.
func (s *subject) propose(data string) []Call {
	s.t.Helper()
	s.takeCalls()
	if _, _, err := s.Propose([]byte(data)); err != nil {
		s.t.Fatal(err)
	}
	s.run()
	return s.takeCalls()
}

// want fails the test unless the server has this role and term.
func (s *subject) want(role Role, term uint64) {
	s.t.Helper()
	if s.role != role || s.currentTerm != term {
		s.t.Fatalf("the server is %v in term %d, want %v in term %d", s.role, s.currentTerm, role, term)
	}
}

// wantLog fails the test unless the log has entries of these terms.
func (s *subject) wantLog(terms ...uint64) {
	s.t.Helper()
	var have []uint64
	for _, e := range s.log.entries {
		have = append(have, e.Term)
	}
	if !slices.Equal(have, terms) {
		s.t.Fatalf("the log has entries of terms %v, want %v", have, terms)
	}
}

// to returns the only call to this server among calls.
func (s *subject) to(id ID, calls []Call) Call {
	s.t.Helper()
	i := slices.IndexFunc(calls, func(c Call) bool { return c.To == id })
	if i < 0 {
		s.t.Fatalf("nothing was sent to %s: %v", id, calls)
	}
	return calls[i]
}

// entriesTo returns the AppendEntries to this server among calls.
func (s *subject) entriesTo(id ID, calls []Call) *AppendEntries {
	s.t.Helper()
	req, ok := s.to(id, calls).Request.(*AppendEntries)
	if !ok {
		s.t.Fatalf("no AppendEntries was sent to %s: %v", id, calls)
	}
	return req
}

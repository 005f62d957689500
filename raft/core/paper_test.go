package core

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"raftkv/raft/members"
)

// Figure 2 "State" and the five properties of Figure 3. The rules of Figure 2
// box by box are in the other paper_*_test.go files, the figures themselves in
// testdata.

// Goal: Figure 2 "State": term, vote and log survive a restart, everything else
// starts anew, however far the server was.
// Method: a leader with applied entries is started again from its writes.
func TestFigure2_State_OnlyWhatIsPersistentSurvivesARestart(t *testing.T) {
	defer failOnPanic(t)
	c := newCluster(3, nil)
	c.elect("1")
	for range 3 {
		_, _ = c.propose("1", "x")
	}
	c.settle()
	s := c.server("1")
	before := s.core.Status()
	if before.LastApplied != 3 || before.Role != Leader {
		t.Fatalf("before: %+v", before)
	}
	c.crash(s, false)
	c.start(s)
	want := Observed{ID: "1", Term: before.Term, VotedFor: "1", LastIndex: 3, LastTerm: before.Term, Durable: 3}
	if got := s.core.Observe(); got != want {
		t.Fatalf("after: %+v, want %+v", got, want)
	}
}

// Goal: a state or configuration that contradicts itself is not started on.
// Method: one contradiction at a time.
func TestFigure2_State_AContradictionIsNotStartedOn(t *testing.T) {
	good := Config{ID: "1", Peers: names(3), ElectionTicks: 10, HeartbeatTicks: 2, Rand: rand.New(rand.NewPCG(1, 1))}
	for name, change := range map[string]func(*Config, *State){
		"term older than the log":    func(_ *Config, s *State) { s.Term, s.Entries = 1, entriesOf(1, 2) },
		"gap in the log":             func(_ *Config, s *State) { s.Term, s.Entries = 2, entriesOf(2, 2) },
		"terms that fall":            func(_ *Config, s *State) { s.Term, s.Entries = 3, entriesOf(1, 3, 2) },
		"not one of the peers":       func(c *Config, _ *State) { c.ID = "7" },
		"a peer twice":               func(c *Config, _ *State) { c.Peers = []ID{"1", "2", "2"} },
		"no ID":                      func(c *Config, _ *State) { c.ID, c.Peers = "", []ID{""} },
		"an ID that is too long":     func(c *Config, _ *State) { c.ID = ID(make([]byte, MaxIDBytes+1)); c.Peers = []ID{c.ID} },
		"beats as rare as elections": func(c *Config, _ *State) { c.HeartbeatTicks = c.ElectionTicks },
		"no beats":                   func(c *Config, _ *State) { c.HeartbeatTicks = 0 },
		"no chance":                  func(c *Config, _ *State) { c.Rand = nil },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("started with %s", name)
				}
			}()
			config, state := good, State{}
			change(&config, &state)
			New(config, state)
		}()
	}
}

// Goal: Election Safety: at most one leader in a term.
// Method: clusters of 1 to 6 in which everybody stands in the same term; votes
// arrive in every kind of order, and servers crash and forget what was not
// saved. The oracle of the cluster watches leaders and votes.
func TestFigure3_ElectionSafety(t *testing.T) {
	defer failOnPanic(t)
	elected := 0
	for seed := range uint64(600) {
		chance := rand.New(rand.NewPCG(seed, 3))
		c := newCluster(1+int(seed%6), nil)
		for _, s := range c.servers {
			if chance.IntN(3) > 0 {
				c.input(s, (*Raft).startCampaign)
			}
		}
		for range 120 {
			s := c.servers[chance.IntN(len(c.servers))]
			switch chance.IntN(8) {
			case 0:
				if chance.IntN(4) == 0 {
					c.crash(s, chance.IntN(2) == 0)
					c.start(s)
				}
			case 1:
				if s.core.currentTerm == 0 {
					c.input(s, (*Raft).startCampaign)
				}
			case 2, 3:
				c.save(s)
			default:
				if len(c.flight) > 0 {
					c.deliver(c.flight[chance.IntN(len(c.flight))])
				}
			}
		}
		if c.fault != nil {
			t.Fatalf("seed %d: %v", seed, c.fault)
		}
		elected += c.oracles.elections
	}
	if elected < 200 {
		t.Fatalf("only %d elections succeeded: this shows nothing", elected)
	}
}

// Goal: Leader Append-Only: whatever a leader hears in its term, it neither
// deletes nor overwrites an entry.
// Method: every refusal, stale requests of other leaders and candidates, between
// commands; the log must grow only.
func TestFigure3_LeaderAppendOnly(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withLog(1, 1, 2, 3))
	calls := s.lead()
	term := s.currentTerm
	for round := range uint64(20) {
		before := slices.Clone(s.log.entries)
		for _, call := range calls {
			s.giveBack(call, &AppendEntriesReply{Term: term, ConflictTerm: round % 5, ConflictIndex: round % 7})
		}
		s.receive("2", &AppendEntries{Term: term - 1, LeaderID: "2", Entries: entriesOf(1, 3)})
		s.receive("3", &RequestVote{Term: term, CandidateID: "3", LastLogIndex: 99, LastLogTerm: term})
		s.want(Leader, term)
		for i, e := range before {
			if now := s.log.entries[i]; now.Term != e.Term || now.Index != e.Index {
				t.Fatalf("round %d: entry %d of term %d became %d of term %d", round, e.Index, e.Term, now.Index, now.Term)
			}
		}
		calls = s.propose("x")
	}
}

// legalLogs returns every log of up to three entries whose terms are 1 to 3.
func legalLogs() [][]uint64 {
	logs := [][]uint64{{}}
	for i := 0; i < len(logs); i++ {
		if l := logs[i]; len(l) < 3 {
			first := uint64(1)
			if len(l) > 0 {
				first = l[len(l)-1]
			}
			for term := first; term <= 3; term++ {
				logs = append(logs, append(slices.Clone(l), term))
			}
		}
	}
	return logs
}

// compatible reports whether two logs can exist in one cluster: a term that
// occurs in both begins at the same place behind the same entries, for it had
// one leader, which only appended.
func compatible(a, b []uint64) bool {
	for i, term := range a {
		j := slices.Index(b, term)
		if j >= 0 && slices.Index(a, term) == i && !slices.Equal(a[:i], b[:j]) {
			return false
		}
	}
	return true
}

// Goal: Log Matching, and that a leader brings any follower in line (Figure 7):
// after an entry of its own the logs are equal, and it took no more refusals
// than the follower has terms, and one.
// Method: every pair of logs of up to three entries that can occur together.
func TestFigure3_LogMatching(t *testing.T) {
	defer failOnPanic(t)
	pairs := 0
	for _, leader := range legalLogs() {
		for _, follower := range legalLogs() {
			if !compatible(leader, follower) {
				continue
			}
			pairs++
			l, f := newSubject(t, withServers(3), withLog(leader...), inTerm(4)), newSubject(t, withLog(follower...), inTerm(4))
			refusals := 0
			l.lead()
			for calls := l.propose("x"); len(calls) > 0; calls = l.takeCalls() {
				req := l.entriesTo("2", calls)
				reply := f.append(AppendEntries{
					Term: req.Term, LeaderID: "2", PrevLogIndex: req.PrevLogIndex, PrevLogTerm: req.PrevLogTerm,
					Entries: req.Entries, LeaderCommit: req.LeaderCommit,
				})
				if !reply.Success {
					refusals++
				}
				l.giveBack(l.to("2", calls), &reply)
				if reply.Success {
					break
				}
			}
			f.wantLog(append(slices.Clone(leader), 5)...)
			if limit := len(slices.Compact(slices.Clone(follower))) + 1; refusals > limit {
				t.Fatalf("leader %v, follower %v: %d refusals, want at most %d", leader, follower, refusals, limit)
			}
		}
	}
	if pairs < 200 {
		t.Fatalf("only %d pairs", pairs)
	}
}

// Goal: Leader Completeness, the argument of Figure 9: if a majority holds an
// entry, nobody without it can be elected.
// Method: clusters of 3, 4 and 5; every majority as holders, every server as
// candidate, everybody votes.
func TestFigure3_LeaderCompleteness(t *testing.T) {
	defer failOnPanic(t)
	for n := 3; n <= 5; n++ {
		for holders := range 1 << n {
			count := 0
			for i := range n {
				count += holders >> i & 1
			}
			if count < members.Majority(n) {
				continue
			}
			for candidate := range n {
				c := newCluster(n, nil)
				for i, s := range c.servers {
					s.disk = State{Term: 2, Entries: entriesOf(1, 1)}
					if holders>>i&1 == 1 {
						s.disk.Entries = entriesOf(1, 1, 2)
					}
					c.start(s)
				}
				s := c.servers[candidate]
				c.input(s, (*Raft).startCampaign)
				c.settle()
				holds := holders>>candidate&1 == 1
				if leads := s.core.role == Leader; leads != holds {
					t.Fatalf("%d servers, holders %0*b: candidate %s holds the entry: %v, is elected: %v", n, n, holders, s.id, holds, leads)
				}
			}
		}
	}
}

// Goal: State Machine Safety: wherever a leader dies, no two servers apply
// different entries at an index, and what it had committed is applied.
// Method: replication among three, stopped after each possible number of
// deliveries and saves; then each of the others takes over.
func TestFigure3_StateMachineSafety(t *testing.T) {
	defer failOnPanic(t)
	for _, successor := range []ID{"2", "3"} {
		for steps := range 30 {
			c := newCluster(3, func(c *Config) { c.Noop = true })
			c.elect("1")
			for _, data := range []string{"a", "b", "c"} {
				_, _ = c.propose("1", data)
			}
			for step := range steps {
				if !c.save(c.servers[step%3]) && len(c.flight) > 0 {
					c.deliver(c.flight[step%len(c.flight)])
				}
			}
			committed := slices.Clone(c.server("1").applied)
			c.crash(c.server("1"), false)
			c.settle()
			for range 3 { // the first may be refused for its shorter log
				c.input(c.server(successor), (*Raft).startCampaign)
				c.settle()
				successor = map[ID]ID{"2": "3", "3": "2"}[successor]
			}
			c.start(c.server("1"))
			for range 3 {
				for _, s := range c.servers {
					if s.core.role == Leader {
						c.tick(s.id, 2)
					}
				}
				c.settle()
			}
			if c.fault != nil {
				t.Fatalf("after %d steps: %v", steps, c.fault)
			}
			for _, s := range c.servers {
				if got := fmt.Sprint(s.applied); len(s.applied) < len(committed) || got != fmt.Sprint(c.servers[1].applied) {
					t.Fatalf("after %d steps: %s applied %v, the old leader %v, server 2 %v", steps, s.id, s.applied, committed, c.servers[1].applied)
				}
			}
		}
	}
}

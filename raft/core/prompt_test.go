package core

import "testing"

// Config.PromptTicks and PromptStart: what need not wait for a heartbeat or for a
// whole election timeout.

// Goal: followers hear of a higher commit index PromptTicks after it rose, once;
// without the option with the next heartbeat; and whatever is sent carries the news.
// Method: a heartbeat every ten ticks; a command is committed; count what leaves.
func TestPromptTicks_TellTheCommitIndexOnce(t *testing.T) {
	defer failOnPanic(t)
	for _, c := range []struct{ prompt, at int }{{0, 9}, {1, 1}, {3, 3}} {
		s := newSubject(t, func(c *Config) { c.HeartbeatTicks, c.ElectionTicks = 9, 20 }, func(config *Config) { config.PromptTicks = c.prompt })
		for _, call := range s.lead() {
			s.accept(call)
		}
		for _, call := range s.propose("x") {
			s.accept(call)
		}
		if s.commitIndex != 1 || len(s.takeCalls()) != 0 {
			t.Fatal("the commit index was told by a message of its own")
		}
		for tick := 1; tick <= 9; tick++ {
			calls := s.ticks(1)
			if told := len(calls) > 0; told != (tick == c.at || tick == 9) {
				t.Fatalf("prompt %d: told in tick %d: %v", c.prompt, tick, told)
			}
			if len(calls) > 0 && s.entriesTo("2", calls).LeaderCommit != 1 {
				t.Fatalf("prompt %d: tick %d told %+v", c.prompt, tick, calls)
			}
			for _, call := range calls {
				s.accept(call)
			}
		}
	}
}

// Goal: a lost call is tried again once after PromptTicks, and then only with the
// heartbeat: a dead follower costs no more than that.
// Method: every call to one follower is lost, a heartbeat every nine ticks.
func TestPromptTicks_RetryALostCallOnce(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, func(c *Config) { c.HeartbeatTicks, c.ElectionTicks, c.PromptTicks = 9, 20, 2 })
	for _, call := range s.lead() {
		s.accept(call)
	}
	s.giveBack(s.to("2", s.propose("x")), nil)
	var sent []int
	for tick := 1; tick <= 20; tick++ {
		for _, call := range s.ticks(1) {
			if call.To != "2" {
				s.accept(call)
				continue
			}
			if entries := len(call.Request.(*AppendEntries).Entries); (entries == 1) != (tick == 2) {
				t.Fatalf("tick %d sent %d entries", tick, entries)
			}
			sent = append(sent, tick)
			s.giveBack(call, nil)
		}
	}
	if len(sent) != 3 || sent[0] != 2 || sent[1] != 9 || sent[2] != 18 {
		t.Fatalf("tried in ticks %v, want 2, 9 and 18", sent)
	}
	// Once it has answered, the next loss is tried again early like the first.
	s.takeCalls()
	s.accept(s.to("2", s.ticks(7)))
	s.giveBack(s.to("2", s.takeCalls()), nil)
	if early := s.ticks(2); len(early) == 0 || early[0].To != "2" {
		t.Fatalf("after an answer and another loss: %v", early)
	}
}

// Goal: an answer that comes after a loss makes the early attempt needless.
// Method: two commands under way, the second lost, the first answered.
func TestPromptTicks_AnAnswerMakesTheRetryNeedless(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, func(c *Config) { c.HeartbeatTicks, c.ElectionTicks, c.PromptTicks = 9, 20, 2 })
	for _, call := range s.lead() {
		s.accept(call)
	}
	first, second := s.to("2", s.propose("x")), s.to("2", s.propose("y"))
	s.giveBack(second, nil)
	s.giveBack(first, &AppendEntriesReply{Term: 1, ConflictIndex: 1}) // of the generation before
	if calls := s.ticks(2); len(calls) != 0 {
		t.Fatalf("sent %v", calls)
	}
}

// Goal: a server that never saw a term need not wait out an election timeout; one
// that did waits like any other.
// Method: many seeds; the first wait is drawn from [0, ElectionTicks), later
// ones and those of a server with a term are not.
func TestPromptStart_ShortensOnlyTheFirstWait(t *testing.T) {
	defer failOnPanic(t)
	prompt := func(c *Config) { c.PromptStart = true }
	for seed := range uint64(100) {
		s := newSubject(t, withSeed(seed), prompt)
		if s.electionTimeout < 0 || s.electionTimeout >= s.config.ElectionTicks {
			t.Fatalf("the first wait is %d ticks", s.electionTimeout)
		}
		s.campaigns()
		if s.want(Candidate, 1); s.electionTimeout < s.config.ElectionTicks {
			t.Fatalf("the second wait is %d ticks", s.electionTimeout)
		}
		old := newSubject(t, withSeed(seed), prompt, inTerm(1))
		if old.electionTimeout < old.config.ElectionTicks {
			t.Fatalf("a server in term 1 waits %d ticks", old.electionTimeout)
		}
	}
}

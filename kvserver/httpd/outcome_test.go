package httpd

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft"
	"raftkv/tests/virtual"
)

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	virtual.Time(t, test)
}

// later asks in the background; the answer comes out of the channel.
func later(ask func() answer) <-chan answer {
	answered := make(chan answer, 1)
	go func() { answered <- ask() }()
	return answered
}

// wantSilence checks that everything has come to rest without an answer.
func wantSilence(t *testing.T, answered <-chan answer) {
	t.Helper()
	synctest.Wait()
	select {
	case a := <-answered:
		t.Fatalf("answered %d too early: %s", a.status, a.body)
	default:
	}
}

// Goal: a write is answered when its command was chosen and applied, and not a
// moment before.
// Method: hold the proposal, see that nothing comes, choose it, see the answer.
func TestAWriteIsAnsweredOnlyOnceItIsApplied(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		held := log.Held()
		answered := later(func() answer { return ask(s, "PUT", "/v1/kv/k", "v") })
		p := <-held
		wantSilence(t, answered)
		log.Deliver(p.Command)
		a := <-answered
		wantStatus(t, a, 201)
		if got := stored(s, "k"); got != "v" {
			t.Errorf("answered, but the store has %q", got)
		}
	})
}

// Goal: a write knows its own command when the log brings it back, whatever
// stands at the index it was given.
// Method: other servers' commands, one of an earlier life of this server with
// the very same number among them, take the index; the write must go on
// waiting, and be told that it was lost when that is certain.
func TestAWriteIsNotAnsweredByAnotherCommandAtItsIndex(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		held := log.Held()
		answered := later(func() answer { return ask(s, "PUT", "/v1/kv/mine", "v") })
		p := <-held
		c, err := kv.DecodeCommand(p.Command)
		if err != nil {
			t.Fatal(err)
		}
		earlierLife := kv.EncodeCommand(kv.Command{
			Op: kv.OpPut, ID: kv.RequestID{Origin: c.ID.Origin + 1, Number: c.ID.Number}, Key: []byte("other"), Value: []byte("v"),
		})
		log.Deliver(earlierLife) // at the index that p was given
		log.Deliver(fakelog.PutCommand("third", "v"))
		wantSilence(t, answered)
		p.Failed(raft.ErrLost)
		second := <-held // tried again, as it may be
		if string(second.Command) == string(p.Command) {
			t.Error("the second attempt has the identity of the first")
		}
		wantSilence(t, answered)
		log.Deliver(second.Command)
		wantStatus(t, <-answered, 201)
		if got := stored(s, "mine"); got != "v" {
			t.Errorf("the store has %q", got)
		}
	})
}

// Goal: what the log says of a proposal is what the client hears, class by class.
// Method: one scripted end for each row; the store must show a write that was
// reported as applied, and none that was reported as not applied.
func TestEveryEndOfAProposalHasItsAnswer(t *testing.T) {
	cases := []struct {
		name    string
		end     func(log *fakelog.Log, p *raft.Proposal)
		status  int
		code    api.Code
		outcome api.Outcome
	}{
		{"lost each time", func(log *fakelog.Log, p *raft.Proposal) { log.Place(p); p.Failed(raft.ErrLost) }, 503, api.CodeNoLeader, api.OutcomeNotApplied},
		{"not leader each time", func(_ *fakelog.Log, p *raft.Proposal) { p.Failed(raft.ErrNotLeader) }, 503, api.CodeNoLeader, api.OutcomeNotApplied},
		{"leadership is being handed over", func(_ *fakelog.Log, p *raft.Proposal) { p.Failed(raft.ErrTransferring) }, 503, api.CodeNoLeader, api.OutcomeNotApplied},
		{"overloaded", func(_ *fakelog.Log, p *raft.Proposal) { p.Failed(raft.ErrOverloaded) }, 429, api.CodeOverloaded, api.OutcomeNotApplied},
		{"too large for the log", func(_ *fakelog.Log, p *raft.Proposal) { p.Failed(raft.ErrTooLarge) }, 413, api.CodeValueTooLarge, api.OutcomeNotApplied},
		{"stopped before it was placed", func(_ *fakelog.Log, p *raft.Proposal) { p.Failed(raft.ErrStopped) }, 503, api.CodeStopping, api.OutcomeNotApplied},
		{"stopped after it was placed", func(log *fakelog.Log, p *raft.Proposal) { log.Place(p); p.Failed(raft.ErrStopped) }, 504, api.CodeStopping, api.OutcomeUnknown},
		{"an error that is not in the contract", func(log *fakelog.Log, p *raft.Proposal) { log.Place(p); p.Failed(errors.New("?")) }, 500, api.CodeInternal, api.OutcomeUnknown},
		{"covered by a snapshot", func(log *fakelog.Log, p *raft.Proposal) { log.Place(p); p.Failed(raft.ErrUnknown) }, 504, api.CodeLeadershipLost, api.OutcomeUnknown},
		{"no end at all", func(log *fakelog.Log, p *raft.Proposal) { log.Place(p) }, 504, api.CodeTimeout, api.OutcomeUnknown},
		{"no end, and not even placed", func(*fakelog.Log, *raft.Proposal) {}, 504, api.CodeTimeout, api.OutcomeUnknown},
		{"no end, and the term moved on", func(log *fakelog.Log, p *raft.Proposal) {
			log.Place(p)
			log.Set(func(s *raft.Status) { s.Term++; s.Leader = "n2" })
		}, 504, api.CodeLeadershipLost, api.OutcomeUnknown},
		{"the node stops", func(log *fakelog.Log, p *raft.Proposal) { log.Place(p); log.Stop() }, 504, api.CodeStopping, api.OutcomeUnknown},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s, log := newServer(t, nil)
				before := stateOf(s)
				log.OnPropose = func(p *raft.Proposal) { c.end(log, p) }
				began := time.Now()
				wantProblem(t, ask(s, "PUT", "/v1/kv/k", "v"), c.status, c.code, c.outcome)
				if took := time.Since(began); took > s.Config().RequestTimeout {
					t.Errorf("it took %v", took)
				}
				if retried := log.Attempts() > 1; retried != (c.code == api.CodeNoLeader) {
					t.Errorf("%d attempts for an end as %s", log.Attempts(), c.code)
				}
				if stateOf(s) != before {
					t.Error("the store changed")
				}
			})
		})
	}
}

// Goal: a write whose time ends just after its leader was replaced, before
// anybody has given that leader up, is said to be lost from sight, not undone.
// Method: a term that moves on shortly before the end of the time.
func TestAWriteWhoseTimeEndsAsItsLeaderIsReplacedIsUnknown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *settings) { c.RequestTimeout = 2 * time.Second })
		held := log.Held()
		answered := later(func() answer { return ask(s, "PUT", "/v1/kv/k", "v") })
		p := <-held
		log.Place(p)
		time.Sleep(2*time.Second - 10*time.Millisecond)
		log.Set(func(s *raft.Status) { s.Term++; s.Leader = "n2" })
		wantProblem(t, <-answered, 504, api.CodeLeadershipLost, api.OutcomeUnknown)
		log.Deliver(p.Command) // it happens after all
	})
}

// Goal: a write that was reported as unknown happens at most once, and its late
// result disturbs nobody.
// Method: let it time out, deliver its command afterwards, go on.
func TestAWriteOfUnknownOutcomeMayStillHappen(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		held := log.Held()
		answered := later(func() answer { return ask(s, "POST", "/v1/kv/k?op=append", "x") })
		p := <-held
		wantProblem(t, <-answered, 504, api.CodeTimeout, api.OutcomeUnknown)
		log.Deliver(p.Command)
		log.OnPropose = nil
		wantStatus(t, ask(s, "POST", "/v1/kv/k?op=append", "y"), 200)
		if got := stored(s, "k"); got != "xy" {
			t.Errorf("the store has %q, want xy", got)
		}
	})
}

// Goal: a definite loss is tried again within the time for it, here or at the
// new leader, and succeeds without the client noticing.
// Method: lose the first two attempts in different ways.
func TestADefiniteLossIsTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		ends := []error{raft.ErrLost, raft.ErrTransferring}
		log.OnPropose = func(p *raft.Proposal) {
			if n := log.Attempts(); n <= len(ends) {
				p.Failed(ends[n-1])
				return
			}
			log.Choose(p)
		}
		wantStatus(t, ask(s, "POST", "/v1/kv/k?op=append", "once"), 200)
		if got := stored(s, "k"); got != "once" || log.Attempts() != 3 {
			t.Errorf("the store has %q after %d attempts", got, log.Attempts())
		}
	})
}

// Goal: clients do not see an election that ends soon, and do not wait long for
// one that does not.
// Method: no leader; then one appears after 300 ms of virtual time, or never.
func TestAWriteWaitsForALeaderABoundedTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		log.SetLeader("")
		go func() {
			time.Sleep(300 * time.Millisecond)
			log.SetLeader("n1")
		}()
		wantStatus(t, ask(s, "PUT", "/v1/kv/k", "v"), 201)
		log.SetLeader("")
		began := time.Now()
		wantProblem(t, ask(s, "PUT", "/v1/kv/k", "w"), 503, api.CodeNoLeader, api.OutcomeNotApplied)
		if took := time.Since(began); took < s.Config().LeaderWait || took > s.Config().LeaderWait+32*time.Millisecond {
			t.Errorf("gave up after %v, want about %v", took, s.Config().LeaderWait)
		}
		if got := stored(s, "k"); got != "v" {
			t.Errorf("the store has %q", got)
		}
	})
}

// Goal: Close ends every request that waits, each with the truth about it, and
// refuses new ones.
// Method: one write that was placed, one that waits for a leader, one read that waits for the index, one for the applier.
func TestCloseEndsEverythingThatWaits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		stuck := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

		held := log.Held()
		placed := later(func() answer { return ask(s, "PUT", "/v1/kv/a", "v") })
		<-held
		log.Mu.Lock()
		log.OnRead = func(ctx context.Context) (uint64, error) { return 0, stuck(ctx) }
		log.Mu.Unlock()
		asking := later(func() answer { return ask(s, "GET", "/v1/kv/a", "") })
		synctest.Wait()
		log.Mu.Lock()
		log.OnRead = func(context.Context) (uint64, error) { return 1000, nil }
		log.Mu.Unlock()
		lagging := later(func() answer { return ask(s, "GET", "/v1/kv/a", "") })
		synctest.Wait()
		log.SetLeader("")
		leaderless := later(func() answer { return ask(s, "DELETE", "/v1/kv/c", "") })
		synctest.Wait()

		s.Close()
		wantProblem(t, <-placed, 504, api.CodeStopping, api.OutcomeUnknown)
		wantProblem(t, <-leaderless, 503, api.CodeStopping, api.OutcomeNotApplied)
		wantProblem(t, <-asking, 503, api.CodeStopping, api.OutcomeNotApplied)
		wantProblem(t, <-lagging, 503, api.CodeStopping, api.OutcomeNotApplied)
		for _, target := range []string{"/v1/kv/a", "/v1/kv/a?consistency=stale", "/readyz", "/livez"} {
			wantProblem(t, ask(s, "GET", target, ""), 503, api.CodeStopping, api.OutcomeNotApplied)
		}
		log.SetLeader("n1")
		wantProblem(t, ask(s, "PUT", "/v1/kv/a", "v"), 503, api.CodeStopping, api.OutcomeNotApplied)
		s.Close() // again is harmless
	})
}

// Goal: a client that goes away takes its request with it.
// Method: cancel the request's context while the write waits; the fixture
// checks that nothing is left.
func TestAClientThatLeavesLeavesNothingBehind(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		held := log.Held()
		ctx, leave := context.WithCancel(context.Background())
		answered := later(func() answer { return askCtx(ctx, s, "PUT", "/v1/kv/k", "v") })
		<-held
		leave()
		wantProblem(t, <-answered, 504, api.CodeTimeout, api.OutcomeUnknown)
	})
}

// Goal: an index without a command moves the store on, and malformed bytes of the
// known version do not stop it.
// Method: no-ops and a put that ends early between writes.
func TestIndicesWithoutACommandMoveTheStoreOn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		log.Deliver(nil)
		wantStatus(t, ask(s, "PUT", "/v1/kv/k", "1"), 201)
		log.Deliver([]byte{1, byte(kv.OpPut)})
		log.Deliver(nil)
		wantStatus(t, ask(s, "PUT", "/v1/kv/k", "2"), 200)
		wantStatus(t, ask(s, "GET", "/v1/kv/k", ""), 200)
		if s.Machine().Describe().Applied != 5 {
			t.Errorf("applied %d, want 5", s.Machine().Describe().Applied)
		}
	})
}

// Goal: many writes at once each get their own result.
// Method: appends to one key from many goroutines; every length must be
// answered once.
func TestConcurrentWritesEachGetTheirOwnResult(t *testing.T) {
	s, log := newServer(t, nil)
	const writers, each = 16, 50
	lengths := make(chan uint64, writers*each)
	for range writers {
		go func() {
			for range each {
				r, _, err := s.Write(t.Context(), new(kvserver.Caller), kv.Command{Op: kv.OpAppend, Key: []byte("k"), Value: []byte("x")}, nil, nil)
				if err != nil {
					t.Error(err)
				}
				lengths <- r.Length
			}
		}()
	}
	seen := map[uint64]bool{}
	for range writers * each {
		seen[<-lengths] = true
	}
	if len(seen) != writers*each || log.Attempts() != writers*each {
		t.Errorf("%d different results of %d proposals, want %d", len(seen), log.Attempts(), writers*each)
	}
}

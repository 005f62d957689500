package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// Goal: a write whose answers are lost happens once, and all attempts at it have
// the same session, lane and number. Method: the server does the write and then
// drops the connection, or says nothing, time after time.
func TestLostAnswers(t *testing.T) {
	for name, lose := range map[string]func(c *fakeConn){
		"connection dropped": func(c *fakeConn) { c.Close() },
		"no answer":          func(*fakeConn) {},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFakeCluster(t, "n1")
				lost := 0
				f.before = func(c *fakeConn, a asked) bool {
					if a.kind != clerkwire.KindAppend || lost == 5 || c.server != "n1" {
						return false
					}
					lost++
					f.apply(a)
					lose(c)
					return true
				}
				c := f.dial(nil)
				defer f.end(c)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				if w, err := c.Append(ctx, "k", []byte("x")); err != nil || w.Revision != 1 {
					t.Errorf("%+v, %v", w, err)
				}
				if lost != 5 || f.value("k") != "x" {
					t.Errorf("%d answers were lost and the value is %q", lost, f.value("k"))
				}
				all := f.requests(clerkwire.KindAppend)
				for _, a := range all {
					if w, first := a.write, all[0].write; w.Session != first.Session || w.Lane != first.Lane || w.Seq != first.Seq {
						t.Errorf("an attempt is %+v, the first was %+v", w, first)
					}
				}
			})
		})
	}
}

// Goal: a Clerk goes where it is told that the leader is, remembers it, and does
// not go back to a server that knows none.
func TestTheLeaderIsFound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n3")
		c := f.dial(nil)
		defer f.end(c)
		put := func() {
			t.Helper()
			if _, err := c.Put(t.Context(), "k", nil); err != nil {
				t.Error(err)
			}
		}
		begun := time.Now()
		put()
		if time.Since(begun) > 0 {
			t.Errorf("finding the leader took a pause of %v", time.Since(begun))
		}
		put()
		before := len(f.asked)
		put()
		if last := f.asked[before:]; len(last) != 1 || last[0].server != "n3" {
			t.Errorf("a third put asked %v", last)
		}
		// n3 is cut off and knows no leader; n1 and n2 have one.
		f.set(func() { f.leader = "n2" })
		f.before = func(c *fakeConn, a asked) bool {
			if c.server == "n3" {
				c.noLeader(a, "")
				return true
			}
			return false
		}
		put()
		before = len(f.asked)
		for range 5 {
			put()
		}
		for _, a := range f.asked[before:] {
			if a.server != "n2" {
				t.Errorf("%s is asked again, which has no leader", a.server)
			}
		}
	})
}

// Goal: stale hints that lead in a circle do not keep a Clerk from the server
// that nobody names.
func TestHintsInACircle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n3")
		f.before = func(c *fakeConn, a asked) bool {
			switch c.server {
			case "n1":
				c.noLeader(a, "n2")
			case "n2":
				c.noLeader(a, "n1")
			default:
				return false
			}
			return true
		}
		c := f.dial(nil)
		defer f.end(c)
		if _, err := c.Put(t.Context(), "k", nil); err != nil {
			t.Error(err)
		}
		if n := len(f.asked); n > 8 {
			t.Errorf("%d requests", n)
		}
	})
}

// Goal: without a leader a call pauses between rounds, longer and longer but not
// too long, and ends with its context as not applied.
func TestNoLeader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "")
		c := f.dial(nil)
		defer f.end(c)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := c.Put(ctx, "k", nil)
		e := wantError(t, err, api.OutcomeNotApplied, ErrNoLeader, context.DeadlineExceeded)
		if e.Term != 3 || e.Node == "" {
			t.Errorf("the error does not say who refused: %+v", e)
		}
		// Three attempts a round, and a round every 128 ms on the average.
		if n := len(f.asked); n < 300 || n > 1500 {
			t.Errorf("%d requests in 30 s", n)
		}
	})
}

// Goal: Clerks that lost their leader in the same moment do not all ask in the
// same moment. Method: many of them; the second rounds must be spread.
func TestPausesAreJittered(t *testing.T) {
	first := map[time.Duration]int{}
	for range 1000 {
		for round, bound := range map[int]time.Duration{1: firstPause, 3: 4 * firstPause, 50: maxPause} {
			if p := jitter(round); p <= 0 || p > bound {
				t.Fatalf("round %d: %v", round, p)
			}
		}
		first[jitter(1).Truncate(firstPause/8)]++
	}
	if len(first) < 8 {
		t.Errorf("1000 pauses are in %d of 8 parts of the interval", len(first))
	}
}

// Goal: a server that asks for a pause gets it, and the same server is asked
// again; when the context ends the error says what the matter was.
func TestOverloaded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		refusals := 0
		f.before = func(c *fakeConn, a asked) bool {
			if a.kind != clerkwire.KindPut || refusals == 0 {
				return false
			}
			refusals--
			c.refuse(a, clerkwire.Refused{Code: api.CodeOverloaded, Outcome: api.OutcomeNotApplied, Retryable: true, RetryAfter: 3 * time.Second, Leader: "n1"})
			return true
		}
		c := f.dial(nil)
		defer f.end(c)
		refusals = 2
		begun := time.Now()
		if _, err := c.Put(t.Context(), "k", nil); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took < 6*time.Second || took > 8*time.Second {
			t.Errorf("two pauses of 3 s took %v", took)
		}
		for _, a := range f.requests(clerkwire.KindPut) {
			if a.server != "n1" {
				t.Errorf("%s was asked", a.server)
			}
		}
		refusals = 1000
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.Put(ctx, "k", nil)
		if e := wantError(t, err, api.OutcomeNotApplied, ErrOverloaded, context.DeadlineExceeded); e.RetryAfter != 3*time.Second {
			t.Errorf("RetryAfter is %v", e.RetryAfter)
		}
	})
}

// Goal: a write whose context ends while it is pending is of unknown outcome; a
// read is not; one that never left is not. The answers that come later do no
// harm.
func TestContextEndsInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		var held []func()
		f.before = func(c *fakeConn, a asked) bool {
			if a.kind == clerkwire.KindOpen || string(a.write.Key)+string(a.get.Key) != "held" {
				return false
			}
			held = append(held, func() { c.answer(a) })
			return true
		}
		c := f.dial(nil)
		defer f.end(c)
		for _, end := range []error{context.DeadlineExceeded, context.Canceled} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if end == context.Canceled {
				time.AfterFunc(time.Millisecond, cancel)
			}
			_, err := c.Put(ctx, "held", []byte("x"))
			e := wantError(t, err, api.OutcomeUnknown, ErrOutcomeUnknown, end)
			if !strings.Contains(e.Detail, "had not answered yet") { // nothing was lost
				t.Errorf("it is explained by %q", e.Detail)
			}
			cancel()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Get(ctx, "held")
		wantError(t, err, api.OutcomeNotApplied, context.DeadlineExceeded)
		_, err = c.Put(ctx, "held", nil)
		wantError(t, err, api.OutcomeNotApplied, context.DeadlineExceeded)
		if _, err := c.Put(t.Context(), "k", []byte("y")); err != nil || f.value("k") != "y" {
			t.Error(err)
		}
		synctest.Wait()
		for _, answer := range held {
			answer()
		}
		if _, err := c.Get(t.Context(), "k"); err != nil {
			t.Error(err)
		}
	})
}

// Goal: an attempt that is not answered in time is given up and another server
// asked, and neither the connection nor its other calls are ended.
func TestAttemptTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		f.before = func(c *fakeConn, a asked) bool { return a.kind == clerkwire.KindPut && c.server == "n1" }
		c := f.dial(func(config *Config) { config.AttemptTimeout = 2 * time.Second })
		defer f.end(c)
		begun := time.Now()
		var call sync.WaitGroup
		call.Go(func() {
			if _, err := c.Put(t.Context(), "k", nil); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		f.set(func() { f.leader = "n2" }) // n1 hangs, n2 was elected
		call.Wait()
		if took := time.Since(begun); took < 2*time.Second || took > 2600*time.Millisecond {
			t.Errorf("another server was asked after %v", took)
		}
		if f.dials["n1"] != 1 {
			t.Errorf("%d connections to n1", f.dials["n1"])
		}
	})
}

// expire makes the servers forget the session for one attempt.
func expire(c *fakeConn, a asked) {
	c.refuse(a, clerkwire.Refused{Code: api.CodeSessionExpired, Outcome: api.OutcomeNotApplied, Leader: c.server})
}

// Goal: a session that expired before the first attempt is replaced unseen; one
// that expired between two attempts makes the outcome unknown, and is said.
func TestSessionExpired(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		c := f.dial(nil)
		defer f.end(c)
		if _, err := c.Put(t.Context(), "k", nil); err != nil {
			t.Fatal(err)
		}
		expired := f.sessions
		f.before = func(c *fakeConn, a asked) bool {
			if a.write.Session == expired && a.kind != clerkwire.KindOpen {
				expire(c, a)
				return true
			}
			return false
		}
		var calls sync.WaitGroup
		for i := range 20 {
			calls.Go(func() {
				if _, err := c.Append(t.Context(), fmt.Sprint("a", i), []byte("x")); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		for i := range 20 {
			if got := f.value(fmt.Sprint("a", i)); got != "x" {
				t.Errorf("a%d is %q", i, got)
			}
		}
		if f.sessions != expired+1 {
			t.Errorf("%d sessions were opened for one that expired", f.sessions-expired)
		}

		attempts := 0
		f.set(func() {
			f.before = func(c *fakeConn, a asked) bool {
				if attempts++; attempts == 1 {
					c.Close()
					return true
				}
				if c.server == "n1" {
					expire(c, a)
					return true
				}
				return false
			}
		})
		_, err := c.Append(t.Context(), "k", []byte("x"))
		wantError(t, err, api.OutcomeUnknown, ErrSessionExpired, ErrOutcomeUnknown)
	})
}

// Goal: what is refused after an attempt whose answer was lost is refused for
// certain only if the log decided so. Method: the first answer is lost, the
// second attempt is refused for good.
func TestRefusedAfterALostAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		refused clerkwire.Refused
		outcome api.Outcome
		want    []error
	}{
		"a condition, decided": {
			clerkwire.Refused{Code: api.CodePreconditionFailed, Decided: true, Revision: 9, Version: 2}, api.OutcomeNotApplied, []error{ErrConflict},
		},
		"the quota, decided": {
			clerkwire.Refused{Code: api.CodeQuotaExceeded, Decided: true, Retryable: true}, api.OutcomeNotApplied, []error{ErrQuota},
		},
		"the size, at the door": {
			clerkwire.Refused{Code: api.CodeValueTooLarge}, api.OutcomeUnknown, []error{ErrTooLarge, ErrOutcomeUnknown},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFakeCluster(t, "n1")
				attempts := 0
				f.before = func(conn *fakeConn, a asked) bool {
					if a.kind != clerkwire.KindPut || conn.server != "n1" {
						return false
					}
					if attempts++; attempts == 1 {
						conn.Close()
						return true
					}
					r := c.refused
					r.Outcome, r.Leader = api.OutcomeNotApplied, "n1"
					conn.refuse(a, r)
					return true
				}
				clerk := f.dial(nil)
				defer f.end(clerk)
				_, err := clerk.Put(t.Context(), "k", nil)
				e := wantError(t, err, c.outcome, c.want...)
				if e.Revision != c.refused.Revision || e.Version != c.refused.Version {
					t.Errorf("%+v", e)
				}
				attempts = 1 // and now without a lost answer
				_, err = clerk.Put(t.Context(), "k", nil)
				wantError(t, err, api.OutcomeNotApplied, c.want[0])
			})
		})
	}
}

// Goal: an outcome that a server does not know is found out by asking again.
func TestUnknownOutcomesAreAskedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		codes := []api.Code{api.CodeTimeout, api.CodeLeadershipLost, api.CodeStopping, api.CodeInternal}
		f.before = func(c *fakeConn, a asked) bool {
			if a.kind != clerkwire.KindAppend || len(codes) == 0 {
				return false
			}
			c.refuse(a, clerkwire.Refused{Code: codes[0], Outcome: api.OutcomeUnknown, Leader: "n1"})
			codes = codes[1:]
			f.apply(a)
			return true
		}
		c := f.dial(nil)
		defer f.end(c)
		if w, err := c.Append(t.Context(), "k", []byte("x")); err != nil || w.Revision != 1 || f.value("k") != "x" || len(codes) != 0 {
			t.Errorf("%+v, %v, %q", w, err, f.value("k"))
		}
	})
}

// Goal: Close ends pending calls: writes as of unknown outcome, and waits for
// everything that the Clerk started. Calls afterwards fail.
func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		f.before = func(_ *fakeConn, a asked) bool { return a.kind != clerkwire.KindOpen }
		c := f.dial(nil)
		var calls sync.WaitGroup
		for range 3 {
			calls.Go(func() {
				_, err := c.Put(t.Context(), "k", nil)
				wantError(t, err, api.OutcomeUnknown, ErrOutcomeUnknown, ErrClosed)
			})
			calls.Go(func() {
				_, err := c.Get(t.Context(), "k")
				wantError(t, err, api.OutcomeNotApplied, ErrClosed)
			})
		}
		synctest.Wait()
		f.end(c)
		calls.Wait()
		_, err := c.Put(t.Context(), "k", nil)
		wantError(t, err, api.OutcomeNotApplied, ErrClosed)
		c.Close() // once more does no harm
	})
}

// Goal: every error of the package says what a caller can do with it in words.
func TestErrorTexts(t *testing.T) {
	cause := errors.New("connection reset")
	for _, c := range []struct {
		err  *Error
		want []string
	}{
		{lost("h:1", cause), []string{"h:1", "connection reset", "may have happened"}},
		{unreachable("h:1", cause), []string{"h:1", "could not be reached", "connection reset"}},
		{&Error{Code: api.CodeQuotaExceeded}, []string{"quota_exceeded"}},
	} {
		for _, part := range c.want {
			if text := c.err.Error(); !strings.Contains(text, part) {
				t.Errorf("%q does not say %q", text, part)
			}
		}
	}
}

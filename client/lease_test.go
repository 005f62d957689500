package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// fakeLeases are the leases of a fake cluster: until when each of them lives. A server
// that is in silent takes requests and answers none.
type fakeLeases struct {
	mu     sync.Mutex
	ends   map[int64]time.Time
	ttls   map[int64]time.Duration
	silent map[string]bool
}

// leases makes the fake servers grant leases, as long as they lead.
func (f *fakeCluster) leases() *fakeLeases {
	l := &fakeLeases{ends: map[int64]time.Time{}, ttls: map[int64]time.Duration{}, silent: map[string]bool{}}
	f.before = func(c *fakeConn, a asked) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		f.mu.Lock()
		leader := f.leader
		f.mu.Unlock()
		switch {
		case l.silent[c.server]:
			return true
		case a.kind < clerkwire.KindGrant || a.kind > clerkwire.KindTouch || leader != c.server:
			return false
		}
		now := time.Now()
		switch a.kind {
		case clerkwire.KindGrant:
			id := int64(len(l.ends) + 1)
			l.ttls[id] = time.Duration(a.grant.TTL) * time.Millisecond
			l.ends[id] = now.Add(l.ttls[id])
			sendFrame(c, clerkwire.KindGranted, a.number, clerkwire.Granted{Lease: id})
		case clerkwire.KindKeepAlive:
			var kept clerkwire.Kept
			for _, id := range a.kept.Leases {
				ttl := uint64(0)
				if now.Before(l.ends[id]) {
					ttl, l.ends[id] = uint64(l.ttls[id].Milliseconds()), now.Add(l.ttls[id])
				}
				kept.TTLs = append(kept.TTLs, ttl)
			}
			sendFrame(c, clerkwire.KindKept, a.number, kept)
		case clerkwire.KindRevoke:
			l.ends[a.revoke.Lease] = now
			sendFrame(c, clerkwire.KindRevoke.Answer(), a.number, clerkwire.Written{Revision: 1})
		}
		return true
	}
	return l
}

func (l *fakeLeases) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// Goal (L1; K9 of a lease): a lease survives a leader that falls silent without a word,
// because a request without an answer is given up early, and what counts is when the
// request was sent that was answered. Method: leases of 1 s to 30 s; the leader falls
// silent in the middle of a keep-alive, another one leads.
func TestALeaseSurvivesASilentLeader(t *testing.T) {
	for _, ttl := range []time.Duration{time.Second, 5 * time.Second, 30 * time.Second} {
		bubble(t, func(t *testing.T) {
			f := newFakeCluster(t, "n1")
			leases := f.leases()
			c := f.dial(nil)
			defer f.end(c)
			l, err := c.Grant(t.Context(), ttl)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(ttl)
			leases.set(func() { leases.silent["n1"] = true })
			f.set(func() { f.leader = "n2" })
			time.Sleep(3 * ttl)
			if err := context.Cause(l.Context()); err != nil {
				t.Errorf("a lease of %v: %v", ttl, err)
			}
			leases.set(func() { leases.silent["n2"] = true })
			all := f.requests(clerkwire.KindKeepAlive)
			last := all[len(all)-1].at
			end(t, l)
			if took := time.Since(last); took > ttl*9/10 || took < ttl*8/10 || !errors.Is(context.Cause(l.Context()), ErrLeaseLost) {
				t.Errorf("a lease of %v: lost %v after the last request that was answered: %v", ttl, took, context.Cause(l.Context()))
			}
		})
	}
}

// end waits for the end of a lease, for an hour at most.
func end(t *testing.T, l *Lease) {
	t.Helper()
	select {
	case <-l.Context().Done():
	case <-time.After(time.Hour):
		t.Error("the lease does not end")
	}
}

// Goal (L6, K9 of a lease): a lease that the servers have ended is lost as soon as they say so,
// and one whose machine slept as soon as it wakes, though no timer has noticed. Method: a
// lease that ends early at the servers; a clock of sleep that jumps.
func TestALeaseIsLostAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		leases := f.leases()
		var slept atomic.Int64
		c := f.dial(nil)
		c.keeper.slept = func() time.Duration { return time.Duration(slept.Load()) }
		defer f.end(c)
		ended, err := c.Grant(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		leases.set(func() { leases.ends[ended.ID()] = time.Now() })
		begun := time.Now()
		end(t, ended)
		if took := time.Since(begun); took != 20*time.Second || !errors.Is(context.Cause(ended.Context()), ErrLeaseLost) {
			t.Errorf("heard of the end after %v: %v", took, context.Cause(ended.Context()))
		}
		asleep, err := c.Grant(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		begun = time.Now()
		slept.Store(int64(40 * time.Second))
		end(t, asleep)
		if took := time.Since(begun); took > time.Second || !errors.Is(context.Cause(asleep.Context()), ErrLeaseLost) {
			t.Errorf("noticed the sleep after %v: %v", took, context.Cause(asleep.Context()))
		}
		if n := len(f.requests(clerkwire.KindKeepAlive)); n != 1 {
			t.Errorf("%d keep-alives were sent", n)
		}
	})
}

// Goal: a Clerk whose keep-alives are refused for good asks again now and then, for the
// rule may be changed, and not all the time. Method: a leader that forbids them until the
// fifth.
func TestARefusedKeepAliveIsNotRepeatedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		f.leases()
		serve, refused := f.before, 0
		f.before = func(c *fakeConn, a asked) bool {
			if a.kind != clerkwire.KindKeepAlive || refused == 5 {
				return serve(c, a)
			}
			refused++
			c.refuse(a, clerkwire.Refused{Code: api.CodeForbidden, Outcome: api.OutcomeNotApplied})
			return true
		}
		c := f.dial(nil)
		defer f.end(c)
		l, err := c.Grant(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for len(f.requests(clerkwire.KindKeepAlive)) < 6 {
			time.Sleep(time.Second)
		}
		if took := time.Since(begun); took < 34*time.Second || took > 40*time.Second || l.Context().Err() != nil {
			t.Errorf("the sixth request came after %v: %v", took, l.Context().Err())
		}
	})
}

// Goal: a lease that is lost because the servers refused the caller says so, beside that it is
// lost, and so does a lock that it holds; one refusal before a keep-alive that was taken is no
// cause of what comes later. Method: a leader that forbids keep-alives, once or for ever, and
// then falls silent.
func TestALeaseThatWasRefusedSaysWhy(t *testing.T) {
	for _, once := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			f := newFakeCluster(t, "n1")
			leases := f.leases()
			serve, refused := f.before, 0
			f.before = func(c *fakeConn, a asked) bool {
				if a.kind != clerkwire.KindKeepAlive || once && refused == 1 {
					return serve(c, a)
				}
				refused++
				c.refuse(a, clerkwire.Refused{Code: api.CodeUnauthenticated, Outcome: api.OutcomeNotApplied, Detail: "no such token"})
				return true
			}
			c := f.dial(nil)
			defer f.end(c)
			l, err := c.Grant(t.Context(), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			held := c.keeper.hold(l, "jobs", 7)
			if once {
				time.Sleep(time.Minute)
				leases.set(func() { leases.silent["n1"] = true })
			}
			end(t, l)
			for _, cause := range []error{context.Cause(l.Context()), context.Cause(held.Context())} {
				if !errors.Is(cause, ErrLeaseLost) || errors.Is(cause, ErrUnauthenticated) == once || errors.Is(cause, ErrOutcomeUnknown) {
					t.Errorf("refused once %v: lost because of %v", once, cause)
				}
			}
		})
	}
}

// Goal: leases that are due soon go along with one that is due, and the Clerk holds no
// goroutine for leases that it does not have. Method: leases that came 0.2 s apart; the
// requests of half a minute.
func TestKeepAlivesGoTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		f.leases()
		c := f.dial(nil)
		defer f.end(c)
		var all []*Lease
		for range 5 {
			l, err := c.Grant(t.Context(), 15*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, l)
			time.Sleep(200 * time.Millisecond)
		}
		time.Sleep(29 * time.Second)
		synctest.Wait()
		requests := f.requests(clerkwire.KindKeepAlive)
		if len(requests) != 6 {
			t.Errorf("%d requests in half a minute", len(requests))
		}
		for _, a := range requests {
			if slices.Sort(a.kept.Leases); fmt.Sprint(a.kept.Leases) != "[1 2 3 4 5]" {
				t.Errorf("one is about %v", a.kept.Leases)
			}
		}
		for _, l := range all {
			if err := l.Revoke(t.Context()); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute)
		c.keeper.mu.Lock()
		defer c.keeper.mu.Unlock()
		if c.keeper.running || len(f.requests(clerkwire.KindKeepAlive)) != 6 {
			t.Errorf("revoked leases are kept alive: %d requests", len(f.requests(clerkwire.KindKeepAlive)))
		}
	})
}

// Goal: Grant returns no lease that may be lost already: one whose answer came late is
// asked for, and if it has ended another one is made. Method: a leader that answers a
// grant late, by a part of the TTL or by more than all of it.
func TestAGrantThatCameLate(t *testing.T) {
	for late, grants := range map[time.Duration]int{time.Second: 1, 4 * time.Second: 1, 7 * time.Second: 2} {
		bubble(t, func(t *testing.T) {
			f := newFakeCluster(t, "n1")
			leases := f.leases()
			serve, delayed := f.before, false
			f.before = func(c *fakeConn, a asked) bool {
				if a.kind == clerkwire.KindGrant && !delayed {
					delayed = true
					leases.set(func() {
						leases.ttls[1] = 6 * time.Second
						leases.ends[1] = time.Now().Add(leases.ttls[1])
					})
					time.AfterFunc(late, func() { sendFrame(c, clerkwire.KindGranted, a.number, clerkwire.Granted{Lease: 1}) })
					return true
				}
				return serve(c, a)
			}
			c := f.dial(func(config *Config) { config.AttemptTimeout = time.Minute })
			defer f.end(c)
			l, err := c.Grant(t.Context(), 6*time.Second)
			if err != nil || l.ID() != int64(grants) || l.Context().Err() != nil {
				t.Fatalf("late by %v: %+v, %v", late, l, err)
			}
			time.Sleep(time.Minute)
			if l.Context().Err() != nil || len(f.requests(clerkwire.KindGrant)) != grants {
				t.Errorf("late by %v: %v, %d grants", late, l.Context().Err(), len(f.requests(clerkwire.KindGrant)))
			}
		})
	}
}

// Goal: a cluster of the version before says that it has no leases, nothing is tried for
// long, and no write loses its lease on the way. Method: servers of protocol 1 only.
func TestLeasesNeedProtocol2(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		f.old = map[string]bool{"n1": true, "n2": true, "n3": true}
		c := f.dial(nil)
		defer f.end(c)
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for name, call := range map[string]func() error{
			"grant":  func() error { _, err := c.Grant(ctx, time.Minute); return err },
			"keep":   func() error { _, err := c.Keep(ctx, 1); return err },
			"show":   func() error { _, err := c.Lease(ctx, 1); return err },
			"touch":  func() error { return c.Touch(ctx, "k", time.Minute) },
			"a ttl":  func() error { _, err := c.Put(ctx, "k", nil, WithTTL(time.Minute)); return err },
			"revoke": func() error { return c.Revoke(ctx, 1) },
		} {
			var e *Error
			if err := call(); !errors.As(err, &e) || e.Code != api.CodeNotImplemented || e.Outcome != api.OutcomeNotApplied {
				t.Errorf("%s: %v", name, err)
			}
		}
		if took := time.Since(begun); took > time.Second || len(f.requests(clerkwire.KindPut)) != 0 {
			t.Errorf("it took %v; %d puts were sent", took, len(f.requests(clerkwire.KindPut)))
		}
	})
}

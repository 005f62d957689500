package client

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// Goal (K4, K11): a wait for a lock survives its server, at whatever server it goes on, and
// asks nothing of the log again. Method: a lease that waits; its server dies without a word,
// or says goodbye, or falls silent; another one, which does not lead, tells of the grant.
func TestAWaitForALockSurvivesItsServer(t *testing.T) {
	for name, end := range map[string]func(f *fakeCluster, l *fakeLeases){
		"dies":   func(f *fakeCluster, _ *fakeLeases) { f.kill("n1") },
		"silent": func(_ *fakeCluster, l *fakeLeases) { l.set(func() { l.silent["n1"] = true }) },
	} {
		bubble(t, func(t *testing.T) {
			f := newFakeCluster(t, "n1")
			leases := f.leases()
			serve := f.before
			token := uint64(0)
			f.before = func(c *fakeConn, a asked) bool {
				if a.kind != clerkwire.KindAcquire || leases.isSilent(c.server) {
					return serve(c, a)
				}
				if a.lock.Session != 0 {
					sendFrame(c, clerkwire.KindAcquired, a.number, clerkwire.Acquired{Lease: a.lock.Lease, After: 7})
					return true
				}
				if a.lock.After != 7 || a.lock.Wait == 0 || a.lock.Wait >= 3000 {
					t.Errorf("it waits by %+v", a.lock)
				}
				time.AfterFunc(time.Duration(a.lock.Wait)*time.Millisecond, func() {
					f.mu.Lock()
					acquired := clerkwire.Acquired{Lease: a.lock.Lease, Token: token}
					f.mu.Unlock()
					if acquired.Token == 0 {
						acquired.After = 7
					}
					sendFrame(c, clerkwire.KindAcquired, a.number, acquired)
				})
				return true
			}
			c := f.dial(nil)
			l, err := c.Grant(t.Context(), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			var k *Lock
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			go func() {
				k, err = l.Lock(ctx, "jobs")
				ended <- err
			}()
			time.Sleep(20 * time.Second)
			end(f, leases)
			f.set(func() { f.leader = "n2" })
			time.Sleep(20 * time.Second)
			f.set(func() { token = 8 })
			begun := time.Now()
			if err := <-ended; err != nil || k.Token() != 8 || time.Since(begun) > 5*time.Second {
				t.Errorf("%s: %+v after %v, %v", name, k, time.Since(begun), err)
			}
			asks := 0
			for _, a := range f.requests(clerkwire.KindAcquire) {
				if a.lock.Session != 0 {
					asks++
				}
			}
			if asks != 1 {
				t.Errorf("%s: the log was asked %d times", name, asks)
			}
			f.end(c)
		})
	}
}

func (l *fakeLeases) isSilent(server string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.silent[server]
}

// Goal (K7): a caller that leaves while it is not known whether its request came into the log
// is told so after a second, and the Clerk goes on until the lease neither holds the lock nor
// waits. Method: servers that answer no request for a lock for a while, then that it is
// held.
func TestALockOfACallerThatLeftIsGivenBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		leases := f.leases()
		serve := f.before
		quiet := true
		f.before = func(c *fakeConn, a asked) bool {
			switch {
			case a.kind == clerkwire.KindAcquire && quiet:
			case a.kind == clerkwire.KindAcquire:
				sendFrame(c, clerkwire.KindAcquired, a.number, clerkwire.Acquired{Lease: a.lock.Lease, Token: 9})
			case a.kind == clerkwire.KindLeaveQueue:
				c.refuse(a, clerkwire.Refused{Code: api.CodeLockHeld, Outcome: api.OutcomeNotApplied, Decided: true, Revision: 9})
			case a.kind == clerkwire.KindRelease:
				sendFrame(c, a.kind.Answer(), a.number, clerkwire.Written{})
			default:
				return serve(c, a)
			}
			return true
		}
		_ = leases
		c := f.dial(nil)
		l, err := c.Grant(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		_, err = l.Lock(ctx, "jobs")
		if took := time.Since(begun); took != 2*time.Second || !errors.Is(err, ErrLockHeld) || !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %v: %v", took, err)
		}
		second, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.TryLock(second, "jobs"); !errors.Is(err, ErrLockHeld) || errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("another call meanwhile: %v", err)
		}
		f.hook.Lock()
		quiet = false
		f.hook.Unlock()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(f.requests(clerkwire.KindRelease)); n != 1 {
			t.Errorf("%d releases were sent", n)
		}
		f.end(c)
	})
}

// Goal (K9): a lock that the servers have taken away is lost with its lease, and one whose
// token holds nothing any more with the call that hears of it. Method: a lease that ends at
// the servers; a Publish and a guarded write that are refused.
func TestALockIsLostWithItsLease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		leases := f.leases()
		serve := f.before
		f.before = func(c *fakeConn, a asked) bool {
			switch a.kind {
			case clerkwire.KindAcquire:
				sendFrame(c, clerkwire.KindAcquired, a.number, clerkwire.Acquired{Lease: a.lock.Lease, Token: 9})
			case clerkwire.KindPublish, clerkwire.KindPut:
				c.refuse(a, clerkwire.Refused{Code: api.CodeLockLost, Outcome: api.OutcomeNotApplied, Decided: true})
			default:
				return serve(c, a)
			}
			return true
		}
		c := f.dial(nil)
		defer f.end(c)
		l, err := c.Grant(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		a, err := l.Lock(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.Lock(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Publish(t.Context(), nil); !errors.Is(err, ErrLockLost) || !errors.Is(context.Cause(a.Context()), ErrLockLost) || b.Context().Err() != nil {
			t.Errorf("published: %v, %v, %v", err, context.Cause(a.Context()), b.Context().Err())
		}
		guards, err := l.Lock(t.Context(), "guards")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Put(t.Context(), "k", nil, guards.Guard()); !errors.Is(err, ErrLockLost) || !errors.Is(context.Cause(guards.Context()), ErrLockLost) || b.Context().Err() != nil {
			t.Errorf("a guarded write: %v, %v, %v", err, context.Cause(guards.Context()), b.Context().Err())
		}
		leases.set(func() { leases.ends[l.ID()] = time.Now() })
		select {
		case <-b.Context().Done():
		case <-time.After(time.Hour):
		}
		if cause := context.Cause(b.Context()); !errors.Is(cause, ErrLeaseLost) {
			t.Errorf("it ended with %v", cause)
		}
	})
}

// Goal (K7): a call for a lock that its lease holds already takes nothing away from the call
// that got it, however it ends. Method: a second call whose caller leaves while the servers
// are silent, and which is then answered with the token of the first; a third that is
// granted as its caller leaves.
func TestALockIsNotGivenBackByAnotherCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		f.leases()
		serve, quiet := f.before, false
		f.before = func(c *fakeConn, a asked) bool {
			switch {
			case a.kind == clerkwire.KindAcquire && quiet:
			case a.kind == clerkwire.KindAcquire:
				sendFrame(c, clerkwire.KindAcquired, a.number, clerkwire.Acquired{Lease: a.lock.Lease, Token: 9})
			case a.kind == clerkwire.KindLeaveQueue:
				c.refuse(a, clerkwire.Refused{Code: api.CodeLockHeld, Outcome: api.OutcomeNotApplied, Decided: true, Revision: 9})
			case a.kind == clerkwire.KindRelease:
				sendFrame(c, a.kind.Answer(), a.number, clerkwire.Written{})
			default:
				return serve(c, a)
			}
			return true
		}
		c := f.dial(nil)
		defer f.end(c)
		l, err := c.Grant(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		first, err := l.Lock(t.Context(), "jobs")
		if err != nil {
			t.Fatal(err)
		}
		turn := func(to bool) {
			f.hook.Lock()
			defer f.hook.Unlock()
			quiet = to
		}
		turn(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if second, err := l.Lock(ctx, "jobs"); err == nil {
			t.Errorf("void: the second call got %+v", second)
		}
		turn(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(f.requests(clerkwire.KindRelease)); n != 0 || first.Context().Err() != nil {
			t.Errorf("%d releases were sent, and the first call's lock ended with %v", n, context.Cause(first.Context()))
		}
		if err := first.Release(t.Context()); err != nil || len(f.requests(clerkwire.KindRelease)) != 1 {
			t.Errorf("its own release: %v", err)
		}
	})
}

// Goal (K9): a lease is not given the grant again whose release may come into the log still,
// so that what it holds cannot be taken away behind its back. Method: a release whose answer
// nobody waits for, or that is under way, and another call for the lock meanwhile; servers at
// which the release comes last.
func TestAGrantWhoseReleaseIsOpenIsNotBelieved(t *testing.T) {
	for name, waits := range map[string]bool{"of unknown outcome": true, "under way": false} {
		bubble(t, func(t *testing.T) {
			f := newFakeCluster(t, "n1")
			f.leases()
			serve, token, late := f.before, uint64(9), true
			f.before = func(c *fakeConn, a asked) bool {
				switch a.kind {
				case clerkwire.KindAcquire:
					if token == 0 {
						token = 12
					}
					sendFrame(c, clerkwire.KindAcquired, a.number, clerkwire.Acquired{Lease: a.lock.Lease, Token: token})
				case clerkwire.KindLeaveQueue:
					if token == 0 {
						c.refuse(a, clerkwire.Refused{Code: api.CodeLockNotFound, Outcome: api.OutcomeNotApplied, Decided: true})
						break
					}
					c.refuse(a, clerkwire.Refused{Code: api.CodeLockHeld, Outcome: api.OutcomeNotApplied, Decided: true, Revision: token})
				case clerkwire.KindRelease:
					if late { // the first one does not come to the log
						late = false
						break
					}
					token = 0
					sendFrame(c, a.kind.Answer(), a.number, clerkwire.Written{})
				default:
					return serve(c, a)
				}
				return true
			}
			c := f.dial(nil)
			defer f.end(c)
			l, err := c.Grant(t.Context(), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			first, err := l.Lock(t.Context(), "jobs")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- first.Release(ctx) }()
			synctest.Wait()
			if waits {
				if err := <-ended; !errors.Is(err, ErrOutcomeUnknown) {
					t.Errorf("%s: void: the release ended with %v", name, err)
				}
			}
			if second, err := l.Lock(t.Context(), "jobs"); err != nil || second.Token() != 12 || second.Context().Err() != nil {
				t.Errorf("%s: the second call got %+v, %v", name, second, err)
			}
			if !waits {
				<-ended
			}
			if third, err := l.Lock(t.Context(), "jobs"); err != nil || third.Token() != 12 || len(f.requests(clerkwire.KindLeaveQueue)) != 1 {
				t.Errorf("%s: the third call got %+v, %v, and %d were given back", name, third, err, len(f.requests(clerkwire.KindLeaveQueue)))
			}
		})
	}
}

// Goal (K6): a resource with fences takes no token that is smaller than one it has seen, of
// the same lock, also when it goes on where it was. Method: a few tokens in a row.
func TestFencesRefuseEarlierHolders(t *testing.T) {
	f := NewFences(nil)
	said := ""
	for _, x := range []struct {
		lock  string
		token uint64
	}{{"a", 5}, {"a", 5}, {"b", 3}, {"a", 4}, {"a", 7}, {"a", 6}, {"b", 3}} {
		said += fmt.Sprint(f.Admit(x.lock, x.token), " ")
	}
	if said != "true true true false true false true " {
		t.Errorf("admitted: %s", said)
	}
	if again := NewFences(f.Greatest()); again.Admit("a", 6) || !again.Admit("a", 7) || !again.Admit("b", 3) {
		t.Error("fences that go on forget what was seen")
	}
}

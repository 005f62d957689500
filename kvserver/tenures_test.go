package kvserver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
)

// Goal: what depends on a leader ends when that has been replaced for a while,
// not before, and not if the leader is back by then.
func TestTenures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := tenures{patience: time.Second}
		ctx, release := r.during(t.Context(), "n1", 1)
		defer release()
		r.see("", 1)
		time.Sleep(900 * time.Millisecond)
		r.see("n1", 1) // it is back
		time.Sleep(time.Minute)
		synctest.Wait()
		if ctx.Err() != nil {
			t.Error("it ended though the leader was back")
		}
		later, releaseLater := r.during(t.Context(), "n2", 2)
		defer releaseLater()
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		if ctx.Err() != nil {
			t.Error("it ended before the patience was over")
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if !errors.Is(context.Cause(ctx), failure.ErrReplaced) || later.Err() != nil {
			t.Errorf("the first ended with %v, the second with %v", context.Cause(ctx), later.Err())
		}
		if len(r.past) != 0 {
			t.Errorf("%d tenures are still known", len(r.past))
		}
	})
}

// Goal: a leader that leads again in a later term is another one to whoever waits
// for what it had before: it may have forgotten that it is asked, as its log was
// cut. Method: one leader, in two terms.
func TestALaterTermIsAnotherTenure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := tenures{patience: time.Second}
		ctx, release := r.during(t.Context(), "n1", 1)
		defer release()
		r.see("", 2)
		r.see("n1", 3)
		later, releaseLater := r.during(t.Context(), "n1", 3)
		defer releaseLater()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !errors.Is(context.Cause(ctx), failure.ErrReplaced) || later.Err() != nil {
			t.Errorf("the first ended with %v, the second with %v", context.Cause(ctx), later.Err())
		}
	})
}

// Goal: a write at a leader that ceases to lead, and hears of no other, does not
// wait for its whole time. Method: the leader steps down while it has a write.
func TestAWriteIsNotKeptByALeaderThatSteppedDown(t *testing.T) {
	s, log := newServer(t, func(c *Config) { c.LeaderWait = 50 * time.Millisecond })
	held := log.held()
	answered := later(func() answer { return ask(s, "PUT", "/v1/kv/k", "v") })
	p := <-held
	log.setLeader("")
	wantProblem(t, <-answered, 504, api.CodeLeadershipLost, api.OutcomeUnknown)
	log.deliver(p.Command) // it happens after all
}

// Goal: a write that was passed on to a leader that was cut off meanwhile does
// not wait for its whole time either. Method: a leader that keeps the request,
// and another one that is known then.
func TestAWriteIsNotKeptByALeaderThatWasReplaced(t *testing.T) {
	has, release := make(chan struct{}, 1), make(chan struct{})
	address := listener(t, func(net.Conn, *http.Request) { has <- struct{}{}; <-release })
	t.Cleanup(func() { close(release) })
	s, log := newFollowerOf(t, address, nil)
	answered := later(func() answer { return ask(s, "PUT", "/v1/kv/k", "v") })
	<-has
	log.setLeader("n3")
	wantProblem(t, <-answered, 504, api.CodeLeadershipLost, api.OutcomeUnknown)
}

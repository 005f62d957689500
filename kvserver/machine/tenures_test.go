package machine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/tests/virtual"
)

// Goal: what depends on a leader ends when that has been replaced for a while,
// not before, and not if the leader is back by then.
func TestTenures(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		r := tenures{grace: time.Second}
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
			t.Error("it ended before the grace was over")
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
	virtual.Time(t, func(t *testing.T) {
		r := tenures{grace: time.Second}
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

package kvserver

import (
	"context"
	"sync"
	"testing"
	"time"

	"raftkv/tests/virtual"
)

// Goal: a slow log gets a short queue: no more is admitted than it served of late
// within admissionDelay, down to a floor.
// Method: twenty thousand requests a second end; then the limit must be what
// admissionDelay holds of them; then ten a second.
func TestTheRoomFollowsTheRate(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		a := admission{maxCount: 4096}
		if got := a.load().Limit; got != 4096 {
			t.Errorf("before anything is known the limit is %d", got)
		}
		serve := func(n, each int, every time.Duration) {
			for range n {
				for range each {
					a.enter(0)
				}
				time.Sleep(every)
				for range each {
					a.leave(0)
				}
			}
		}
		serve(1000, 20, time.Millisecond)
		if got, want := a.load().Limit, int64(20_000*admissionDelay.Seconds()); got < want*98/100 || got > want*102/100 {
			t.Errorf("at 20,000 a second the limit is %d, want %d", got, want)
		}
		serve(200, 1, 100*time.Millisecond) // for so long that the better times are forgotten
		if got := a.load().Limit; got != admissionFloor {
			t.Errorf("at 10 a second the limit is %d", got)
		}
	})
}

// Goal: refusals stay few compared with what is served, however many clients ask again
// at once: the more wait, the longer they do.
// Method: a log of a thousand writes a second, and fifteen hundred clients that
// never wait by themselves, for ten seconds of virtual time.
func TestRefusalsStayFewBesideWhatIsServed(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		a := admission{maxCount: 100, maxWaiting: 8192}
		var served, refused int
		var mu sync.Mutex
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		var all sync.WaitGroup
		for range 1500 {
			all.Go(func() {
				for ctx.Err() == nil {
					admitted := a.wait(ctx, 0)
					if admitted {
						time.Sleep(100 * time.Millisecond)
						a.leave(0)
					}
					mu.Lock()
					switch {
					case admitted:
						served++
					case ctx.Err() == nil:
						refused++
					}
					mu.Unlock()
				}
			})
		}
		all.Wait()
		t.Logf("%d served, %d refused", served, refused)
		if served < 9_500 || refused > served*6/10 || refused == 0 {
			t.Errorf("%d served, %d refused", served, refused)
		}
		if c := a.load(); c.Count != 0 || c.Waiting != 0 {
			t.Errorf("left behind: %+v", c)
		}
	})
}

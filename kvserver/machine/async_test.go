package machine

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// counted is consensus that counts how often it is asked for its status.
type counted struct {
	*fakelog.Log
	asked atomic.Int64
}

func (c *counted) Status() *raft.Status {
	c.asked.Add(1)
	return c.Log.Status()
}

// Goal: a machine for which nobody waits looks for no leader, and one for which
// somebody begins to wait again looks at once: an asynchronous write ends at its
// deadline, and a request when its leader was replaced, however long the machine had
// nothing to do before.
// Method: an idle minute, in which questions for the status are counted; a write that
// is kept; an idle minute; a request that depends on a leader that goes.
func TestWatchingRestsWhileNobodyWaits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		log := &counted{Log: fakelog.New("n1")}
		held := log.Held()
		m := newMachineOver(t, log.Log, func(c *Config) { c.Consensus, c.SnapshotBytes = log, 0 })
		idle := func() {
			t.Helper()
			time.Sleep(2 * time.Second)
			before := log.asked.Load()
			time.Sleep(time.Minute)
			if n := log.asked.Load() - before; n > 0 {
				t.Errorf("an idle machine asked %d times who leads", n)
			}
		}
		idle()
		begun := time.Now()
		ended := make(chan Ending, 1)
		m.ProposeAsync(kv.Command{Op: kv.OpDelete, Key: []byte("k")}, begun, func(e Ending) { ended <- e })
		<-held
		e := <-ended
		if took := time.Since(begun); e.Err == nil || took < 10*time.Second || took > 12*time.Second {
			t.Errorf("the write ended after %v with %v", took, e.Err)
		}
		idle()
		ctx, release := m.DuringTenure(t.Context(), "n1", 3)
		log.SetLeader("n2")
		begun = time.Now()
		<-ctx.Done()
		if took := time.Since(begun); !errors.Is(context.Cause(ctx), failure.ErrReplaced) || took > 1100*time.Millisecond {
			t.Errorf("the request ended after %v with %v", took, context.Cause(ctx))
		}
		release()
		idle()
	})
}

// Goal: no request is overlooked that comes at the moment in which the watcher falls asleep.
// Method: both at once, many times; whoever was counted before it called wake must find
// the watcher awake soon.
func TestNobodyComesUnseenWhileTheWatcherFallsAsleep(t *testing.T) {
	w := sleeper{rouse: make(chan struct{}, 1)}
	done := make(chan struct{})
	for range 20000 {
		var here atomic.Bool
		woke := make(chan bool, 1)
		go func() { woke <- w.sleep(done, here.Load) }()
		here.Store(true)
		w.wake()
		select {
		case <-woke:
		case <-time.After(10 * time.Second):
			t.Fatal("the watcher sleeps and somebody waits")
		}
	}
	inBubble(t, func(t *testing.T) {
		w := sleeper{rouse: make(chan struct{}, 1)}
		done := make(chan struct{})
		ended := make(chan bool, 1)
		go func() { ended <- w.sleep(done, func() bool { return false }) }()
		synctest.Wait()
		close(done)
		if <-ended {
			t.Error("the watcher goes on at the end")
		}
	})
}

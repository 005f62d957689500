package machine

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// newLeaseMachine returns a machine at the level of leases.
func newLeaseMachine(t *testing.T) (*Machine, *fakelog.Log) {
	return newMachine(t, func(c *Config) { c.Level = kv.LevelHistory })
}

func propose(t *testing.T, m *Machine, c kv.Command) kv.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := m.Propose(ctx, c)
	if err != nil {
		t.Fatalf("%v: %v", c.Op, err)
	}
	return r
}

// Goal (L1, L2): where this node leads, a key goes within its TTL and a second, and not
// before; a cluster in which nothing can end has no ticks.
// Method: virtual time; a put with a TTL of 2 s, and an hour without one.
func TestALeaderEndsWhatIsDue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newLeaseMachine(t)
		put := kv.Command{Op: kv.OpPut, Key: []byte("k"), Tie: kv.Tie{TTL: 2000}}
		propose(t, m, put)
		begun := time.Now()
		time.Sleep(1999 * time.Millisecond)
		if !m.Get("k").Found {
			t.Fatal("the key went before its time")
		}
		time.Sleep(1002 * time.Millisecond)
		if m.Get("k").Found {
			t.Fatalf("the key lives after %v", time.Since(begun))
		}
		attempts := log.Attempts()
		time.Sleep(time.Hour)
		if log.Attempts() != attempts {
			t.Errorf("an idle cluster has %d ticks in an hour", log.Attempts()-attempts)
		}
		propose(t, m, put)
		time.Sleep(3 * time.Second)
		if m.Get("k").Found {
			t.Error("behind an idle hour nothing ends")
		}
	})
}

// Goal (L2, L3): a node that does not lead proposes no ticks; one that is elected
// proposes at once, and nothing of the time without a leader counts.
// Method: a lease of 5 s, ten minutes without leadership, then the rest of the 5 s.
func TestTimeWithoutALeaderDoesNotCount(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newLeaseMachine(t)
		id := propose(t, m, kv.Grant(0, 5000, "")).Lease()
		time.Sleep(2 * time.Second)
		log.SetLeader("n2")
		time.Sleep(time.Second) // one that was waited for
		attempts := log.Attempts()
		time.Sleep(10 * time.Minute)
		if log.Attempts() != attempts {
			t.Errorf("%d ticks where another node leads", log.Attempts()-attempts)
		}
		log.SetLeader("n1")
		time.Sleep(1900 * time.Millisecond)
		l, alive := m.Lease(id, false)
		if !alive || l.Deadline != 5000 {
			t.Fatalf("alive %t with %+v: an outage ended it", alive, l)
		}
		time.Sleep(2 * time.Second)
		if _, alive := m.Lease(id, false); alive {
			t.Error("it does not end behind the outage")
		}
	})
}

// Goal: one tick is in flight at most, however long the log stands still.
// Method: a log that holds its proposals.
func TestOneTickIsInFlight(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newLeaseMachine(t)
		propose(t, m, kv.Grant(0, 5000, ""))
		time.Sleep(600 * time.Millisecond)
		attempts := log.Attempts()
		var held []*raft.Proposal
		log.Decide(func(p *raft.Proposal) { held = append(held, p) })
		time.Sleep(20 * time.Second)
		if log.Attempts() != attempts+1 {
			t.Errorf("%d ticks in a log that stands still", log.Attempts()-attempts)
		}
		log.Decide(nil)
		synctest.Wait() // what the proposer has held is to be seen here
		for _, p := range held {
			log.Choose(p)
		}
		time.Sleep(10 * time.Second)
		if m.Describe().Leases != 0 {
			t.Error("nothing ends when the log goes on")
		}
	})
}

// Goal (L11): keep-alives that come within 20 ms are one entry, those of another caller
// another one, and one that comes alone does not wait.
// Method: a thousand in 20 ms of virtual time, and the answers to each.
func TestKeepAlivesAreJoined(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newLeaseMachine(t)
		for i := range int64(1000) {
			propose(t, m, kv.Grant(1+i, 60_000, ""))
		}
		keep := func(by uint64, ids ...int64) []uint64 {
			ttls, err := m.KeepAlive(t.Context(), auth.Author{Identity: by}, ids)
			if err != nil {
				t.Error(err)
			}
			return ttls
		}
		time.Sleep(100 * time.Millisecond)
		begun := time.Now()
		keep(0, 1)
		if time.Since(begun) != 0 {
			t.Errorf("a keep-alive alone took %v", time.Since(begun))
		}
		before := log.Attempts()
		var all sync.WaitGroup
		for i := range int64(1000) {
			time.Sleep(19 * time.Microsecond)
			all.Go(func() {
				ttls := keep(uint64(i%2), 1+i, 5000+i)
				if len(ttls) != 2 || ttls[0] != 60_000 || ttls[1] != 0 {
					t.Errorf("lease %d: %v", 1+i, ttls)
				}
			})
		}
		all.Wait()
		synctest.Wait()
		if n := log.Attempts() - before; n < 2 || n > 6 {
			t.Errorf("1,000 keep-alives of two callers are %d entries", n)
		}
		if m.JoinedKeepAlives() < 990 {
			t.Errorf("%d were joined", m.JoinedKeepAlives())
		}
	})
}

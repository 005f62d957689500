package peers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/client/bench"
	"raftkv/tests/bench/rod"
)

// transactions has 64 clients that compare one key and put two in one transaction, and
// then 64 clients that put the same keys one by one.
func transactions(ctx context.Context, c coordinator, s size) ([]figure, error) {
	p, _, err := start(ctx, c, namespace("txn"), 10_000)
	if err != nil {
		return nil, err
	}
	defer p.to.close()
	load := bench.Config{Clients: 64, Warmup: s.warmup, Duration: s.duration}
	txns, err := run(ctx, c, load, &pairs{puts{to: p.to, prefix: p.prefix, keys: p.keys}})
	if err != nil {
		return nil, err
	}
	single, err := run(ctx, c, load, p)
	if err != nil {
		return nil, err
	}
	return []figure{
		{"txns", perSecond, txns.ops},
		{"cpu", micros, us(txns.cpu())},
		{"cpu-of-two-puts", ratio, us(txns.cpu()) / max(2*us(single.cpu()), 1)},
	}, nil
}

// followerPuts puts over HTTP at the leader and at a follower; raftkv alone.
func followerPuts(ctx context.Context, c coordinator, s size) ([]figure, error) {
	var ops []float64
	for _, row := range []rod.Row{rod.HTTPPut, rod.HTTPPutFollower} {
		target, end, err := c.Load(row)
		if err != nil {
			return nil, err
		}
		m, err := run(ctx, c, bench.Config{Clients: row.Clients, Keys: 10_000, Warmup: s.warmup, Duration: s.duration}, target)
		end()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", row.Name, err)
		}
		ops = append(ops, m.ops)
	}
	return []figure{
		{"leader", perSecond, ops[0]},
		{"follower", perSecond, ops[1]},
		{"of-leader", ratio, ops[1] / ops[0]},
	}, nil
}

// relay is a lock that goes from hand to hand.
type relay struct {
	name    string
	waiters int
	conns   connections
	want    int       // hand-overs to measure
	until   time.Time // or until then, whichever comes first

	// Of the holder of the lock, who holds turn as well:
	turn     sync.Mutex
	released time.Time // when the one before has sent its release; zero: it was not measured
	seen     bench.Histogram

	over atomic.Bool
}

// handOverOne has one waiter, handOverMany as many as the size says.
func handOverOne(ctx context.Context, c coordinator, s size) ([]figure, error) {
	return handOver(ctx, c, 1, s)
}

func handOverMany(ctx context.Context, c coordinator, s size) ([]figure, error) {
	return handOver(ctx, c, s.waiters, s)
}

// handOver hands a lock from session to session. A holder releases it when all others
// wait. The time counts from there to the return of the next session's lock.
func handOver(ctx context.Context, c coordinator, waiters int, s size) ([]figure, error) {
	all, conns, err := openSessions(ctx, c, loadConns, waiters+1, time.Minute)
	if err != nil {
		return nil, err
	}
	defer conns.close()
	r := &relay{name: namespace("lock") + "l", waiters: waiters, conns: conns, want: s.handOvers, until: time.Now().Add(s.handLimit)}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var running sync.WaitGroup
	for _, one := range all {
		running.Go(func() {
			for !r.over.Load() && ctx.Err() == nil {
				if err := r.hold(ctx, one); err != nil {
					fail(err)
				}
			}
		})
	}
	running.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	lost, err := endSessions(ctx, all)
	if err != nil {
		return nil, err
	}
	if lost > 0 {
		return nil, fmt.Errorf("%d of %d sessions were lost", lost, len(all))
	}
	if r.seen.Count() == 0 {
		return nil, errors.New("no hand-over was measured in time")
	}
	return []figure{
		{"p50", milliseconds, ms(r.seen.Percentile(50))},
		{"p99", milliseconds, ms(r.seen.Percentile(99))},
		{"measured", times, float64(r.seen.Count())},
	}, nil
}

// hold is one turn of a session. It gives turn back before it sends the release, so turn is
// free unless two sessions hold the lock.
func (r *relay) hold(ctx context.Context, one session) error {
	if err := one.lock(ctx, r.name); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	got := time.Now()
	if !r.turn.TryLock() {
		return errors.New("two sessions hold the lock at one moment")
	}
	if !r.released.IsZero() {
		r.seen.Add(got.Sub(r.released))
	}
	r.released = time.Time{}
	if int(r.seen.Count()) >= r.want || got.After(r.until) {
		r.over.Store(true)
	}
	if !r.over.Load() {
		if err := r.awaitQueue(ctx); err != nil {
			r.turn.Unlock()
			return err
		}
		r.released = time.Now()
	}
	r.turn.Unlock()
	if err := one.unlock(ctx); err != nil {
		return fmt.Errorf("unlock: %w", err)
	}
	return nil
}

// waited is how long a session has waited at the least when the lock is handed to it. etcd's
// waiters watch a key from a revision on that has passed, and such watches are brought up
// to date every 100 ms: without this time etcd's hand-over to one waiter would be that.
const waited = 120 * time.Millisecond

// awaitQueue waits until all others wait for the lock, and for so long that each session has
// waited for some time when its turn comes.
func (r *relay) awaitQueue(ctx context.Context) error {
	for {
		n, err := r.conns.of(0).waiting(ctx, r.name)
		if err != nil {
			return fmt.Errorf("asking how many wait: %w", err)
		}
		if n >= r.waiters {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(max(waited/time.Duration(r.waiters), 5*time.Millisecond))
	return nil
}

package peers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"raftkv/client/bench"
)

// starters is how many goroutines make and end leases.
const starters = 64

// keepConns is how many connections share the leases of the row keepalive, on both sides:
// this many leases belong to many clients. Whether etcd keeps 10,000 by 8 connections as well
// was not measured.
const keepConns = 64

// openSessions makes sessions that share connections. endSessions revokes them.
func openSessions(ctx context.Context, c coordinator, shared, n int, ttl time.Duration) (all []session, conns connections, err error) {
	if conns, err = connectAll(ctx, c, shared); err != nil {
		return nil, nil, err
	}
	all = make([]session, n)
	err = inParallel(ctx, starters, n, func(ctx context.Context, i int) (err error) {
		all[i], err = conns.of(i).session(ctx, ttl)
		return err
	})
	if err != nil {
		conns.close() // the leases end by themselves
		return nil, nil, err
	}
	return all, conns, nil
}

// endSessions returns how many sessions were lost, and then revokes all. A lease that ends
// while others are being revoked is no failure: that is a load which no row measures.
func endSessions(ctx context.Context, all []session) (lost int, err error) {
	for _, s := range all {
		if s.lost() {
			lost++
		}
	}
	return lost, inParallel(ctx, starters, len(all), func(ctx context.Context, i int) error {
		if err := all[i].end(ctx); !errors.Is(err, errLeaseGone) {
			return err
		}
		return nil
	})
}

// keepAlive keeps leases of 15 s alive, by what the clients do by themselves. They have
// been alive for a third of their TTL when measuring begins, so that keep-alives flow. A few
// that a busy machine lets end are told; more than a tenth fail the row.
func keepAlive(ctx context.Context, c coordinator, s size) ([]figure, error) {
	all, conns, err := openSessions(ctx, c, keepConns, s.leases, 15*time.Second)
	if err != nil {
		return nil, err
	}
	defer conns.close()
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	wait(s.keep / 2)
	begun := time.Now()
	before, err := bench.CPU(c.PIDs()...)
	if err != nil {
		return nil, err
	}
	wait(s.keep)
	after, err := bench.CPU(c.PIDs()...)
	elapsed := time.Since(begun)
	if err != nil {
		return nil, err
	}
	lost, err := endSessions(ctx, all)
	if err != nil {
		return nil, err
	}
	if lost > len(all)/10 {
		return nil, fmt.Errorf("%d of %d leases were lost while they were kept alive", lost, len(all))
	}
	return []figure{
		{"cpu", msPerSecond, ms(after-before) / elapsed.Seconds()},
		{"lost", times, float64(lost)},
	}, nil
}

// ends lets leases with a key each be due at one moment, which is as long as it takes to
// renew them all, and waits for the last of their keys to go. 16 clients put other keys:
// for some time before, and from then on until that.
func ends(ctx context.Context, c coordinator, s size) ([]figure, error) {
	p, revision, err := start(ctx, c, namespace("others"), 1000)
	if err != nil {
		return nil, err
	}
	defer p.to.close()
	due := namespace("due")
	leases := make([]int64, s.mortals)
	err = inParallel(ctx, starters, len(leases), func(ctx context.Context, i int) (err error) {
		if leases[i], err = p.to.of(i).grant(ctx, s.mortalTTL); err == nil {
			_, err = p.to.of(i).put(ctx, fmt.Sprint(due, i), []byte("v"), leases[i])
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	a, err := gather(ctx, c, 1, 1, nil, func(int) selection { return selection{due, true, revision} })
	if err != nil {
		return nil, err
	}
	defer a.close()
	if err := a.await(ctx, len(leases)); err != nil { // of the puts
		return nil, err
	}
	renewing := time.Now()
	share := (len(leases) + starters - 1) / starters
	err = inParallel(ctx, starters, starters, func(ctx context.Context, i int) error {
		return p.to.of(i).renew(ctx, leases[min(i*share, len(leases)):min((i+1)*share, len(leases))])
	})
	if err != nil {
		return nil, err
	}
	renewed := time.Now()
	before, err := run(ctx, c, bench.Config{Clients: 16, Duration: s.duration}, p)
	if err != nil {
		return nil, err
	}
	if left := time.Until(renewing.Add(s.mortalTTL)); left < 0 {
		return nil, fmt.Errorf("the first lease was due %v before the puts without ends were measured; the machine is too busy", -left)
	}
	select {
	case <-time.After(time.Until(renewing.Add(s.mortalTTL))):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	meanwhile, gone, err := putUntilGone(ctx, c, p, a, 2*len(leases))
	if err != nil {
		return nil, err
	}
	return []figure{
		{"gone", seconds, max(gone.Sub(renewed.Add(s.mortalTTL)), 0).Seconds()},
		{"put-p99-before", milliseconds, ms(before.p99)},
		{"put-p99-meanwhile", milliseconds, ms(meanwhile.p99)},
		{"put-p99-rise", ratio, float64(meanwhile.p99) / float64(before.p99)},
	}, nil
}

// putUntilGone puts until an audience has been brought this number of events, and returns
// when it had.
func putUntilGone(ctx context.Context, c coordinator, p *puts, a *audience, events int) (m measured, gone time.Time, err error) {
	loading, enough := context.WithCancel(ctx)
	defer enough()
	failed := make(chan error, 1)
	go func() {
		err := a.await(ctx, events)
		gone = time.Now()
		time.Sleep(50 * time.Millisecond) // so that the load has some puts at the least
		enough()
		failed <- err
	}()
	m, err = run(loading, c, bench.Config{Clients: 16, Duration: 10 * time.Minute}, p) // ctx ends it before
	err = errors.Join(<-failed, err)
	return m, gone, err
}

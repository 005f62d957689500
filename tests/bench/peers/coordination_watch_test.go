package peers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/client/bench"
	"raftkv/tests/bench/rod"
)

// watchConns is how many connections the watches of rows with load share.
const watchConns = 10

// audience is a number of watches that count what they are brought.
type audience struct {
	conns  connections
	came   atomic.Int64 // events
	failed chan error   // holds the first failure of a watch
	late   delays       // of events behind the answers of their puts
	end    context.CancelFunc
}

// gather opens n watches over conns connections. of says what the i-th follows. It returns
// when the servers have all of them; the watches end with close. If answered is not nil,
// delays are noted.
func gather(ctx context.Context, c coordinator, conns, n int, answered *answers, of func(i int) selection) (a *audience, err error) {
	a = &audience{failed: make(chan error, 1)}
	if a.conns, err = connectAll(ctx, c, conns); err != nil {
		return nil, err
	}
	ctx, a.end = context.WithCancel(ctx)
	err = inParallel(ctx, 64, n, func(_ context.Context, i int) error {
		// ctx is that of the audience: the watch outlives this call.
		return a.conns.of(i).watch(ctx, of(i), func(e event) {
			switch {
			case e.err != nil:
				select {
				case a.failed <- fmt.Errorf("watch %d: %w", i, e.err):
				default:
				}
				return
			case answered != nil && !e.gone:
				a.late.add(i, answered.delay(e.value))
			}
			a.came.Add(1)
		})
	})
	if err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *audience) close() {
	a.end()
	a.conns.close()
}

// await waits until this number of events have come in all.
func (a *audience) await(ctx context.Context, want int) error {
	return await(ctx, "events", &a.came, int64(want), a.failed)
}

// start makes the connections of a load, and a put by which watches learn from when on.
func start(ctx context.Context, c coordinator, prefix string, keys int) (p *puts, revision int64, err error) {
	p = &puts{prefix: prefix, keys: keys}
	if p.to, err = connectAll(ctx, c, loadConns); err != nil {
		return nil, 0, err
	}
	if revision, err = p.to.of(0).put(ctx, p.key(0), make([]byte, rod.ValueBytes), 0); err != nil {
		p.to.close()
		return nil, 0, err
	}
	return p, revision, nil
}

// fanOut has many watches of one prefix while 16 clients put as fast as they can.
// Deliveries count while the load lasts; what is still on its way then is dropped.
func fanOut(ctx context.Context, c coordinator, s size) ([]figure, error) {
	p, revision, err := start(ctx, c, namespace("fanout"), 1000)
	if err != nil {
		return nil, err
	}
	defer p.to.close()
	a, err := gather(ctx, c, watchConns, s.fanWatches, nil, func(int) selection { return selection{p.prefix, true, revision} })
	if err != nil {
		return nil, err
	}
	defer a.close()
	var begun time.Time
	var first, last int64
	var elapsed time.Duration
	m, err := run(ctx, c, bench.Config{
		Clients: 16, Warmup: s.warmup, Duration: s.duration,
		Begin: func() { begun, first = time.Now(), a.came.Load() },
		End:   func() { elapsed, last = time.Since(begun), a.came.Load() },
	}, p)
	if err != nil {
		return nil, err
	}
	deliveries := float64(last-first) / elapsed.Seconds()
	if deliveries == 0 {
		// A tiny load may end before its first event.
		if err := a.await(ctx, s.fanWatches); err != nil {
			return nil, err
		}
	}
	came := max(float64(last-first), 1)
	return []figure{
		{"deliveries", perSecond, deliveries},
		{"puts", perSecond, m.ops},
		{"server-cpu", micros, us(m.servers) / came}, // for each delivery, as the next one
		{"client-cpu", micros, us(m.client) / came},
	}, nil
}

// fanOutDelay has the same watches at half of the rate at which etcd delivers: the puts a
// second of which all watches got the events in this round's fanOut.
func fanOutDelay(ctx context.Context, c coordinator, s size) ([]figure, error) {
	if s.halfRate == 0 {
		return nil, errors.New("it is not known what etcd delivers: the row fanout was not measured in this round")
	}
	p, revision, err := start(ctx, c, namespace("fanout"), 1000)
	if err != nil {
		return nil, err
	}
	defer p.to.close()
	p.answered = newAnswers()
	a, err := gather(ctx, c, watchConns, s.fanWatches, p.answered, func(int) selection { return selection{p.prefix, true, revision} })
	if err != nil {
		return nil, err
	}
	defer a.close()
	m, err := run(ctx, c, bench.Config{Clients: 16, Duration: s.duration, Rate: s.halfRate}, p)
	if err != nil {
		return nil, err
	}
	if err := a.await(ctx, m.done*s.fanWatches); err != nil {
		return nil, err
	}
	late := a.late.all()
	return []figure{
		{"p50", milliseconds, ms(late.Percentile(50))},
		{"p99", milliseconds, ms(late.Percentile(99))},
		{"puts", perSecond, m.ops},
	}, nil
}

// manyKeys has many watches of one key each. First 64 clients put these keys as fast as
// they can, without the watches and with them, then at a fixed rate.
func manyKeys(ctx context.Context, c coordinator, s size) ([]figure, error) {
	p, _, err := start(ctx, c, namespace("keys"), s.keyWatches)
	if err != nil {
		return nil, err
	}
	defer p.to.close()
	saturated := bench.Config{Clients: 64, Warmup: s.warmup, Duration: s.duration}
	without, err := run(ctx, c, saturated, p)
	if err != nil {
		return nil, err
	}
	revision, err := p.to.of(0).put(ctx, p.key(0), make([]byte, rod.ValueBytes), 0)
	if err != nil {
		return nil, err
	}
	p.answered = newAnswers()
	a, err := gather(ctx, c, watchConns, s.keyWatches, p.answered, func(i int) selection { return selection{p.key(i), false, revision} })
	if err != nil {
		return nil, err
	}
	defer a.close()
	first := p.next.Load()
	with, err := run(ctx, c, saturated, p)
	if err != nil {
		return nil, err
	}
	if err := a.await(ctx, int(p.next.Load()-first)); err != nil {
		return nil, err
	}
	a.late = delays{} // all events have come, so nobody writes
	steady, err := run(ctx, c, bench.Config{Clients: 64, Duration: s.duration, Rate: s.keyRate}, p)
	if err != nil {
		return nil, err
	}
	if err := a.await(ctx, int(p.next.Load()-first)); err != nil {
		return nil, err
	}
	return []figure{
		{"event-p99", milliseconds, ms(a.late.all().Percentile(99))},
		{"puts", perSecond, steady.ops},
		{"puts-without", perSecond, without.ops},
		{"puts-with", perSecond, with.ops},
		{"puts-kept", ratio, with.ops / without.ops},
	}, nil
}

// idle opens watches of keys that do not change, and then changes some of them to see that
// the watches are there. The memory is that of the connections as well.
func idle(ctx context.Context, c coordinator, s size) ([]figure, error) {
	p, revision, err := start(ctx, c, namespace("idle"), s.idleWatches)
	if err != nil {
		return nil, err
	}
	defer p.to.close()
	before, err := settled(ctx, c, s)
	if err != nil {
		return nil, err
	}
	a, err := gather(ctx, c, s.idleConns, s.idleWatches, nil, func(i int) selection { return selection{p.key(i), false, revision} })
	if err != nil {
		return nil, err
	}
	defer a.close()
	after, err := settled(ctx, c, s)
	if err != nil {
		return nil, err
	}
	const asked = 100
	err = inParallel(ctx, 8, asked, func(ctx context.Context, i int) error {
		_, err := p.to.of(i).put(ctx, p.key(i*s.idleWatches/asked), []byte("v"), 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := a.await(ctx, asked); err != nil {
		return nil, err
	}
	return []figure{
		{"growth", megabytes, (after - before) / (1 << 20)},
		{"each", bytesEach, (after - before) / float64(s.idleWatches)},
	}, nil
}

// settled returns the resident memory of all servers when they have had time to come to
// rest.
func settled(ctx context.Context, c coordinator, s size) (sum float64, err error) {
	select {
	case <-time.After(s.rest):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for _, pid := range c.PIDs() {
		bytes, err := rod.Resident(pid)
		if err != nil {
			return 0, err
		}
		sum += bytes
	}
	return sum, nil
}

// changed makes the changes that a watch has to catch up with.
func changed(ctx context.Context, c coordinator, row string, s size) (p *puts, revision int64, err error) {
	if p, revision, err = start(ctx, c, namespace(row), 10_000); err != nil {
		return nil, 0, err
	}
	value := slices.Repeat([]byte{'v'}, rod.ValueBytes)
	err = inParallel(ctx, 1024, s.behind, func(ctx context.Context, i int) error {
		if failure := p.Do(ctx, i, bench.Put, "", value); failure != "" {
			return errors.New(failure)
		}
		return nil
	})
	if err != nil {
		p.to.close()
		return nil, 0, err
	}
	return p, revision, nil
}

// besideStalled puts at a fixed rate, first alone, then beside watches that take nothing of
// what they are brought and are far behind, and a few that catch up. More of these would use
// up both processors in this process, and the puts would wait for that.
func besideStalled(ctx context.Context, c coordinator, s size) ([]figure, error) {
	p, revision, err := changed(ctx, c, "stalled", s)
	if err != nil {
		return nil, err
	}
	defer p.to.close()
	load := bench.Config{Clients: 16, Warmup: s.warmup, Duration: s.duration, Rate: s.keyRate}
	alone, err := run(ctx, c, load, p)
	if err != nil {
		return nil, err
	}
	before, err := settled(ctx, c, s)
	if err != nil {
		return nil, err
	}
	conns, err := connectAll(ctx, c, 2*watchConns)
	if err != nil {
		return nil, err
	}
	defer conns.close()
	watching, end := context.WithCancel(ctx)
	var opening sync.WaitGroup
	defer opening.Wait()
	defer end()
	var came, stalled atomic.Int64
	for i := range stalledWatches + behindWatches {
		opening.Go(func() { // those that take nothing never come into place, and all end with the row
			_ = conns.of(i).watch(watching, selection{p.prefix, true, revision}, func(e event) {
				switch {
				case e.err != nil:
				case i < stalledWatches:
					stalled.Add(1)
					<-watching.Done()
				default:
					came.Add(1)
				}
			})
		})
	}
	beside, err := run(ctx, c, load, p)
	if err != nil {
		return nil, err
	}
	if came.Load() == 0 || stalled.Load() == 0 {
		return nil, fmt.Errorf("void: %d events came, and %d watches stalled", came.Load(), stalled.Load())
	}
	grown := -before
	for _, pid := range c.PIDs() {
		bytes, err := rod.Resident(pid)
		if err != nil {
			return nil, err
		}
		grown += bytes
	}
	return []figure{
		{"put-p99", milliseconds, ms(beside.p99)},
		{"put-p99-alone", milliseconds, ms(alone.p99)},
		{"put-p99-of-alone", ratio, float64(beside.p99) / float64(alone.p99)},
		{"growth", megabytes, grown / (1 << 20)},
		{"events", perSecond, float64(came.Load()) / (s.warmup + s.duration).Seconds()},
	}, nil
}

// stalledWatches is how many watches stall in besideStalled, and behindWatches how many have to
// catch up.
const stalledWatches, behindWatches = 100, 2

// catchUp makes changes, and then a watch that begins before the first of them.
func catchUp(ctx context.Context, c coordinator, s size) ([]figure, error) {
	p, revision, err := changed(ctx, c, "catchup", s)
	if err != nil {
		return nil, err
	}
	defer p.to.close()
	begun := time.Now()
	a, err := gather(ctx, c, 1, 1, nil, func(int) selection { return selection{p.prefix, true, revision} })
	if err != nil {
		return nil, err
	}
	defer a.close()
	if err := a.await(ctx, s.behind); err != nil {
		return nil, err
	}
	return []figure{{"events", perSecond, float64(s.behind) / time.Since(begun).Seconds()}}, nil
}

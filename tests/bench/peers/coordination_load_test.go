package peers

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/client/bench"
	"raftkv/tests/bench/rod"
)

// loadConns is how many connections share the load of a row.
const loadConns = 8

// namespaces counts the prefixes that were given out, so that no row meets another's keys.
var namespaces atomic.Int64

// namespace returns a prefix that nobody has used.
func namespace(row string) string { return fmt.Sprintf("%s/%d/", row, namespaces.Add(1)) }

// inParallel calls do with 0 to n-1, in this number of goroutines, and returns the first
// error, after which it begins no more.
func inParallel(ctx context.Context, goroutines, n int, do func(ctx context.Context, i int) error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var next atomic.Int64
	var working sync.WaitGroup
	for range min(goroutines, n) {
		working.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(ctx, i); err != nil {
					fail(err)
				}
			}
		})
	}
	working.Wait()
	return context.Cause(ctx)
}

// puts is a load of puts whose keys take turns. The keys that bench draws are not used,
// since watches must know them.
type puts struct {
	to       connections
	prefix   string
	keys     int
	answered *answers // nil: nobody asks when puts were answered
	next     atomic.Int64
}

func (p *puts) key(i int) string { return fmt.Sprintf("%s%07d", p.prefix, i%p.keys) }

// Do puts the next key.
func (p *puts) Do(ctx context.Context, client int, _ bench.Op, _ string, value []byte) string {
	n := int(p.next.Add(1)) - 1
	value = slices.Clone(value) // clients use theirs again
	p.answered.number(value, n)
	_, err := p.to.of(client).put(ctx, p.key(n), value, 0)
	if err != nil {
		return failure(err)
	}
	p.answered.note(n)
	return ""
}

// pairs is a load of transactions that compare one key and put two.
type pairs struct{ puts }

// Do makes a transaction on the next two keys.
func (p *pairs) Do(ctx context.Context, client int, _ bench.Op, _ string, value []byte) string {
	n := int(p.next.Add(2)) - 2
	if err := p.to.of(client).putTwo(ctx, p.key(0), p.key(n), p.key(n+1), value); err != nil {
		return failure(err)
	}
	return ""
}

// failure returns an error in a word, as bench counts failures.
func failure(err error) string { return "unknown " + strings.ReplaceAll(err.Error(), " ", "_") }

// answers are the moments at which puts were answered, by the number in their values.
// Methods of nil do nothing.
type answers struct {
	begun time.Time
	at    [1 << 20]atomic.Int64 // since begun; 0: not answered
}

func newAnswers() *answers { return &answers{begun: time.Now()} }

// number writes a put's number into its value.
func (a *answers) number(value []byte, n int) {
	if a != nil {
		binary.BigEndian.PutUint64(value, uint64(n))
	}
}

func (a *answers) note(n int) {
	if a != nil && n < len(a.at) {
		a.at[n].Store(int64(time.Since(a.begun)))
	}
}

// delay returns how long ago the put of an event was answered: 0 if the event came first.
func (a *answers) delay(value []byte) time.Duration {
	n := binary.BigEndian.Uint64(value)
	if n >= uint64(len(a.at)) {
		return 0
	}
	at := a.at[n].Load()
	if at == 0 {
		return 0
	}
	return max(time.Since(a.begun)-time.Duration(at), 0)
}

// delays are the delays of events that many watches bring at the same time.
type delays [64]struct {
	mu   sync.Mutex
	seen bench.Histogram
}

func (d *delays) add(watch int, delay time.Duration) {
	part := &d[watch%len(d)]
	part.mu.Lock()
	part.seen.Add(delay)
	part.mu.Unlock()
}

func (d *delays) all() *bench.Histogram {
	var sum bench.Histogram
	for i := range d {
		d[i].mu.Lock()
		sum.Merge(&d[i].seen)
		d[i].mu.Unlock()
	}
	return &sum
}

// measured is what a load has come to.
type measured struct {
	ops      float64 // a second
	done     int
	p50, p99 time.Duration
	servers  time.Duration // processor time of the servers in all
	client   time.Duration // and of this process
}

// cpu is the processor time of all processes for each operation.
func (m measured) cpu() time.Duration { return (m.servers + m.client) / time.Duration(m.done) }

// processors returns the processor time that the servers and this process have used.
func processors(c coordinator) (servers, client time.Duration, err error) {
	servers, err = bench.CPU(c.PIDs()...)
	client, failed := bench.CPU(os.Getpid())
	return servers, client, errors.Join(err, failed)
}

// run puts a load on a coordinator and measures it. A failure is an error. begin and end
// of the config may be set, and what is zero in it is filled in.
func run(ctx context.Context, c coordinator, config bench.Config, target bench.Target) (m measured, err error) {
	config.Keys, config.ValueSize, config.Mix, config.Timeout = max(config.Keys, 1), rod.ValueBytes, rod.PutRow(1).Mix, 20*time.Second
	var servers, client time.Duration
	var failed error
	begin := config.Begin
	config.Begin = func() {
		if servers, client, failed = processors(c); begin != nil {
			begin()
		}
	}
	result := bench.Run(ctx, config, target)
	m.servers, m.client, err = processors(c)
	if err = errors.Join(failed, err); err != nil {
		return m, err
	}
	m.servers, m.client = m.servers-servers, m.client-client
	for _, of := range result.ByOp {
		for what, n := range of.Failures {
			return m, fmt.Errorf("%d operations failed: %s", n, what)
		}
		m.done += int(of.Latency.Count())
		m.p50, m.p99 = of.Latency.Percentile(50), of.Latency.Percentile(99)
	}
	if m.done == 0 {
		return m, errors.Join(errors.New("no operation was done"), ctx.Err())
	}
	m.ops = float64(m.done) / result.Elapsed.Seconds()
	return m, nil
}

// await waits until a counter has come to a number, or a watch has failed.
func await(ctx context.Context, what string, counter *atomic.Int64, want int64, failed <-chan error) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for counter.Load() < want {
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%d of %d %s have come: %w", counter.Load(), want, what, context.Cause(ctx))
		case <-tick.C:
		}
	}
	return nil
}

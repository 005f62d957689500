package bench

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Target is the system under load. Its methods are safe for concurrent use.
type Target interface {
	// Do makes one request and returns "" if it was done, a read of a key that
	// does not exist included, or else words for the error: its outcome and code.
	Do(ctx context.Context, client int, op Op, key string, value []byte) (failure string)
}

// Config describes the load on a target. All fields must be set, except those
// whose comments name a zero value.
type Config struct {
	Clients   int
	Keys      int // number of keys, which are drawn evenly
	ValueSize int // bytes
	Mix       Mix
	Duration  time.Duration
	Warmup    time.Duration // before it, not measured; may be 0
	Rate      float64       // requests per second of an open loop; 0: a closed loop
	Timeout   time.Duration // of one request
	Preload   bool          // write every key once before
	// Progress, if not nil, is called now and then by one goroutine, with the
	// fraction of the time that has passed, 0 to 1.
	Progress func(phase string, part float64)
	// Begin and End, if not nil, are called when measuring begins and ends.
	Begin, End func()
}

// Measured is the result of one operation.
type Measured struct {
	Latency  Histogram      // of requests that were done
	Failures map[string]int // by the words of Target.Do
}

// Result holds the measurements of a run.
type Result struct {
	Elapsed time.Duration
	ByOp    map[Op]*Measured
}

// worker is one client.
type worker struct {
	number int
	config *Config
	target Target
	rand   *rand.Rand
	value  []byte
	byOp   map[Op]*Measured

	ctx     context.Context // of requests; see requestContext
	cancel  context.CancelFunc
	renewed time.Time
}

// Run puts the load on the target. It ends early if ctx does; the result then
// holds the measurements so far.
func Run(ctx context.Context, config Config, target Target) Result {
	if config.Progress == nil {
		config.Progress = func(string, float64) {}
	}
	workers := make([]*worker, config.Clients)
	for i := range workers {
		workers[i] = &worker{
			number: i, config: &config, target: target,
			rand:  rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
			value: make([]byte, config.ValueSize),
		}
		for j := range workers[i].value {
			workers[i].value[j] = byte(workers[i].rand.Uint32())
		}
	}
	if config.Preload {
		preload(ctx, &config, workers)
	}
	if config.Warmup > 0 {
		period(ctx, &config, workers, config.Warmup, "warming up")
	}
	if config.Begin != nil {
		config.Begin()
	}
	elapsed := period(ctx, &config, workers, config.Duration, "measuring")
	if config.End != nil {
		config.End()
	}
	result := Result{Elapsed: elapsed, ByOp: map[Op]*Measured{}}
	for _, w := range workers {
		for op, m := range w.byOp {
			result.of(op).merge(m)
		}
	}
	return result
}

func (r *Result) of(op Op) *Measured {
	m := r.ByOp[op]
	if m == nil {
		m = &Measured{Failures: map[string]int{}}
		r.ByOp[op] = m
	}
	return m
}

func (m *Measured) merge(other *Measured) {
	m.Latency.Merge(&other.Latency)
	for what, n := range other.Failures {
		m.Failures[what] += n
	}
}

// keyName returns "bench/" and at least seven digits.
func keyName(n int) string {
	const prefix, digits = "bench/", 7
	b := make([]byte, 0, 24)
	b = append(b, prefix...)
	number := strconv.Itoa(n)
	for range digits - len(number) {
		b = append(b, '0')
	}
	return string(append(b, number...))
}

// preload writes every key once.
func preload(ctx context.Context, config *Config, workers []*worker) {
	var next atomic.Int64
	var loading sync.WaitGroup
	for _, w := range workers {
		loading.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= config.Keys {
					return
				}
				w.target.Do(ctx, w.number, Put, keyName(n), w.value)
				if n%64 == 0 && w.number == 0 {
					config.Progress("preloading", float64(n)/float64(config.Keys))
				}
			}
		})
	}
	loading.Wait()
}

// period lets the workers work for a while and returns the duration.
func period(ctx context.Context, config *Config, workers []*worker, length time.Duration, phase string) time.Duration {
	begun := time.Now()
	ctx, cancel := context.WithDeadline(ctx, begun.Add(length))
	defer cancel()
	var working sync.WaitGroup
	for _, w := range workers {
		w.byOp = map[Op]*Measured{}
		working.Go(func() {
			defer w.release()
			if config.Rate > 0 {
				w.openLoop(ctx, begun)
			} else {
				w.closedLoop(ctx)
			}
		})
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case now := <-ticker.C:
			config.Progress(phase, min(now.Sub(begun).Seconds()/length.Seconds(), 1))
		}
	}
	working.Wait()
	return time.Since(begun)
}

// closedLoop makes a request as soon as the one before is answered. A request
// that is pending when the time ends is finished and counts.
func (w *worker) closedLoop(ctx context.Context) {
	for ctx.Err() == nil {
		w.ask(time.Now())
	}
}

// openLoop makes every n-th request of all at the time when it is due, or as soon
// after it as the one before has been answered. Requests that are due and not
// begun would have waited to the end. They are made all the same, so that a
// standstill cannot shorten the tail.
func (w *worker) openLoop(ctx context.Context, begun time.Time) {
	deadline, _ := ctx.Deadline()
	for n := w.number; ; n += w.config.Clients {
		due := begun.Add(time.Duration(float64(n) / w.config.Rate * float64(time.Second)))
		if due.After(deadline) {
			return
		}
		if wait := time.Until(due); wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
		}
		if ctx.Err() != nil && time.Now().Before(deadline) {
			return // the user has ended it
		}
		if ctx.Err() != nil && time.Since(deadline) > w.config.Timeout {
			w.of(w.config.Mix.draw(w.rand)).Failures["not_applied never_begun"]++
			continue
		}
		w.ask(due)
	}
}

// ask makes one request, whose latency counts from the given moment.
func (w *worker) ask(from time.Time) {
	op := w.config.Mix.draw(w.rand)
	key := keyName(w.rand.IntN(w.config.Keys))
	failure := w.target.Do(w.requestContext(), w.number, op, key, w.value)
	m := w.of(op)
	if failure != "" {
		m.Failures[failure]++
		return
	}
	m.Latency.Add(time.Since(from))
}

// requestContext bounds one request. It is good for several, one after the
// other, that begin within a tenth of the timeout: a timer for each would cost
// as much as the rest of the request.
func (w *worker) requestContext() context.Context {
	now := time.Now()
	if w.ctx == nil || w.ctx.Err() != nil || now.Sub(w.renewed) > w.config.Timeout/10 {
		w.release()
		w.ctx, w.cancel = context.WithTimeout(context.Background(), w.config.Timeout)
		w.renewed = now
	}
	return w.ctx
}

func (w *worker) release() {
	if w.cancel != nil {
		w.cancel()
		w.ctx, w.cancel = nil, nil
	}
}

func (w *worker) of(op Op) *Measured {
	m := w.byOp[op]
	if m == nil {
		m = &Measured{Failures: map[string]int{}}
		w.byOp[op] = m
	}
	return m
}

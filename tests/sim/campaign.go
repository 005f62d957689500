package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// campaign is a run over many seeds and what it found.
type campaign struct {
	first   uint64
	length  time.Duration
	seeds   int           // maximum; 0: as many as there is time for
	twice   int           // every n-th seed is run twice; 0 none
	shrink  time.Duration // for each failure
	stop    bool          // with the first failure
	started time.Time

	mu       sync.Mutex // guards what follows
	next     uint64
	took     time.Duration
	repeated int
	totals   tally
	sizes    [maxServers + 1]tally // by number of servers
	counts   counts
	failures []string
}

// tally adds up runs.
type tally struct {
	seeds   int
	failed  int
	virtual int64         // virtual time that passed
	busy    time.Duration // time that processors spent on it
	events  uint64
	ticks   uint64
	faults  int
	ops     int // operations that clients ended
}

func (t *tally) add(r *result, busy time.Duration) {
	t.seeds++
	t.virtual += r.virtual
	t.busy += busy
	t.events += r.events
	t.ticks += r.ticks
	t.faults += len(r.began)
	t.ops += r.counts.CheckedOperations
	if r.err != nil {
		t.failed++
	}
}

// gcPercent lets more garbage gather than usual: worlds are short and small.
const gcPercent = 800

// run runs fresh seeds on all processors.
func (c *campaign) run() {
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	c.started = time.Now()
	var running sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() {
			runtime.LockOSThread() // for threadTime
			defer runtime.UnlockOSThread()
			for {
				n, more := c.take()
				if !more {
					return
				}
				c.try(c.first+n, c.twice > 0 && n%uint64(c.twice) == 0)
			}
		})
	}
	running.Wait()
	c.took = time.Since(c.started)
}

// take hands out the next seed.
func (c *campaign) take() (uint64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop && len(c.failures) > 0 {
		return 0, false
	}
	if c.seeds > 0 && c.next >= uint64(c.seeds) || c.length > 0 && time.Since(c.started) >= c.length {
		return 0, false
	}
	c.next++
	return c.next - 1, true
}

// longSeed is the real time after which a seed is named that has not ended: most take less
// than a second.
const longSeed = time.Minute

// try runs one seed, twice if asked.
func (c *campaign) try(seed uint64, twice bool) {
	o := drawOptions(seed)
	late := time.AfterFunc(longSeed, func() {
		fmt.Fprintf(os.Stderr, "seed %d has taken %v so far; replay: %s\n", seed, longSeed, reproducer(seed, o))
	})
	defer late.Stop()
	began := threadTime()
	r := run(seed, o, &trace{})
	busy := threadTime() - began
	if r.err == nil && twice {
		if second := run(seed, o, &trace{}); second.hash != r.hash {
			r.oracle = "determinism"
			r.err = fmt.Errorf("seed %d: two runs differ: trace hashes %016x and %016x", seed, r.hash, second.hash)
		}
	}
	failure := ""
	if r.err != nil {
		failure = explain(r, c.shrink)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.totals.add(&r, busy)
	c.sizes[o.Servers].add(&r, busy)
	c.counts.add(r.counts)
	if twice {
		c.repeated++
	}
	if failure != "" {
		c.failures = append(c.failures, failure)
	}
}

// keptRows is how many of the last rows a failing run shows.
const keptRows = 60

// explain shrinks a failing run and says how to see it again.
func explain(r result, patience time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "FAILED: %v\n", r.err)
	if r.oracle != "determinism" {
		r = shrink(r, patience)
	}
	kept := run(r.seed, r.options, &trace{keep: keptRows})
	if kept.err != nil {
		fmt.Fprintf(&b, "shrunk to: %v\nthe last events:\n%s\n", kept.err, strings.Join(kept.rows, "\n"))
	}
	fmt.Fprintf(&b, "replay: %s\n", reproducer(r.seed, r.options))
	return b.String()
}

// reproducer is the command that shows a run again.
func reproducer(seed uint64, o options) string {
	return fmt.Sprintf("go run ./tests/sim -seed %d -options '%s' -trace", seed, o)
}

// report is what the campaign prints.
func (c *campaign) report() string {
	var b strings.Builder
	for _, f := range c.failures {
		fmt.Fprintf(&b, "%s\n", f)
	}
	t := &c.totals
	hours := float64(t.virtual) / float64(3600*second)
	fmt.Fprintf(&b, "%d seeds from %d in %.1f s: %d failed, %d run twice, %.1f hours simulated, %.0f times real time on %d processors\n",
		t.seeds, c.first, c.took.Seconds(), t.failed, c.repeated, hours,
		float64(t.virtual)/float64(second)/c.took.Seconds(), runtime.GOMAXPROCS(0))
	fmt.Fprintf(&b, "%d operations checked, %d faults, %d events, %d ticks; %.1f s of processor time, %.0f times real time on one processor\n\n",
		t.ops, t.faults, t.events, t.ticks, t.busy.Seconds(), float64(t.virtual)/float64(second)/t.busy.Seconds())
	fmt.Fprintf(&b, "  servers   seeds    hours   × real/cpu    operations/s   faults/s   events/s  (per virtual second)\n")
	for n := range c.sizes {
		if t := &c.sizes[n]; t.seeds > 0 {
			virtual := float64(t.virtual) / float64(second)
			fmt.Fprintf(&b, "  %7d %7d %8.2f %13.0f %14.1f %10.2f %10.0f\n", n, t.seeds, virtual/3600, virtual/t.busy.Seconds(),
				float64(t.ops)/virtual, float64(t.faults)/virtual, float64(t.events)/virtual)
		}
	}
	fmt.Fprintf(&b, "\n%s", c.counts.String())
	if missing := c.counts.missing(); len(missing) > 0 {
		fmt.Fprintf(&b, "never happened: %s\n", strings.Join(missing, ", "))
	}
	return b.String()
}

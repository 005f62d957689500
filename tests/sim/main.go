package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
)

func main() {
	seed := flag.Uint64("seed", 0, "run this seed only")
	traced := flag.Bool("trace", false, "with -seed: print every event")
	seconds := flag.Int("seconds", 10, "run fresh seeds for this many seconds")
	first := flag.Uint64("first", uint64(time.Now().UnixNano()), "the first of the fresh seeds")
	again := flag.Int("again", 10, "run every n-th fresh seed twice and compare the trace hashes")
	flag.Parse()
	named := false
	flag.Visit(func(f *flag.Flag) { named = named || f.Name == "seed" })
	if named {
		os.Exit(single(*seed, *traced))
	}
	c := campaign(*first, time.Duration(*seconds)*time.Second, *again)
	fmt.Print(c.report())
	if len(c.failures) > 0 {
		os.Exit(1)
	}
}

// single runs one seed and says how it went.
func single(seed uint64, traced bool) int {
	t := newTrace(nil)
	if traced {
		t.out = os.Stdout
	}
	r := run(seed, t)
	fmt.Printf("seed %d: %s simulated, trace hash %016x\noptions %+v\n%s", seed, clock(r.virtual), r.hash, r.options, r.counts)
	if r.err != nil {
		fmt.Println(r.err)
		return 1
	}
	return 0
}

// tally is what a campaign found.
type tally struct {
	mu       sync.Mutex
	first    uint64
	seeds    int
	twice    int
	virtual  int64
	took     time.Duration
	counts   counts
	failures []error
}

// campaign runs fresh seeds on all processors for a while.
func campaign(first uint64, length time.Duration, again int) *tally {
	c := &tally{first: first}
	start := time.Now()
	var next uint64
	var running sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() {
			for time.Since(start) < length {
				c.mu.Lock()
				n := next
				next++
				c.mu.Unlock()
				c.try(first+n, again > 0 && n%uint64(again) == 0)
			}
		})
	}
	running.Wait()
	c.took = time.Since(start)
	return c
}

// try runs one seed, twice if asked.
func (c *tally) try(seed uint64, twice bool) {
	r := run(seed, newTrace(nil))
	if r.err == nil && twice {
		if second := run(seed, newTrace(nil)); second.hash != r.hash {
			r.err = fmt.Errorf("seed %d: two runs differ: trace hashes %016x and %016x", seed, r.hash, second.hash)
		}
	}
	if r.err != nil {
		kept := newTrace(nil)
		kept.keep = true
		rows := run(seed, kept).lastRows
		r.err = fmt.Errorf("%w\nthe last events:\n%s\nreplay: go run ./tests/sim -seed %d -trace", r.err, strings.Join(rows, "\n"), seed)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seeds++
	if twice {
		c.twice++
	}
	c.virtual += r.virtual
	c.counts.add(r.counts)
	if r.err != nil {
		c.failures = append(c.failures, r.err)
	}
}

func (c *tally) report() string {
	var b strings.Builder
	for _, err := range c.failures {
		fmt.Fprintf(&b, "FAILED: %v\n\n", err)
	}
	fmt.Fprintf(&b, "%d seeds from %d in %.1f s, %d failed; %d run twice; %.2f hours simulated, %.0f times real time\n",
		c.seeds, c.first, c.took.Seconds(), len(c.failures), c.twice,
		float64(c.virtual)/float64(3600*second), float64(c.virtual)/float64(second)/c.took.Seconds())
	b.WriteString(c.counts.String())
	if missing := c.counts.missing(); len(missing) > 0 {
		fmt.Fprintf(&b, "never happened: %s\n", strings.Join(missing, ", "))
	}
	return b.String()
}

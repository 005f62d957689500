package campaign

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/client/verify"
	"raftkv/tests/cluster"
)

var nemesisBeside = flag.String("nemesis.beside", "watch,locks,ttl,txn", "what runs beside the clients whose history is searched; may be empty")

// besideRound is how long a round of a workload is. What it has heard is judged at its end,
// and forgotten, so that a campaign of hours needs no more memory than one of minutes.
const besideRound = 30 * time.Second

// workload is one that judges itself.
type workload struct {
	name   string
	run    func(context.Context, []*client.Clerk, verify.Config) (verify.Report, error)
	config verify.Config // without times and names
}

// workloads are all there are. Their rates leave the processors to the nodes.
func workloads() []workload {
	return []workload{
		{"watch", verify.RunStreams, verify.Config{Clients: 8, Keys: 20, Rate: 150, Streams: 24}},
		{"locks", verify.RunLocks, verify.Config{Clients: 32, Rate: 100}},
		{"ttl", verify.RunEnds, verify.Config{Clients: 8, Rate: 100}},
		{"txn", verify.RunTransfers, verify.Config{Clients: 6, Keys: 10, Rate: 60}},
	}
}

// beside are workloads that run while faults come and go, each in one round after the other.
type beside struct {
	stop    context.CancelFunc
	running sync.WaitGroup
	outages verify.Outages
}

// startBeside starts the workloads whose names are in a list.
func (c *campaign) startBeside(names string, round time.Duration) {
	ctx, stop := context.WithCancel(context.Background())
	c.beside = &beside{stop: stop}
	for _, w := range workloads() {
		if !slices.Contains(strings.Split(names, ","), w.name) {
			continue
		}
		w.config.Duration, w.config.Timeout, w.config.Outages = round, nemesisPatience, &c.beside.outages
		c.beside.running.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				config := w.config
				config.Prefix = fmt.Sprintf("%s%d/", w.name, n)
				report, err := w.run(ctx, c.clerks, config)
				c.judged(w.name, report, err)
				if err != nil {
					cluster.Sleep(ctx, 100*time.Millisecond)
				}
			}
		})
	}
}

// endBeside waits for the last rounds and says what was wrong in any.
func (c *campaign) endBeside() {
	c.beside.stop()
	c.beside.running.Wait()
	for _, name := range slices.Sorted(maps.Keys(c.rounds)) {
		r := c.rounds[name]
		for _, fault := range r.faults {
			c.t.Errorf("%s: %s", name, fault)
		}
	}
}

// rounds are what the rounds of a workload have come to.
type rounds struct {
	judged, undecided, unbegun int
	found                      int
	faults                     []string // the first of those found
	missing                    string   // in the last undecided round
	counts                     map[string]int
}

// judged takes in a round.
func (c *tallies) judged(name string, report verify.Report, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rounds[name]
	if r == nil {
		r = &rounds{counts: map[string]int{}}
		c.rounds[name] = r
	}
	switch {
	case err != nil: // nothing was there to begin with
		r.unbegun++
		return
	case report.Verdict == verify.Undecided:
		r.undecided++
		r.missing = report.Missing
	}
	r.judged++
	r.found += report.Found
	r.faults = append(r.faults, report.Faults[:min(len(report.Faults), max(0, 10-len(r.faults)))]...)
	for what, n := range report.Counts {
		if strings.HasPrefix(what, "latest") {
			r.counts[what] = max(r.counts[what], n)
		} else {
			r.counts[what] += n
		}
	}
}

// describeBeside says what was tried beside, and what was found.
func (c *tallies) describeBeside() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	violations := 0
	for _, name := range slices.Sorted(maps.Keys(c.rounds)) {
		r := c.rounds[name]
		violations += r.found
		fmt.Fprintf(&b, "%s: %d rounds, %d of them undecided; %d could not begin", name, r.judged, r.undecided, r.unbegun)
		for _, what := range slices.Sorted(maps.Keys(r.counts)) {
			fmt.Fprintf(&b, "; %d %s", r.counts[what], what)
		}
		if r.missing != "" {
			fmt.Fprintf(&b, " (%s)", r.missing)
		}
		b.WriteString("\n")
	}
	count := func(name, what string) int {
		if r := c.rounds[name]; r != nil {
			return r.counts[what]
		}
		return 0
	}
	fmt.Fprintf(&b, "beside: %d events compared, %d grants, %d lease-seconds, %d transactions, %d violations\n\n",
		count("watch", "events"), count("locks", "grants"), count("ttl", "milliseconds lived")/1000, count("txn", "transfers "+verify.Done), violations)
	return b.String()
}

// checkBeside wants that each workload was judged at all.
func (c *tallies) checkBeside(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(c.rounds)) {
		if r := c.rounds[name]; r.judged == r.undecided {
			t.Errorf("void: none of %d rounds of %s came to a verdict: %s", r.judged, name, r.missing)
		}
	}
}

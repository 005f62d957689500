package campaign

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/client/verify"
)

// tallies are what a campaign counts.
type tallies struct {
	mu     sync.Mutex                // guards calls, writes and rounds
	calls  map[string]map[string]int // by call and outcome
	writes []verify.Answer           // that were acknowledged since the last forget

	kinds               []string // in the order in which they came first
	stops, heals        map[string][]time.Duration
	void                []string
	elections           uint64
	checks, keys        int
	appended, attempted int // by the ledgers
	searched            time.Duration
	rounds              map[string]*rounds // of workloads beside
}

func newTallies() *tallies {
	return &tallies{calls: map[string]map[string]int{}, stops: map[string][]time.Duration{}, heals: map[string][]time.Duration{}, rounds: map[string]*rounds{}}
}

// answered takes an answer. Many clients call it at one time.
func (c *tallies) answered(a verify.Answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls[a.Call] == nil {
		c.calls[a.Call] = map[string]int{}
	}
	c.calls[a.Call][a.Outcome]++
	if a.Outcome == verify.Done && isWrite(a.Call) {
		c.writes = append(c.writes, a)
	}
}

func isWrite(call string) bool { return call == "put" || call == "append" || call == "swap" }

// forget begins a new list of acknowledged writes.
func (c *tallies) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes = nil
}

// writesSince is how many writes were asked for and acknowledged since a moment.
func (c *tallies) writesSince(from time.Time) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.writes {
		if w.Called.After(from) {
			n++
		}
	}
	return n
}

// firstSince is how long after a moment the first write was acknowledged that was
// asked for after it. There must be one.
func (c *tallies) firstSince(from time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := time.Duration(1<<63 - 1)
	for _, w := range c.writes {
		if w.Called.After(from) {
			first = min(first, w.Answered.Sub(from))
		}
	}
	return first
}

// longestStop is the longest time without an acknowledged write since a moment.
func (c *tallies) longestStop(from time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	var a acks
	for _, w := range c.writes {
		a.at = append(a.at, w.Answered)
	}
	return a.longestPause(from, time.Now())
}

// had takes a fault that had evidence.
func (c *tallies) had(kind string, stop, heal time.Duration) {
	if c.stops[kind] == nil {
		c.kinds = append(c.kinds, kind)
	}
	c.stops[kind], c.heals[kind] = append(c.stops[kind], stop), append(c.heals[kind], heal)
}

// faults is how many had evidence.
func (c *tallies) faults() (n int) {
	for _, took := range c.stops {
		n += len(took)
	}
	return n
}

// operations is how many were checked: all but those that did not happen.
func (c *tallies) operations() (n int) {
	for _, outcomes := range c.calls {
		n += outcomes[verify.Done] + outcomes[verify.Refused] + outcomes[verify.Unknown]
	}
	return n
}

func (c *tallies) print(t *testing.T, took time.Duration) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d faults of %d kinds in %v, %d void; %d operations checked (%.0f/s) in %d histories of %d keys, searched for %v; terms +%d\n",
		c.faults(), len(c.kinds), took.Round(time.Second), len(c.void), c.operations()+c.appended, float64(c.operations()+c.appended)/took.Seconds(),
		c.checks, c.keys, c.searched.Round(time.Millisecond), c.elections)
	fmt.Fprintf(&b, "%d appends under idempotency keys, %d attempts: each there once and in order, on every node\n\n", c.appended, c.attempted)
	b.WriteString(c.describeBeside())
	outcomes := []string{verify.Done, verify.Refused, verify.Failed, verify.Unknown}
	fmt.Fprintf(&b, "%-12s", "operation")
	for _, o := range outcomes {
		fmt.Fprintf(&b, "%10s", o)
	}
	for _, call := range slices.Sorted(maps.Keys(c.calls)) {
		fmt.Fprintf(&b, "\n%-12s", call)
		for _, o := range outcomes {
			fmt.Fprintf(&b, "%10d", c.calls[call][o])
		}
	}
	fmt.Fprintf(&b, "\n\n%-46s %5s   %s   %s\n%-46s %5s   %7s %7s %7s %7s   %7s %7s\n",
		"", "", "no write for, in seconds       ", "first write after the end",
		"fault", "times", "min", "p50", "p90", "max", "p50", "max")
	var all, allHeals []time.Duration
	for _, kind := range slices.Sorted(slices.Values(c.kinds)) {
		all, allHeals = append(all, c.stops[kind]...), append(allHeals, c.heals[kind]...)
		b.WriteString(recoveryRow(kind, c.stops[kind], c.heals[kind]))
	}
	if len(all) > 0 {
		b.WriteString(recoveryRow("all", all, allHeals))
	}
	b.WriteString("\n" + histogram(all))
	for _, void := range c.void {
		fmt.Fprintf(&b, "void: %s\n", void)
	}
	t.Log(b.String())
}

// recoveryRow is a row of the table of recovery times.
func recoveryRow(name string, stops, heals []time.Duration) string {
	return fmt.Sprintf("%-46s %5d   %7.2f %7.2f %7.2f %7.2f   %7.2f %7.2f\n", name, len(stops),
		percentile(stops, 0).Seconds(), percentile(stops, 50).Seconds(), percentile(stops, 90).Seconds(), percentile(stops, 100).Seconds(),
		percentile(heals, 50).Seconds(), percentile(heals, 100).Seconds())
}

// histogram draws how often writes stopped for how long.
func histogram(took []time.Duration) string {
	var b strings.Builder
	b.WriteString("no write for\n")
	last := time.Duration(0)
	for _, bound := range []time.Duration{50, 100, 200, 400, 800, 1600, 3200, 6400, 1 << 40} {
		bound *= time.Millisecond
		n := 0
		for _, d := range took {
			if d > last && d <= bound {
				n++
			}
		}
		label := "≤ " + bound.String()
		if bound > time.Hour {
			label = "more"
		}
		fmt.Fprintf(&b, "%10s  %4d  %s\n", label, n, strings.Repeat("▇", n*60/max(1, len(took))))
		last = bound
	}
	return b.String()
}

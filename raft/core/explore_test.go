package core

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"raftkv/tests/explore"
)

// The explorer visits every world within bounds (docs/testing.md). How far it goes:
//
//	go test ./raft/core                            the smallest bounds
//	make explore                                   those that take a minute
//	make explore DEEP=1 LIMIT=1h                   those that take hours, an hour each at most
//	go test ./raft/core -run Explore -explore x    those whose names fit the pattern x
var (
	exploreNames = flag.String("explore", "", "visit all worlds within the bounds whose names fit this `pattern`, also those that take long")
	exploreDeep  = flag.Bool("explore.deep", false, "visit the worlds that take hours")
	exploreLimit = flag.Duration("explore.limit", 0, "stop a search after this time of the processor; 0 means never")
	exploreBare  = flag.Bool("explore.promises", false, "look at promises alone, not at counts: for planted bugs")
	exploreRenew = flag.Bool("explore.renew", false, "write the counts of complete searches into "+exploreCounts)
)

// exploreCounts is the table of what complete searches have counted. A change of the
// core that changes no behaviour changes no count.
const exploreCounts = "testdata/explore/counts.tsv"

// effort is how long a search takes.
type effort uint8

const (
	inSeconds effort = iota // a part of every go test
	inMinute                // make explore
	inHours                 // make explore DEEP=1
)

// explored are the bounds that are searched. In a name, T is terms and E commands.
var explored = []struct {
	effort effort
	bounds bounds
}{
	{inSeconds, bounds{name: "T1 E0 async", servers: 3, terms: 1, async: true, limit: budget{timeouts: unbounded}}},
	{inSeconds, bounds{name: "T1 E1 sync", servers: 3, terms: 1, limit: budget{timeouts: unbounded, entries: 1}}},
	{inSeconds, bounds{name: "T1 E1 async", servers: 3, terms: 1, async: true, limit: budget{timeouts: unbounded, entries: 1}}},
	{inSeconds, bounds{name: "T2 E0 sync", servers: 3, terms: 2, limit: budget{timeouts: unbounded}}},
	{inMinute, bounds{name: "T1 E2 sync", servers: 3, terms: 1, limit: budget{timeouts: unbounded, entries: 2}}},
	{inMinute, bounds{name: "T2 E0 async", servers: 3, terms: 2, async: true, limit: budget{timeouts: unbounded}}},
	{inMinute, bounds{name: "T2 E1 sync fifo", servers: 3, terms: 2, fifo: true, limit: budget{timeouts: unbounded, entries: 1}}},
	{inMinute, bounds{name: "T2 E1 sync timeouts2", servers: 3, terms: 2, limit: budget{timeouts: 2, entries: 1}}},
	{inMinute, bounds{name: "T2 E1 async timeouts2", servers: 3, terms: 2, async: true, limit: budget{timeouts: 2, entries: 1}}},
	{inMinute, bounds{name: "T1 E1 async cut1", servers: 3, terms: 1, async: true, limit: budget{timeouts: unbounded, entries: 1, cuts: 1}}},
	{inMinute, bounds{name: "T1 E2 sync fifo copy1", servers: 3, terms: 1, fifo: true, limit: budget{timeouts: unbounded, entries: 2, copies: 1}}},
	{inMinute, bounds{name: "T3 E0 noop sync fifo timeouts3", servers: 3, terms: 3, noop: true, fifo: true, limit: budget{timeouts: 3}}},
	{inMinute, bounds{name: "T2 E0 noop async fifo timeouts2 cut1", servers: 3, terms: 2, noop: true, async: true, fifo: true, limit: budget{timeouts: 2, cuts: 1}}},
	{inMinute, bounds{name: "T2 E1 async fifo timeouts2 snapshot1", servers: 3, terms: 2, async: true, fifo: true, limit: budget{timeouts: 2, entries: 1, snapshots: 1}}},
	{inMinute, bounds{name: "T2 E0 noop sync fifo timeouts2 read1", servers: 3, terms: 2, noop: true, fifo: true, limit: budget{timeouts: 2, reads: 1}}},
	{inMinute, bounds{name: "T2 E1 sync fifo timeouts1 transfer1", servers: 3, terms: 2, fifo: true, limit: budget{timeouts: 1, entries: 1, transfers: 1}}},
	{inMinute, bounds{name: "T1 E1 sync fifo wipe1", servers: 3, terms: 1, fifo: true, limit: budget{timeouts: unbounded, entries: 1, wipes: 1}}},
	{inMinute, bounds{name: "T2 E1 prevote sync fifo timeouts2", servers: 3, terms: 2, preVote: true, fifo: true, limit: budget{timeouts: 2, entries: 1}}},
	{inHours, bounds{name: "T2 E1 noop sync fifo timeouts2 loss1", servers: 3, terms: 2, noop: true, fifo: true, limit: budget{timeouts: 2, entries: 1, losses: 1}}},
	{inHours, bounds{name: "T2 E0 sync dead timeouts3", servers: 3, terms: 2, keepDead: true, limit: budget{timeouts: 3}}},
	{inHours, bounds{name: "T1 E1 sync fifo cut1 loss1 copy1", servers: 3, terms: 1, fifo: true, limit: budget{timeouts: unbounded, entries: 1, cuts: 1, losses: 1, copies: 1}}},
	{inHours, bounds{name: "T4 E0 noop single silent sync fifo timeouts4", servers: 3, terms: 4, noop: true, single: true, silent: true, fifo: true, limit: budget{timeouts: 4}}},
	{inHours, bounds{name: "T3 E2 single silent sync fifo timeouts3", servers: 3, terms: 3, single: true, silent: true, fifo: true, limit: budget{timeouts: 3, entries: 2}}},
	{inHours, bounds{name: "T4 E1 single silent sync fifo timeouts4", servers: 3, terms: 4, single: true, silent: true, fifo: true, limit: budget{timeouts: 4, entries: 1}}},
	{inHours, bounds{name: "T1 E2 sync copy1", servers: 3, terms: 1, limit: budget{timeouts: unbounded, entries: 2, copies: 1}}},
	{inHours, bounds{name: "T2 E1 noop sync timeouts2 loss1", servers: 3, terms: 2, noop: true, limit: budget{timeouts: 2, entries: 1, losses: 1}}},
	{inHours, bounds{name: "T1 E1 sync cut1 loss1 copy1", servers: 3, terms: 1, limit: budget{timeouts: unbounded, entries: 1, cuts: 1, losses: 1, copies: 1}}},
	{inHours, bounds{name: "T2 E0 async dead timeouts3", servers: 3, terms: 2, async: true, keepDead: true, limit: budget{timeouts: 3}}},
	{inHours, bounds{name: "T2 E1 sync", servers: 3, terms: 2, limit: budget{timeouts: unbounded, entries: 1}}},
	{inHours, bounds{name: "T2 E1 async cut1 timeouts2", servers: 3, terms: 2, async: true, limit: budget{timeouts: 2, entries: 1, cuts: 1}}},
	{inHours, bounds{name: "T2 E2 sync timeouts2", servers: 3, terms: 2, limit: budget{timeouts: 2, entries: 2}}},
	{inHours, bounds{name: "T2 E2 sync fifo", servers: 3, terms: 2, fifo: true, limit: budget{timeouts: unbounded, entries: 2}}},
	{inHours, bounds{name: "T3 E0 noop sync timeouts3", servers: 3, terms: 3, noop: true, limit: budget{timeouts: 3}}},
	{inHours, bounds{name: "T3 E1 sync fifo timeouts3", servers: 3, terms: 3, fifo: true, limit: budget{timeouts: 3, entries: 1}}},
	{inHours, bounds{name: "T2 E1 sync fifo timeouts2 snapshot1", servers: 3, terms: 2, fifo: true, limit: budget{timeouts: 2, entries: 1, snapshots: 1}}},
	{inHours, bounds{name: "T2 E1 sync fifo timeouts2 read1", servers: 3, terms: 2, fifo: true, limit: budget{timeouts: 2, entries: 1, reads: 1}}},
	{inHours, bounds{name: "T2 E0 sync fifo timeouts2 wipe1", servers: 3, terms: 2, fifo: true, limit: budget{timeouts: 2, wipes: 1}}},
	{inHours, bounds{name: "T2 E1 sync fifo timeouts2 wipe1", servers: 3, terms: 2, fifo: true, limit: budget{timeouts: 2, entries: 1, wipes: 1}}},
	{inHours, bounds{name: "T2 E0 prevote sync fifo timeouts2", servers: 3, terms: 2, preVote: true, fifo: true, limit: budget{timeouts: 2}}},
	{inHours, bounds{name: "T2 E1 prevote checkquorum sync fifo timeouts2 check1", servers: 3, terms: 2, preVote: true, checkQuorum: true, fifo: true, limit: budget{timeouts: 2, entries: 1, checks: 1}}},
	{inHours, bounds{name: "T2 E0 noop prevote checkquorum stall async fifo timeouts2 check1", servers: 3, terms: 2, noop: true, preVote: true, checkQuorum: true, stall: true, async: true, fifo: true, limit: budget{timeouts: 2, checks: 1}}},
}

// Goal: nothing that can happen within the bounds breaks a promise, and the counts are
// those of the table. Method: all worlds, depth first.
func TestExplore(t *testing.T) {
	counts := readCounts(t)
	pattern := regexp.MustCompile(*exploreNames)
	for _, e := range explored {
		switch {
		case raceDetector && e.bounds.name != "T1 E0 async": // one thread, ten times as slow
			continue
		case *exploreNames == "" && e.effort > inSeconds, e.effort == inHours && !*exploreDeep, !pattern.MatchString(e.bounds.name):
			continue
		}
		t.Run(strings.ReplaceAll(e.bounds.name, " ", "_"), func(t *testing.T) {
			begun, limited := cpuTime(), false
			r := explore.Search(newExWorld(e.bounds), explore.Options[*exWorld, exAction]{
				States: mostStates(counts[e.bounds.name]),
				Stop: func() bool {
					limited = *exploreLimit > 0 && cpuTime()-begun > *exploreLimit
					return limited
				},
			})
			t.Logf("%s: %v, %.1f s", e.bounds.name, &r, (cpuTime() - begun).Seconds())
			switch got := countsOf(&r); {
			case r.Broken != nil:
				found(t, e.bounds, &r)
			case *exploreBare:
			case !r.Complete && limited:
				t.Skipf("NOT COMPLETE: stopped after %v of the processor; nothing was found in %d states", *exploreLimit, r.States)
			case !r.Complete:
				t.Errorf("%s: more states than the table has, and no end: stopped at %d; the table has %q", e.bounds.name, r.States, counts[e.bounds.name])
			case *exploreRenew:
				counts[e.bounds.name] = got
			case counts[e.bounds.name] != got:
				t.Errorf("%s: %s states, steps and ends; the table has %q: either the behaviour of the core has changed, or what the explorer compares", e.bounds.name, got, counts[e.bounds.name])
			}
		})
	}
	if *exploreRenew {
		writeCounts(t, counts)
	}
}

// found tells a broken promise and the shortest way to it, as a script. The way is
// searched breadth first among as many states as the first search visited, and a few
// more.
func found(t *testing.T, b bounds, r *explore.Result[exAction]) {
	t.Errorf("%s: %v", b.name, r.Broken)
	way := r.Trace
	short := explore.Shortest(newExWorld(b), explore.Options[*exWorld, exAction]{States: 4*r.States + 100_000})
	if short.Broken != nil {
		way = short.Trace
		t.Errorf("breadth first after %d actions and %d states: %v", len(way), short.States, short.Broken)
	}
	t.Errorf("as a script of testdata:\n%s", b.script(way))
}

func countsOf(r *explore.Result[exAction]) string {
	return fmt.Sprintf("%d\t%d\t%d", r.States, r.Steps, r.Ends)
}

// mostStates returns the number of states at which a search ends that has found more
// than the table has: a core that is broken may have no end of them.
func mostStates(known string) int {
	states, _, _ := strings.Cut(known, "\t")
	n, err := strconv.Atoi(states)
	if err != nil || *exploreBare || *exploreRenew {
		return 0
	}
	return n + n/2 + 1000
}

// readCounts returns the table: a name of bounds, states, steps and ends in each line.
func readCounts(t *testing.T) map[string]string {
	counts := map[string]string{}
	text, err := os.ReadFile(exploreCounts)
	if err != nil && !*exploreRenew {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if name, numbers, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok && name[0] != '#' {
			counts[name] = numbers
		}
	}
	return counts
}

// writeCounts writes the table in the order of the bounds.
func writeCounts(t *testing.T, counts map[string]string) {
	text := "# bounds\tstates\tsteps\tends\n"
	for _, e := range explored {
		if numbers, known := counts[e.bounds.name]; known {
			text += e.bounds.name + "\t" + numbers + "\n"
		}
	}
	if err := os.WriteFile(exploreCounts, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Goal: the table of docs/testing.md is the table of counts. Method: every line of the
// one is a line of the other.
func TestExploreCountsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	document := strings.ReplaceAll(string(text), ",", "")
	for name, numbers := range readCounts(t) {
		states, rest, _ := strings.Cut(numbers, "\t")
		steps, ends, _ := strings.Cut(rest, "\t")
		if pattern := fmt.Sprintf(`(?m)^\| %s \| .* \| %s \| %s \| %s \|$`, name, states, steps, ends); !regexp.MustCompile(pattern).MatchString(document) {
			t.Errorf("docs/testing.md has another row for %q than %s, or none", name, numbers)
		}
	}
}

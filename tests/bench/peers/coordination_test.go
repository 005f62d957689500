package peers

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"testing"
	"time"

	"raftkv/tests/bench/rod"
)

var (
	only        = flag.String("coordination.only", "", "measure only the rows of coordination whose names match this pattern")
	idleWatches = flag.Int("coordination.idle", 20_000, "watches of the row idle, 100 to 393216, which is as many as three nodes of raftkv have room for")
	leases      = flag.Int("coordination.leases", 10_000, "leases of the row keepalive, 1 to 131072, which is as many as raftkv has room for")
)

// size is how much of everything a row has.
type size struct {
	warmup, duration time.Duration // of a load
	fanWatches       int           // of one prefix
	keyWatches       int           // of a key each
	keyRate          float64       // puts a second over these keys
	idleWatches      int
	idleConns        int
	rest             time.Duration // before memory is read
	behind           int           // changes that a watch has to catch up with
	waiters          int           // for a lock
	handOvers        int           // to measure, at most
	handLimit        time.Duration // and for how long, at most
	leases           int           // that are kept alive
	keep             time.Duration
	mortals          int // leases that end at one moment
	mortalTTL        time.Duration

	halfRate float64 // of the row fanout-half: see fanOutDelay
}

// fullSize is that of the figures, and tinySize shows that every row can be measured.
func fullSize() size {
	return size{
		warmup: 500 * time.Millisecond, duration: 3 * time.Second,
		fanWatches: 1000, keyWatches: 10_000, keyRate: 2000,
		idleWatches: *idleWatches, idleConns: 100, rest: 3 * time.Second, behind: 100_000,
		waiters: 1000, handOvers: 300, handLimit: 8 * time.Second,
		leases: *leases, keep: 10 * time.Second, mortals: 2000, mortalTTL: 8 * time.Second,
	}
}

func tinySize() size {
	return size{
		duration: 100 * time.Millisecond, fanWatches: 20, keyWatches: 40, keyRate: 200,
		idleWatches: 200, idleConns: 4, rest: 50 * time.Millisecond, behind: 300,
		waiters: 8, handOvers: 5, handLimit: 2 * time.Second,
		leases: 50, keep: 200 * time.Millisecond, mortals: 40,
		mortalTTL: 4 * time.Second, // etcd has none below 2 s
	}
}

// A coordRow is one kind of work, which both sides have turns at.
type coordRow struct {
	name    string
	measure func(context.Context, coordinator, size) ([]figure, error)
	fresh   bool // by servers that have done nothing before: memory that they have freed would hide what they take
	alone   bool // raftkv is compared with itself
}

var coordRows = []coordRow{
	{name: "fanout", measure: fanOut},
	{name: "fanout-half", measure: fanOutDelay},
	{name: "keys", measure: manyKeys},
	{name: "idle", measure: idle, fresh: true},
	{name: "catchup", measure: catchUp},
	{name: "stalled", measure: besideStalled},
	{name: "txn", measure: transactions},
	{name: "lock-one", measure: handOverOne},
	{name: "lock-many", measure: handOverMany},
	{name: "keepalive", measure: keepAlive},
	{name: "http-follower", measure: followerPuts, alone: true},
	{name: "ends", measure: ends},
}

const (
	// turnLimit bounds one turn of one side at one row; roundsLimit all rounds together. No
	// round begins that would not end before, if it takes as long as the longest so far.
	turnLimit   = 90 * time.Second
	roundsLimit = 14 * time.Minute
)

// starting returns how each side is started.
var starting = []func(*testing.T) (coordinator, error){startRaftkvCoordinator, startEtcdCoordinator}

// Goal: how raftkv's watches, transactions, leases and locks compare with etcd's on this
// machine. Method: both have their turns at every row by their own Go clients, round by
// round, and stand still meanwhile. Nothing is judged but that every row worked without
// failures.
func TestCoordinationAgainstEtcd(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("memory and processor time are read from /proc")
	}
	pattern := must(regexp.Compile(*only))(t)
	if *idleWatches < 100 || *idleWatches > 3<<17 || *leases < 1 || *leases > 1<<17 {
		t.Fatalf("-coordination.idle is %d and -coordination.leases %d; choose 100 to %d and 1 to %d", *idleWatches, *leases, 3<<17, 1<<17)
	}
	s, n := fullSize(), *rounds
	if n == 0 {
		s, n = tinySize(), 1
	}
	var sides []coordinator
	for _, start := range starting {
		sides = append(sides, must(start(t))(t))
	}
	for _, c := range sides {
		if err := rod.Stop(c); err != nil {
			t.Fatal(err)
		}
	}
	var all []reading
	begun, longest := time.Now(), time.Duration(0)
	for round := 1; round <= n; round++ {
		if passed := time.Since(begun); passed+longest > roundsLimit {
			t.Logf("%d of %d rounds were measured in %v; one more could take longer than the limit of %v", round-1, n, passed.Round(time.Second), roundsLimit)
			break
		}
		from := time.Now()
		all = append(all, coordRound(t, round, sides, s, pattern)...)
		longest = max(longest, time.Since(from))
	}
	for _, c := range sides {
		if err := rod.Continue(c); err != nil { // so that they can be ended
			t.Error(err)
		}
	}
	writeCoordination(os.Stdout, all)
}

// coordRound has every side take its turn at every row.
func coordRound(t *testing.T, round int, sides []coordinator, s size, pattern *regexp.Regexp) (all []reading) {
	order := []int{0, 1}
	if round%2 == 0 { // so that no side always follows the other
		slices.Reverse(order)
	}
	s.halfRate = 0
	for _, row := range coordRows {
		if !pattern.MatchString(row.name) {
			continue
		}
		for _, i := range order {
			if row.alone && sides[i].Name() != rod.Ours {
				continue
			}
			begun := time.Now()
			figures, err := coordTurn(t, row, sides[i], starting[i], s)
			if err != nil {
				t.Errorf("%s of %s in round %d: %v", row.name, sides[i].Name(), round, err)
				continue
			}
			t.Logf("%s of %s in round %d took %.1f s: %v", row.name, sides[i].Name(), round, time.Since(begun).Seconds(), figures)
			for _, f := range figures {
				all = append(all, reading{round, row.name, sides[i].Name(), f})
			}
			if row.name == "fanout" && sides[i].Name() == "etcd" {
				s.halfRate = max(figures[0].value/float64(s.fanWatches)/2, 1)
			}
		}
	}
	return all
}

// coordTurn lets a side go on, or starts another one for a row that wants fresh servers,
// measures one row, and stops the side again.
func coordTurn(t *testing.T, row coordRow, c coordinator, start func(*testing.T) (coordinator, error), s size) (figures []figure, err error) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), turnLimit, fmt.Errorf("the turn took longer than its limit of %v", turnLimit))
	defer cancel()
	if row.fresh {
		// The subtest ends the servers.
		t.Run(row.name+"-"+c.Name(), func(t *testing.T) {
			if c, err = start(t); err == nil {
				figures, err = row.measure(ctx, c, s)
			}
		})
		return figures, err
	}
	if err := rod.Continue(c); err != nil {
		return nil, err
	}
	figures, err = row.measure(ctx, c, s)
	return figures, errors.Join(err, rod.Stop(c))
}

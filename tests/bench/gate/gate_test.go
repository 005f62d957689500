package gate

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"raftkv/tests/bench/rod"
	"raftkv/tests/cluster"
)

var (
	base   = flag.String("gate.base", "", "the earlier program; without it nothing is measured")
	pairs  = flag.Int("gate.rounds", 8, "how many rounds count, 8 to 20; one more is thrown away")
	turn   = flag.Duration("gate.turn", 5*time.Second, "how long a side has its turn at one load")
	stored = flag.Int("gate.keys", 300_000, "how many keys are stored")
)

// quantity is something that is judged.
type quantity struct {
	row   string // the load at which it is measured
	name  string
	limit float64 // by how much it may grow
	of    func(rod.Run) float64
}

// By how much a quantity may grow. Processor time is steadier than all that waits for disks.
const (
	processorLimit = 0.05
	speedLimit     = 0.10
)

// quantities returns what is judged of a load.
func quantities(row rod.Row) []quantity {
	return []quantity{
		{row.Name, "processor per operation", processorLimit, func(r rod.Run) float64 { return r.ServerCPU }},
		{row.Name, "time per operation", speedLimit, func(r rod.Run) float64 { return 1 / r.Ops }},
		{row.Name, "p50", speedLimit, func(r rod.Run) float64 { return r.P50 }},
		{row.Name, "p99", speedLimit, func(r rod.Run) float64 { return r.P99 }},
	}
}

// gate is three clusters: of the program that is judged, and two of the earlier one.
type gate struct {
	*testing.T
	now, first, second *rod.Raftkv
	failed             bool
	untold             int // quantities of which nothing can be said
}

// Goal: a change that makes raftkv dearer or slower than an earlier program is noticed
// before it lands, V9. Method: see the package.
func TestGate(t *testing.T) {
	if *base == "" {
		t.Skip("nothing was measured: make gate BASE=COMMIT compares with an earlier program")
	}
	if *pairs < 8 || *pairs > mostRounds {
		t.Fatalf("-gate.rounds is %d; it must be 8 to %d", *pairs, mostRounds)
	}
	g := &gate{T: t}
	for _, side := range []struct {
		name, program string
		cluster       **rod.Raftkv
	}{{"earlier", *base, &g.first}, {"now", cluster.Program, &g.now}, {"earlier again", *base, &g.second}} {
		started, err := rod.StartRaftkv(t, side.name, side.program)
		if err != nil {
			t.Fatal(err)
		}
		*side.cluster = started
	}
	p := rod.Plan{
		Sides: []rod.Side{g.first, g.now, g.second}, Rows: []rod.Row{rod.PutRow(256), rod.GetRow(256), rod.HTTPPut, rod.HTTPGet},
		Rounds: *pairs + 1, Keys: *stored, Warmup: *turn / 10, Duration: *turn, Dir: g.now.Dir(),
	}
	if err := p.Preload(t.Context()); err != nil {
		t.Fatal(err)
	}
	runs, err := p.Measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range p.Rows {
		for _, q := range quantities(row) {
			g.judge(q, g.ofRuns(runs, q))
		}
	}
	times, memory := g.restarts()
	g.judge(quantity{"restart", "time until it serves", speedLimit, nil}, times)
	g.judge(quantity{"restart", "memory", speedLimit, nil}, memory)
	if g.failed {
		t.Error("the program is dearer or slower than the earlier one")
	}
	if g.untold > 0 {
		t.Errorf("%d quantities could not be judged, so nothing is known of them: the machine is too restless; make it quieter, or take more rounds (ROUNDS=%d)", g.untold, mostRounds)
	}
}

// ofRuns returns a quantity in all rounds but the first, which warms up.
func (g *gate) ofRuns(runs []rod.Run, q quantity) []Round {
	all := make([]Round, *pairs)
	for _, r := range runs {
		if r.Failures > 0 {
			g.Errorf("%s of %s in round %d: %d failures", r.Row, r.Side, r.Round, r.Failures)
		}
		if r.Row != q.row || r.Round == 1 {
			continue
		}
		switch round, value := &all[r.Round-2], q.of(r); r.Side {
		case g.now.Name():
			round.Now = value
		case g.first.Name():
			round.Base = value
		case g.second.Name():
			round.Second = value
		}
	}
	return all
}

// restarts restarts a follower of each side by turns. It returns how long that took, and
// the memory that the node then has.
func (g *gate) restarts() (times, memory []Round) {
	g.Helper()
	for range *pairs {
		var took, held [3]float64
		for i, s := range []*rod.Raftkv{g.first, g.now, g.second} {
			d, process, err := s.Restart(g.Context())
			if err != nil {
				g.Fatal(err)
			}
			took[i] = d.Seconds()
			if held[i], err = rod.Resident(process.Pid); err != nil {
				g.Fatal(err)
			}
		}
		times = append(times, Round{Base: took[0], Now: took[1], Second: took[2]})
		memory = append(memory, Round{Base: held[0], Now: held[1], Second: held[2]})
	}
	return times, memory
}

// judge prints the verdict on a quantity.
func (g *gate) judge(q quantity, rounds []Round) {
	g.Helper()
	v, err := Judge(q.limit, rounds)
	if err != nil {
		g.Errorf("%s, %s: %v", q.row, q.name, err)
		return
	}
	fmt.Printf("%-8s %-24s %v\n", q.row, q.name, v)
	switch v.Word {
	case Worse:
		g.failed = true
	case CannotTell:
		g.untold++
	}
}

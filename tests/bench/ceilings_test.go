package bench

import (
	"flag"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"raftkv/tests/bench/rod"
)

var (
	full   = flag.Bool("rod", false, "measure all rows")
	quick  = flag.Bool("rod.quick", false, "measure some rows, in half a minute")
	log    = flag.String("rod.log", "", "append every run to this file, a line of JSON each")
	before = flag.String("rod.before", "", "measure this earlier program, too")
)

// plan returns the rows, and how long each is measured.
func plan() rod.Plan {
	p := rod.Plan{Rows: []rod.Row{rod.PutRow(1), rod.PutRow(256), rod.HTTPGet, rod.HTTPPut}, Rounds: 3, Keys: 10_000}
	switch {
	case *quick:
		p.Warmup, p.Duration = 200*time.Millisecond, 700*time.Millisecond
	case *full:
		p.Rows = []rod.Row{
			rod.PutRow(1), rod.PutRow(16), rod.PutRow(64), rod.PutRow(256), rod.PutRow(1024),
			rod.GetRow(1), rod.GetRow(256), rod.StaleRow(256), rod.MixRow(256),
			rod.HTTPGet, rod.HTTPPut, rod.HTTPGetFollower, rod.HTTPPutFollower, rod.HTTPStale,
		}
		p.Warmup, p.Duration, p.Keys = 500*time.Millisecond, 2500*time.Millisecond, 100_000
	default:
		p.Rows = append(p.Rows, rod.GetRow(16), rod.StaleRow(16), rod.MixRow(16), rod.HTTPPutFollower)
		p.Rounds, p.Keys, p.Duration = 1, 1000, 30*time.Millisecond
	}
	return p
}

// comparisons returns the ratios of the rows to their ceilings, and to an earlier
// raftkv.
func comparisons(rows []rod.Row) (all []rod.Comparison) {
	to := func(word string, of rod.Quantity, row rod.Row, side string, at rod.Row) {
		all = append(all, rod.Comparison{Word: word, Of: of, Row: row, Side: rod.Ours, To: side, ToRow: at})
	}
	for _, row := range rows {
		ceiling, at := "pipeline", row
		if row.Face != rod.Clerk {
			ceiling, at = "echo", rod.HTTPGet
			if row.Mix.String() == rod.HTTPPut.Mix.String() {
				at = rod.HTTPPut
			}
		}
		to("ratio", rod.Throughput, row, ceiling, at)
		to("p50", rod.Median, row, ceiling, at)
		to("cpu", rod.Processor, row, ceiling, at)
		to("before", rod.Throughput, row, "before", row)
		to("before-cpu", rod.Processor, row, "before", row)
	}
	return all
}

// Goal: how near raftkv comes to what the machine can do at all. Method: raftkv, the
// ideal durable pipeline and a bare HTTP server have their turns at every row, round
// by round. Nothing is judged but that every row was served without failures.
func TestAgainstTheCeilings(t *testing.T) {
	p := plan()
	raftkv := must(rod.StartRaftkv(t, rod.Ours, ""))(t)
	p.Dir = raftkv.Dir()
	p.Sides = []rod.Side{raftkv, must(rod.StartPipeline(t))(t), must(rod.StartEcho(t))(t)}
	if *before != "" {
		p.Sides = append(p.Sides, must(rod.StartRaftkv(t, "before", *before))(t))
	}
	if *log != "" {
		file, err := os.OpenFile(*log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		p.Log = file
	}
	if err := p.Preload(t.Context()); err != nil {
		t.Fatal(err)
	}
	runs, err := p.Measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	report(t, p, raftkv, runs)
}

// must returns a value, or fails the test with the error.
func must[V any](v V, err error) func(*testing.T) V {
	return func(t *testing.T) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// report prints the figures if they were asked for, and complains about failures.
func report(t *testing.T, p rod.Plan, raftkv *rod.Raftkv, runs []rod.Run) {
	t.Helper()
	out := io.Discard
	if *full || *quick {
		out = io.Writer(os.Stdout)
	}
	if !*quick {
		rod.Table(out, p.Rows, runs)
		rod.Comparisons(out, comparisons(p.Rows), runs)
	}
	rod.Lines(out, comparisons(p.Rows), p.Rows, runs)
	if raftkv.Elections > 0 {
		fmt.Fprintf(out, "elections %d\n", raftkv.Elections)
	}
	for _, run := range runs {
		if run.Failures > 0 || run.Ops == 0 {
			t.Errorf("%s of %s in round %d: %d failures, %.0f operations a second", run.Row, run.Side, run.Round, run.Failures, run.Ops)
		}
	}
}

package peers

import (
	"flag"
	"os"
	"testing"
	"time"

	"raftkv/tests/bench/rod"
)

var (
	rounds = flag.Int("rounds", 0, "measure so many rounds; 0: one, so short that it only shows that all can be measured")
	log    = flag.String("log", "", "append every run to this file, a line of JSON each")
)

func TestMain(m *testing.M) {
	os.Exit(rod.Main(m, map[string]func(rod.Server) error{"etcd": serveEtcd, "dragonboat": serveDragonboat, "raft": serveRaft}))
}

// rows are the load of every round.
var rows = []rod.Row{
	rod.PutRow(1), rod.PutRow(16), rod.PutRow(64), rod.PutRow(256), rod.PutRow(1024),
	rod.GetRow(256), rod.StaleRow(256), rod.MixRow(256),
	rod.HTTPGet, rod.HTTPPut, rod.HTTPGetFollower, rod.HTTPPutFollower,
	rod.ProposeRow(64), rod.ProposeRow(256), rod.ReadIndexRow(64), rod.ReadIndexRow(256),
}

// Goal: how raftkv compares with its peers on this machine. Method: raftkv, etcd and the
// ideal pipeline by their clients, and package raft and dragonboat as libraries, have
// their turns at every row, round by round. Nothing is judged but that every row was
// served without failures.
func TestAgainstPeers(t *testing.T) {
	p := rod.Plan{Rows: rows, Rounds: *rounds, Keys: 10_000, Warmup: 700 * time.Millisecond, Duration: 2500 * time.Millisecond}
	if *rounds == 0 {
		p.Rounds, p.Keys, p.Warmup, p.Duration = 1, 500, 0, 50*time.Millisecond
	}
	raftkv := must(rod.StartRaftkv(t, rod.Ours, ""))(t)
	p.Dir = raftkv.Dir()
	p.Sides = []rod.Side{
		raftkv, must(rod.StartPipeline(t))(t), must(startEtcd(t))(t),
		must(rod.StartLibrary(t, "raft", "raft"))(t), must(rod.StartLibrary(t, "dragonboat", "dragonboat"))(t),
	}
	if *log != "" {
		file := must(os.OpenFile(*log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644))(t)
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
	all := comparisons()
	rod.Table(os.Stdout, rows, runs)
	rod.Comparisons(os.Stdout, all, runs)
	rod.Lines(os.Stdout, all, rows, runs)
	for _, run := range runs {
		if run.Failures > 0 || run.Ops == 0 {
			t.Errorf("%s of %s in round %d: %d failures, %.0f operations a second", run.Row, run.Side, run.Round, run.Failures, run.Ops)
		}
	}
}

func must[V any](v V, err error) func(*testing.T) V {
	return func(t *testing.T) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// comparisons returns the ratios to the peers and to the ceiling.
func comparisons() (all []rod.Comparison) {
	for _, row := range rows {
		if row.Face == rod.InProcess {
			all = append(all,
				rod.Comparison{Word: "dragonboat", Of: rod.Throughput, Row: row, Side: "raft", To: "dragonboat", ToRow: row},
				rod.Comparison{Word: "dragonboat-cpu", Of: rod.Processor, Row: row, Side: "raft", To: "dragonboat", ToRow: row})
			continue
		}
		all = append(all,
			rod.Comparison{Word: "etcd", Of: rod.Throughput, Row: row, Side: rod.Ours, To: "etcd", ToRow: row},
			rod.Comparison{Word: "etcd-p99", Of: rod.Tail, Row: row, Side: rod.Ours, To: "etcd", ToRow: row},
			rod.Comparison{Word: "etcd-cpu", Of: rod.Processor, Row: row, Side: rod.Ours, To: "etcd", ToRow: row},
			rod.Comparison{Word: "ratio", Of: rod.Throughput, Row: row, Side: rod.Ours, To: "pipeline", ToRow: row})
	}
	return all
}

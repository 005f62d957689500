package rod

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"raftkv/client/bench"
)

// rounds are three rounds of one row, in which the machine gets slower and slower.
var rounds = []Run{
	{Round: 1, Row: "put256", Side: "raftkv", Ops: 600, P50: 1500, ServerCPU: 10, ClientCPU: 2, Messages: 0.04},
	{Round: 1, Row: "put256", Side: "pipeline", Ops: 1000, P50: 1000, ServerCPU: 5, ClientCPU: 1},
	{Round: 2, Row: "put256", Side: "pipeline", Ops: 100, P50: 10_000, ServerCPU: 5, ClientCPU: 1},
	{Round: 2, Row: "put256", Side: "raftkv", Ops: 50, P50: 20_000, ServerCPU: 11, ClientCPU: 4, Messages: 0.06},
	{Round: 3, Row: "put256", Side: "raftkv", Ops: 7, P50: 1, Messages: 0.05},
	{Round: 3, Row: "put256", Side: "pipeline", Ops: 10, P50: 1},
}

// Goal: figures are compared with those of the same round only. Method: rounds between
// which the machine's speed changes a hundredfold; and a comparison whose other side
// was not measured.
func TestRatiosAreOfTheSameRound(t *testing.T) {
	c := Comparison{Word: "ratio", Of: Throughput, Row: PutRow(256), Side: Ours, To: "pipeline", ToRow: PutRow(256)}
	got := c.Ratios(rounds)
	if len(got) != 3 || got.Min() != 0.5 || got.Median() != 0.6 || got.Max() != 0.7 {
		t.Errorf("ratios %v", got)
	}
	c.Of = Processor
	if got := c.Ratios(rounds); len(got) != 2 || got.Median() != 2.25 {
		t.Errorf("of the processor: %v; a round without the figure counts", got)
	}
	c.To = "etcd"
	if got := c.Ratios(rounds); len(got) != 0 || got.Median() != 0 {
		t.Errorf("to nobody: %v", got)
	}
}

// Goal: what is printed can be read by programs and pasted into a document. Method: the
// whole text.
func TestPrinting(t *testing.T) {
	rows := []Row{PutRow(256), GetRow(1)}
	all := []Comparison{
		{Word: "ratio", Of: Throughput, Row: rows[0], Side: Ours, To: "pipeline", ToRow: rows[0]},
		{Word: "ratio", Of: Throughput, Row: rows[1], Side: Ours, To: "pipeline", ToRow: rows[1]},
	}
	var b strings.Builder
	Lines(&b, all, rows, rounds)
	want := "ratio put256 0.60 (0.50–0.70)\nmessages put256 0.05 (0.04–0.06)\nswitches put256 0.00 (0.00–0.00)\n"
	if b.String() != want {
		t.Errorf("lines:\n%swant:\n%s", b.String(), want)
	}
	b.Reset()
	Comparisons(&b, all, rounds)
	if want := "| put256 | ops/s of raftkv | pipeline | 0.60 | 0.50 | 0.70 |\n"; !strings.Contains(b.String(), want) || strings.Contains(b.String(), "get1") {
		t.Errorf("comparisons:\n%s", b.String())
	}
	b.Reset()
	Table(&b, rows, append(rounds, Run{Round: 1, Row: "get1", Side: "etcd", Ops: 1234567}))
	for _, want := range []string{"| put256 | raftkv | 50 (7–600) | 1.50 |", "| put256 | pipeline | 100 (10–1,000) |", "| get1 | etcd | 1,234,567 (1,234,567–1,234,567) |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
}

// Goal: figures for each operation are of those that were done, with failures counted
// beside. Method: a result and a sample made up.
func TestARunCountsWhatWasDone(t *testing.T) {
	done := &bench.Measured{Failures: map[string]int{"unknown timeout": 3}}
	for range 100 {
		done.Latency.Add(time.Millisecond)
	}
	result := bench.Result{Elapsed: time.Second, ByOp: map[bench.Op]*bench.Measured{bench.Put: done}}
	used := sample{servers: time.Second, client: time.Second / 2, busy: 2 * time.Second, switches: 300, messages: 50, deviceBytes: 12_800}
	r := newRun(PutRow(1), Ours, result, used)
	want := Run{
		Row: "put1", Side: Ours, Clients: 1, Ops: 100, P50: r.P50, P99: r.P99, Failures: 3,
		ServerCPU: 10_000, ClientCPU: 5000, Switches: 3, Messages: 0.5, DeviceBytes: 128, Others: 0.5,
	}
	if r != want || r.P50 < 1000 || r.P50 > 1010 {
		t.Errorf("%+v, want %+v", r, want)
	}
}

// Goal: context switches and bytes to the device are really read. Method: this process
// waits, and writes a file that it syncs.
func TestSamples(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	before := switches(os.Getpid())
	for range 10 {
		time.Sleep(time.Millisecond)
	}
	if after := switches(os.Getpid()); before == 0 || after <= before {
		t.Errorf("%v context switches, then %v", before, after)
	}
	dir := t.TempDir()
	at := written(dir)
	if at == 0 {
		t.Skip("the device of the temporary directory is not known: is it in memory?")
	}
	f, err := os.Create(dir + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if now := written(dir); now < at+1<<20 {
		t.Errorf("a megabyte was synced, and %v bytes went to the device", now-at)
	}
}

package host

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/client/bench"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

var costPairs = flag.Int("cost.pairs", 0, "TestMetricsCost: measure so many times with metrics and as often without")

// costSlice is how long each measurement takes: shorter than most of what else a
// machine does, so that it meets both of a pair, or many.
const costSlice = 250 * time.Millisecond

// Goal: what measuring costs on the path of a PUT, from the client to three logs
// and back. Method: two clusters of three nodes in this process, one of which
// measures nothing; the same load for a moment on one, then on the other, again
// and again. A third, which measures nothing either, takes part to show what
// difference the method finds where there is none. The logs are in memory where the system
// has such a file system: a disk would only hide the cost. The figures are for people.
func TestMetricsCost(t *testing.T) {
	if *costPairs == 0 {
		t.Skip("say -cost.pairs 30")
	}
	on := compareCost(t, "metrics", func(c *Config) { c.unmeasured = true }, 100)
	const scrapes = 100
	begun := processorTime()
	for range scrapes {
		ask(t, on.nodes[0], "GET", "/metrics", "")
	}
	t.Logf("a scrape of one node takes %v of processor time", (processorTime()-begun)/scrapes)
}

// recorderMost is how much more processor time a PUT may take because nodes record, in percent.
const recorderMost = 1

// Goal and method: as TestMetricsCost, of the recorder. Nodes that record nothing still
// measure. It fails if recording certainly costs more than it may, and says so if the machine
// is too restless to know.
func TestRecorderCost(t *testing.T) {
	if *costPairs == 0 {
		t.Skip("say -cost.pairs 30")
	}
	compareCost(t, "the recorder", func(c *Config) { c.unrecorded = true }, recorderMost)
}

// compareCost logs what something costs that without switches off, and returns the
// cluster that has it. It fails if that is certainly more than most, in percent.
func compareCost(t *testing.T, what string, without func(*Config), most float64) *costCluster {
	if memory := "/dev/shm"; isDirectory(memory) {
		t.Setenv("TMPDIR", memory)
	}
	on, off, control := startCostCluster(t, func(*Config) {}), startCostCluster(t, without), startCostCluster(t, without)
	for _, face := range []string{"HTTP", "Clerk"} {
		all := []*costCluster{on, off, control}
		for _, c := range all {
			c.connect(t, face)
			c.measure(t) // the first is for warming up
		}
		var got [3][]costFigures
		for i := range *costPairs {
			for j := range all {
				at := (i + j) % len(all) // each is first as often as the others
				got[at] = append(got[at], all[at].measure(t))
			}
		}
		with, without, again := got[0], got[1], got[2]
		t.Logf("%s, %d times %v each, %s on against off; medians, and where they are with a probability of 95 %%:", face, *costPairs, costSlice, what)
		for _, q := range []struct {
			what, unit string
			of         func(costFigures) float64
		}{
			{"processor time of a PUT, clients and all nodes", "µs", func(f costFigures) float64 { return f.cpu }},
			{"PUTs per second", "/s", func(f costFigures) float64 { return f.perSecond }},
		} {
			t.Logf("  %s: off %s %s, on %s %s, change %s %%; off against off %s %%", q.what,
				spread(without, q.of, "%.1f"), q.unit, spread(with, q.of, "%.1f"), q.unit, change(with, without, q.of), change(again, without, q.of))
		}
		cpu := func(f costFigures) float64 { return f.cpu }
		switch low, _, high := interval(differences(with, without, cpu)); {
		case low > most:
			t.Errorf("%s: %s costs %+.1f %% of processor time or more; it may cost %v %%", face, what, low, most)
		case high > most:
			t.Logf("%s: not known whether %s costs more than %v %%: the machine is too restless, or there are too few pairs", face, what, most)
		}
	}
	return on
}

// costFigures is one measurement.
type costFigures struct {
	cpu       float64 // µs for each PUT
	perSecond float64
}

// costCluster is one of the two clusters, and the clients that put load on it.
type costCluster struct {
	nodes  []*Node
	target bench.Target
}

func startCostCluster(t *testing.T, change func(*Config)) *costCluster {
	configs := testConfigs(t, vfs.OS{}, vfs.OS{}, vfs.OS{})
	for i := range configs {
		change(&configs[i])
		configs[i].ElectionTimeout = 2 * time.Second // so that few happen meanwhile
		configs[i].Logger = slog.New(slog.DiscardHandler)
	}
	c := &costCluster{nodes: startNodes(t, configs)}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.Close()
		}
	})
	return c
}

// lead makes the first node the leader: what others are asked they pass on, which
// costs as much again.
func (c *costCluster) lead(t *testing.T) {
	first := c.nodes[0].config.ID
	eventually(t, "the first node leads", func() bool {
		for _, n := range c.nodes {
			if n.config.ID != first && n.raft.Status().Role == core.Leader {
				_ = n.raft.Transfer(t.Context(), first) // it is tried until it is so
			}
		}
		return c.leads()
	})
}

// leads reports whether the first node leads.
func (c *costCluster) leads() bool { return c.nodes[0].raft.Status().Role == core.Leader }

// connect lets clients of one face ask the first node.
func (c *costCluster) connect(t *testing.T, face string) {
	leader := c.nodes[0].config.HTTP.Addr().String()
	if face == "HTTP" {
		target := bench.NewHTTPTarget([]string{leader}, costClients, nil)
		t.Cleanup(target.Close)
		c.target = target
		return
	}
	clerk, err := client.Dial(t.Context(), client.Config{Endpoints: []string{leader}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { clerk.Close() })
	c.target = bench.ClerkTarget{Clerk: clerk}
}

// costClients is how many requests are under way.
const costClients = 64

// measure puts load on the cluster for a while during which the first node led.
func (c *costCluster) measure(t *testing.T) costFigures {
	t.Helper()
	for {
		c.lead(t)
		if f := c.measureOnce(t); c.leads() {
			return f
		}
	}
}

func (c *costCluster) measureOnce(t *testing.T) costFigures {
	t.Helper()
	mix, err := bench.ParseMix("put=1")
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC() // what the other cluster has left behind is not this one's
	before := processorTime()
	r := bench.Run(context.Background(), bench.Config{
		Clients: costClients, Keys: 10_000, ValueSize: 256, Mix: mix, Duration: costSlice, Timeout: 10 * time.Second,
	}, c.target)
	used := processorTime() - before
	puts := r.ByOp["put"]
	if puts == nil || puts.Latency.Count() == 0 || len(puts.Failures) > 0 {
		t.Fatalf("the load failed: %+v", puts)
	}
	n := float64(puts.Latency.Count())
	return costFigures{cpu: float64(used.Microseconds()) / n, perSecond: n / r.Elapsed.Seconds()}
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// spread is the median, and what it is known to lie between.
func spread(all []costFigures, of func(costFigures) float64, format string) string {
	var values []float64
	for _, f := range all {
		values = append(values, of(f))
	}
	return written(values, format)
}

// change is that of the differences within pairs.
func change(with, without []costFigures, of func(costFigures) float64) string {
	return written(differences(with, without, of), "%+.1f")
}

// differences are those within pairs, in percent.
func differences(with, without []costFigures, of func(costFigures) float64) (values []float64) {
	for i := range with {
		values = append(values, 100*(of(with[i])/of(without[i])-1))
	}
	return values
}

// interval is the median and its interval of confidence: this number of values is on
// either side of the true median as heads in as many throws of a coin.
func interval(values []float64) (low, median, high float64) {
	values = slices.Sorted(slices.Values(values))
	n := float64(len(values))
	away := 0.98 * math.Sqrt(n) // 1.96 standard deviations, each half the root
	at := func(rank float64) float64 { return values[int(min(max(rank, 0), n-1))] }
	return at(n/2 - away), at(n / 2), at(n/2 + away)
}

func written(values []float64, format string) string {
	low, median, high := interval(values)
	return fmt.Sprintf(strings.ReplaceAll("F (F to F)", "F", format), median, low, high)
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

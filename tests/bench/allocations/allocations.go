package allocations

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

var renew = flag.Bool("allocations.renew", false, "write the baseline of allocations anew")

// Loop is an inner loop.
type Loop struct {
	Name string // without spaces
	Run  func(*testing.B)
}

// Cost is what one turn of a loop takes from the heap.
type Cost struct{ Allocations, Bytes float64 }

// turns is how often each loop runs. Buffers that grow must not count.
const turns = "500x"

// Tolerance: a cost may exceed its baseline by a tenth, and by what the runtime's own
// goroutines may add to so few turns.
const (
	maxGrowth        = 1.1
	slackAllocations = 0.1
	slackBytes       = 16
)

// repetitions is how often loops are measured again before they count as worse. What a busy
// machine adds, such as a buffer that grew while its reader waited for a processor, is not
// there each time; what the code takes is.
const repetitions = 3

// least returns the lower costs of two measurements.
func least(a, b Cost) Cost {
	return Cost{min(a.Allocations, b.Allocations), min(a.Bytes, b.Bytes)}
}

// Check holds the loops of a package, named by its path in the module, to the
// package's baseline.
func Check(t *testing.T, pkg string, loops []Loop) {
	t.Helper()
	if underRace {
		t.Skip("SKIPPED: the race detector allocates; make test runs this test without it, too")
	}
	file := filepath.Join(root(t), "tests", "bench", "testdata", strings.ReplaceAll(pkg, "/", "-")+".txt")
	now := map[string]Cost{}
	for _, l := range loops {
		now[l.Name] = measure(t, l)
	}
	command := "go test ./" + pkg + " -run '^TestAllocations$' -allocations.renew"
	if *renew {
		if err := os.WriteFile(file, format(pkg, now), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	base, err := parse(text)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	worse, better := compare(base, now)
	for again := 0; again < repetitions && len(worse) > 0; again++ {
		for _, l := range loops {
			now[l.Name] = least(now[l.Name], measure(t, l))
		}
		worse, better = compare(base, now)
	}
	for _, w := range worse {
		t.Error(w)
	}
	for _, b := range better {
		fmt.Println(b)
	}
	if len(worse)+len(better) > 0 {
		fmt.Printf("to write the baseline of %s anew: %s\n", pkg, command)
	}
}

// measure runs a loop and returns its cost.
func measure(t *testing.T, l Loop) Cost {
	t.Helper()
	benchtime := flag.Lookup("test.benchtime")
	before := benchtime.Value.String()
	if err := benchtime.Value.Set(turns); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = benchtime.Value.Set(before) }() // it was a value of the flag
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	r := testing.Benchmark(l.Run)
	runtime.GC()
	if r.N == 0 {
		t.Fatalf("the loop %s failed: go test -bench shows why", l.Name)
	}
	return Cost{float64(r.MemAllocs) / float64(r.N), float64(r.MemBytes) / float64(r.N)}
}

// compare returns sentences for loops that are worse than their baseline, or that
// only one of the two has, and for those that are better.
func compare(base, now map[string]Cost) (worse, better []string) {
	for _, name := range sortedKeys(now) {
		was, known := base[name]
		is := now[name]
		change := fmt.Sprintf("%s: %.2f allocations and %.0f bytes for each turn, the baseline has %.2f and %.0f", name, is.Allocations, is.Bytes, was.Allocations, was.Bytes)
		switch {
		case !known:
			worse = append(worse, name+" has no baseline")
		case exceeds(is.Allocations, was.Allocations, slackAllocations), exceeds(is.Bytes, was.Bytes, slackBytes):
			worse = append(worse, "worse, "+change)
		case exceeds(was.Allocations, is.Allocations, slackAllocations), exceeds(was.Bytes, is.Bytes, slackBytes):
			better = append(better, "better, "+change)
		}
	}
	for _, name := range sortedKeys(base) {
		if _, known := now[name]; !known {
			worse = append(worse, name+" has a baseline and is not measured")
		}
	}
	return worse, better
}

func exceeds(is, was, slack float64) bool { return is > was*maxGrowth+slack }

// format writes a baseline.
func format(pkg string, costs map[string]Cost) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Allocations of %s for each turn of an inner loop; see tests/bench/allocations.\n# loop allocations bytes\n", pkg)
	for _, name := range sortedKeys(costs) {
		fmt.Fprintf(&b, "%s %.2f %.0f\n", name, costs[name].Allocations, costs[name].Bytes)
	}
	return b.Bytes()
}

// parse reads a baseline.
func parse(text []byte) (map[string]Cost, error) {
	costs := map[string]Cost{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var name string
		var c Cost
		if _, err := fmt.Sscanf(line, "%s %f %f", &name, &c.Allocations, &c.Bytes); err != nil {
			return nil, fmt.Errorf("the line %q is no loop with two numbers: %w", line, err)
		}
		costs[name] = c
	}
	return costs, nil
}

func sortedKeys(m map[string]Cost) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// root returns the directory of the module, in which the test runs somewhere.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		above := filepath.Dir(dir)
		if above == dir {
			t.Fatal("no go.mod in any directory above this one")
		}
		dir = above
	}
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Automatic mutants are drawn from all places of a package, by a seed, so that their
// rate says something that the rows of the tables cannot: those were chosen by people
// that knew the tests.

// drawn is what a sample is and may use.
type drawn struct {
	packages []string // from the root of the source
	sample   int      // mutants that are judged in each package
	seed     uint64
	patience int // how many times as long as on a machine of its own a test may take
}

// fate is what became of a mutant.
type fate uint8

const (
	survived  fate = iota // all tests passed
	killed                // a test failed
	hung                  // the tests did not end, or took too much memory
	uncovered             // no test runs the line
	unbuilt               // it does not compile: it is no mutant, and another one is drawn
)

// memory bounds a drawn mutant's tests: what GOMEMLIMIT asks for.
const memory = "2GiB"

// auto judges a sample of each package and reports whether all could be judged.
func auto(ctx context.Context, root string, d drawn) error {
	for _, pkg := range d.packages {
		b, err := newBench(ctx, root, strings.TrimPrefix(strings.Trim(pkg, "/"), "./"), d)
		if err != nil {
			return err
		}
		err = b.judgeSample(ctx)
		if removed := os.RemoveAll(b.room); err == nil {
			err = removed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bench is where the mutants of one package are judged.
type bench struct {
	drawn
	root, dir string // dir is from root
	room      string // for what is built
	sites     []site
	marked    int             // lines that are marked as equal
	covered   map[string]bool // "file:line" that some test runs
	quick     string          // pattern of the tests that take no time
	limit     time.Duration   // for all tests
}

// newBench builds and runs the tests of the clean package: what lines they run, which
// are quick, and how long all take.
func newBench(ctx context.Context, root, dir string, d drawn) (*bench, error) {
	room, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	b := &bench{drawn: d, root: root, dir: dir, room: room, covered: map[string]bool{}}
	list := exec.CommandContext(ctx, "go", "list", "-f", `{{join .GoFiles "\n"}}`, "./"+dir)
	list.Dir = root
	files, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list ./%s: %w", dir, err)
	}
	if b.sites, b.marked, err = sitesOf(root, dir, strings.Fields(string(files))); err != nil {
		return nil, err
	}
	profile := filepath.Join(room, "profile")
	if out, err := b.build(ctx, "", "-cover"); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	begun := time.Now()
	out, failed := b.run(ctx, time.Hour, "-test.v", "-test.coverprofile="+profile)
	if failed {
		return nil, fmt.Errorf("the tests of ./%s fail on clean source:\n%s", dir, out)
	}
	b.limit = time.Duration(max(d.patience, 1)) * (10*time.Since(begun) + 5*time.Second)
	b.quick = quickTests(out)
	return b, b.readProfile(profile)
}

var passLine = regexp.MustCompile(`(?m)^--- PASS: (\w+) \(([0-9.]+)s\)`)

// quickTests returns the pattern of those tests that took less than a tenth of a second.
func quickTests(out string) string {
	var quick []string
	for _, m := range passLine.FindAllStringSubmatch(out, -1) {
		if took, err := strconv.ParseFloat(m[2], 64); err == nil && took < 0.1 {
			quick = append(quick, m[1])
		}
	}
	return "^(" + strings.Join(quick, "|") + ")$"
}

var profileLine = regexp.MustCompile(`(?m)^(\S+):(\d+)\.\d+,(\d+)\.\d+ \d+ (\d+)$`)

// readProfile notes the lines that tests run.
func (b *bench) readProfile(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, m := range profileLine.FindAllStringSubmatch(string(text), -1) {
		if m[4] == "0" {
			continue
		}
		from, _ := strconv.Atoi(m[2])
		to, _ := strconv.Atoi(m[3])
		name := b.dir + m[1][strings.LastIndexByte(m[1], '/'):]
		for line := from; line <= to; line++ {
			b.covered[fmt.Sprintf("%s:%d", name, line)] = true
		}
	}
	return nil
}

// build compiles the tests, with an overlay if one is named.
func (b *bench) build(ctx context.Context, overlay string, flags ...string) (string, error) {
	args := append([]string{"test", "-c", lean, "-o", filepath.Join(b.room, "test")}, flags...)
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	compiler := exec.CommandContext(ctx, "go", append(args, "./"+b.dir)...)
	compiler.Dir = b.root
	out, err := compiler.CombinedOutput()
	return string(out), err
}

// ownFlags are what the tests of a package are told in addition. The explorer of raft/core
// shall judge by promises: that counts have changed says only that behaviour has.
var ownFlags = map[string][]string{"raft/core": {"-explore.promises"}}

// run runs the tests within bounds of time and memory.
func (b *bench) run(ctx context.Context, limit time.Duration, args ...string) (out string, failed bool) {
	within, cancel := context.WithTimeout(ctx, limit+10*time.Second)
	defer cancel()
	run := []string{filepath.Join(b.room, "test"), "-test.failfast", "-test.timeout=" + limit.String()}
	program := bounded(within, slices.Concat(run, args, ownFlags[b.dir]))
	program.Dir = filepath.Join(b.root, b.dir)
	program.Env = append(os.Environ(), "GOMEMLIMIT="+memory)
	program.WaitDelay = time.Second
	text, err := program.CombinedOutput()
	return string(text), err != nil
}

// judge says what becomes of one mutant, and which test killed it.
func (b *bench) judge(ctx context.Context, s site) (fate, string, error) {
	if !b.covered[fmt.Sprintf("%s:%d", s.file, s.line)] {
		return uncovered, "", nil
	}
	path := filepath.Join(b.root, s.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return survived, "", err
	}
	changed, overlay := filepath.Join(b.room, "changed.go"), filepath.Join(b.room, "overlay.json")
	absolute, err := filepath.Abs(path)
	if err != nil {
		return survived, "", err
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {absolute: changed}})
	if err != nil {
		return survived, "", err
	}
	if err := os.WriteFile(changed, s.mutated(text), 0o644); err != nil {
		return survived, "", err
	}
	if err := os.WriteFile(overlay, replace, 0o644); err != nil {
		return survived, "", err
	}
	if _, err := b.build(ctx, overlay); err != nil {
		return unbuilt, "", ctx.Err()
	}
	for _, part := range []string{"-test.run=" + b.quick, "-test.skip=" + b.quick} {
		if out, failed := b.run(ctx, b.limit, "-test.v", part); failed {
			var a answer
			if a.read(out); strings.Contains(out, "test timed out after") || strings.Contains(out, "out of memory") || a.witness == "" {
				return hung, a.witness, ctx.Err()
			}
			return killed, a.witness, ctx.Err()
		}
	}
	return survived, "", ctx.Err()
}

// judgeSample judges as many mutants as the sample has, in the order of the seed.
func (b *bench) judgeSample(ctx context.Context) error {
	random := rand.New(rand.NewPCG(b.seed, 1))
	counts := map[fate]int{}
	var left []site
	fmt.Printf("./%s: %d places for mutants, %d lines marked as equal; seed %d\n", b.dir, len(b.sites), b.marked, b.seed)
	for _, i := range random.Perm(len(b.sites)) {
		if counts[survived]+counts[killed]+counts[hung]+counts[uncovered] == b.sample {
			break
		}
		s := b.sites[i]
		f, by, err := b.judge(ctx, s)
		if ctx.Err() != nil { // the figures so far are worth something
			break
		}
		if err != nil {
			return err
		}
		counts[f]++
		switch f {
		case killed:
			fmt.Printf("killed by %s: %v\n", by, s)
		case survived, hung, uncovered:
			left = append(left, s)
			fmt.Printf("%s: %v\n", [...]string{survived: "SURVIVED", hung: "HUNG", uncovered: "NOT COVERED"}[f], s)
		}
	}
	judged := counts[survived] + counts[killed] + counts[hung] + counts[uncovered]
	low, high := interval(counts[killed], judged)
	fmt.Printf("./%s: %d of %d killed, %.1f %% (%.1f to %.1f %% with a probability of 95 %%); %d survived, %d not covered, %d hung; %d did not compile\n",
		b.dir, counts[killed], judged, percent(counts[killed], judged), 100*low, 100*high, counts[survived], counts[uncovered], counts[hung], counts[unbuilt])
	for _, s := range left {
		fmt.Printf("  left: %v -> %q\n", s, s.new)
	}
	return ctx.Err()
}

func percent(part, whole int) float64 { return 100 * float64(part) / float64(max(whole, 1)) }

// interval returns Wilson's interval of 95 % for a rate.
func interval(part, whole int) (low, high float64) {
	if whole == 0 {
		return 0, 1
	}
	const z = 1.96
	n, p := float64(whole), float64(part)/float64(whole)
	middle := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return max(0, middle-half), min(1, middle+half)
}

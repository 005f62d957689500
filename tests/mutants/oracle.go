package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// An oracle is written as one of
//
//	test PACKAGE [PATTERN]   the tests of a package whose names fit
//	test PACKAGE !PATTERN    those whose names do not fit
//	sim                      the simulator on simSeeds seeds, always the same, until one fails
//	explore PATTERN          the explorer of raft/core within the bounds whose names fit; _ is a space
//	process PATTERN          the tests of tests/system whose names fit
//	campaign PATTERN         those of tests/campaign, at their smallest size
const (
	quickBudget   = 60 * time.Second
	processBudget = 10 * time.Minute
	simBudget     = 10 * time.Minute
	simSeeds      = "1500" // 50 seconds of one processor
	buildLimit    = 10 * time.Minute
)

// lean spares the linker the tables for debuggers, a third of its time.
const lean = "-ldflags=-w"

// answer is what came of asking an oracle.
type answer struct {
	failed  bool
	timeout bool   // it failed by not ending
	witness string // the first test, seed or panic that failed
	message string // what it said
	built   time.Duration
	took    time.Duration
}

// command returns how an oracle is built and run, and what time it has:
// patience times what is due to it on a machine of its own.
func command(root, oracle string, patience int) (build, run []string, dir string, budget time.Duration, err error) {
	words := strings.Fields(oracle)
	program := filepath.Join(root, ".mutants", "oracle")
	switch {
	case len(words) == 1 && words[0] == "sim":
		return []string{"build", lean, "-o", program, "./tests/sim"},
			[]string{program, "-first", "1", "-seeds", simSeeds, "-stop", "-patience", "1s"}, root, simBudget * time.Duration(patience), nil
	case len(words) >= 2 && words[0] == "test":
		budget, dir = quickBudget, filepath.Join(root, words[1])
	case len(words) == 2 && words[0] == "explore":
		return []string{"test", "-c", lean, "-o", program, "./raft/core"}, []string{program, "-test.v", "-test.run=^TestExplore$", "-test.timeout=" + (processBudget * time.Duration(patience)).String(),
			"-explore=" + strings.ReplaceAll(words[1], "_", " "), "-explore.deep", "-explore.promises"}, filepath.Join(root, "raft", "core"), processBudget * time.Duration(patience), nil
	case len(words) == 2 && words[0] == "process":
		budget, dir = processBudget, filepath.Join(root, "tests", "system")
		words = []string{"test", "./tests/system", words[1]}
	case len(words) == 2 && words[0] == "campaign":
		budget, dir = processBudget, filepath.Join(root, "tests", "campaign")
		words = []string{"test", "./tests/campaign", words[1]}
	default:
		return nil, nil, "", 0, fmt.Errorf("%q is no oracle", oracle)
	}
	budget *= time.Duration(patience)
	// With -test.v the output says which test ran when the program died.
	run = []string{program, "-test.v", "-test.count=1", "-test.failfast", "-test.timeout=" + budget.String()}
	if len(words) == 3 {
		if unfit, not := strings.CutPrefix(words[2], "!"); not {
			run = append(run, "-test.skip="+unfit)
		} else {
			run = append(run, "-test.run="+words[2])
		}
	}
	return []string{"test", "-c", lean, "-o", program, words[1]}, run, dir, budget, nil
}

// addresses bounds the address space of an oracle, in KiB: a mutant that never stops
// appending (C41) took 15 GiB of memory in eight minutes, and the machine with it.
const addresses = 10 << 20

// bounded is a program with its arguments, which ends when it takes more memory than
// an oracle needs.
func bounded(ctx context.Context, run []string) *exec.Cmd {
	return exec.CommandContext(ctx, "sh", append([]string{"-c", fmt.Sprintf(`ulimit -v %d; exec "$0" "$@"`, addresses)}, run...)...)
}

// errBuild says that the source does not compile.
var errBuild = errors.New("does not compile")

// ask builds and runs an oracle. An error says that it could not be asked, which
// says nothing about the source, unless it is errBuild.
func ask(ctx context.Context, root, oracle string, patience int) (answer, error) {
	build, run, dir, budget, err := command(root, oracle, patience)
	if err != nil {
		return answer{}, err
	}
	var a answer
	begun := time.Now()
	within, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	compiler := exec.CommandContext(within, "go", build...)
	compiler.Dir = root
	if out, err := compiler.CombinedOutput(); err != nil {
		return a, fmt.Errorf("%s %w: %w\n%s", oracle, errBuild, err, out)
	}
	a.built = time.Since(begun)

	within, cancel = context.WithTimeout(ctx, budget+10*time.Second)
	defer cancel()
	var out bytes.Buffer
	program := bounded(within, run)
	program.Dir, program.Stdout, program.Stderr = dir, &out, &out
	program.Env = append(os.Environ(), "GOTRACEBACK=single")
	program.WaitDelay = time.Second
	begun = time.Now()
	err = program.Run()
	a.took = time.Since(begun)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return a, ctx.Err()
	case err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay):
		return a, err
	}
	a.timeout = within.Err() != nil
	a.failed = err != nil
	if a.failed {
		a.read(out.String())
	}
	return a, nil
}

var (
	failLine  = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	panicLine = regexp.MustCompile(`(?m)^(?:panic|fatal error): (.*)$`)
	seedLine  = regexp.MustCompile(`(?mi)^.*\bseed (\d+).*$`)
	hungLine  = regexp.MustCompile(`(?m)^\s+(Test\w+) \(`)
	stackLine = regexp.MustCompile(`(?m)^\S+\.(Test\w+)[.(]`)
	runLine   = regexp.MustCompile(`(?m)^=== (?:RUN|CONT)\s+(\S+)`)
	said      = regexp.MustCompile(`(?m)^\s+\w+\.go:\d+: (.*)$`)
)

// read finds in an output what failed.
func (a *answer) read(out string) {
	first := func(re *regexp.Regexp) string {
		if m := re.FindStringSubmatch(out); m != nil {
			return strings.TrimSpace(m[1])
		}
		return ""
	}
	a.message = first(panicLine)
	switch {
	case strings.Contains(a.message, "test timed out"):
		a.timeout, a.witness = true, first(hungLine)
	case failLine.MatchString(out):
		a.witness = last(failLine, out)
	case a.message != "":
		if a.witness = first(stackLine); a.witness == "" {
			a.witness = latest(runLine, out)
		}
	case seedLine.MatchString(out):
		a.witness, a.message = "seed "+first(seedLine), strings.TrimSpace(seedLine.FindString(out))
	}
	if a.message == "" {
		a.message = first(said)
	}
	if a.witness == "" {
		a.witness = latest(runLine, out) // it died without a word, os.Exit or a signal
	}
	if a.witness == "" {
		a.witness = "its exit status"
	}
}

// latest returns what re found at last.
func latest(re *regexp.Regexp, out string) string {
	if all := re.FindAllStringSubmatch(out, -1); len(all) > 0 {
		return all[len(all)-1][1]
	}
	return ""
}

// last returns the innermost of the first tests that failed: "A", "A/b".
func last(re *regexp.Regexp, out string) string {
	all := re.FindAllStringSubmatch(out, -1)
	name := all[0][1]
	for _, m := range all[1:] {
		if strings.HasPrefix(m[1], name+"/") {
			name = m[1]
		} else {
			break
		}
	}
	return name
}

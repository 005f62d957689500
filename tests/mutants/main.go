package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// cleanEvery is after how many mutants an oracle is asked on clean source.
const cleanEvery = 5

func main() {
	only := flag.String("only", "", "run these `mutants`: ids, beginnings of ids, or directories, with commas between")
	parallel := flag.Int("parallel", 1, "work on so many at a time, each in a copy of its own")
	patience := flag.Int("patience", 1, "let tests take so many `times` as long, on a machine that others use")
	asJSON := flag.Bool("json", false, "print a line of JSON per result")
	noClean := flag.Bool("no-clean", false, "ask no oracle on clean source")
	list := flag.Bool("list", false, "print the table and end")
	packages := flag.String("auto", "", "no table: draw mutants from all places of these `packages`, with commas between")
	sample := flag.Int("sample", 20, "with -auto: judge so many mutants of each package")
	seed := flag.Uint64("seed", 1, "with -auto: draw by this seed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *packages != "" {
		if err := auto(ctx, ".", drawn{packages: strings.Split(*packages, ","), sample: *sample, seed: *seed, patience: *patience}); err != nil {
			fmt.Fprintln(os.Stderr, "mutants:", err)
			os.Exit(2)
		}
		return
	}
	mutants := chosen(all(), *only)
	if *list {
		printTable(mutants)
		return
	}
	ok, err := run(ctx, mutants, *parallel, *patience, !*noClean, &report{json: *asJSON})
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// run works through the mutants and reports whether all were caught and nothing
// else was.
func run(ctx context.Context, mutants []mutant, parallel, patience int, clean bool, r *report) (ok bool, err error) {
	if err := os.Setenv("GOFLAGS", "-trimpath"); err != nil { // or every copy would be compiled from nothing
		return false, err
	}
	w := &workshop{report: r, ask: ask, oracles: oraclesOf(mutants), patience: max(patience, 1)}
	first, err := copyTree(".")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(first)
	for _, m := range mutants {
		if _, _, err := m.mutated(first); err != nil {
			return false, err
		}
	}
	r.began(len(mutants))
	if err := w.canary(ctx, first); err != nil {
		return false, err
	}
	if clean {
		for range w.oracles {
			if err := w.clean(ctx, first); err != nil {
				return false, err
			}
		}
	}
	if err := w.share(ctx, mutants, max(parallel, 1), first, clean); err != nil {
		return false, err
	}
	return r.ended(), nil
}

// workshop is where the mutants are worked on.
type workshop struct {
	report   *report
	ask      func(ctx context.Context, root, oracle string, patience int) (answer, error)
	oracles  []string // all that the mutants name
	patience int      // how many times as long as is due an oracle may take

	mu   sync.Mutex // guards next
	next int        // of oracles, for the next clean run
}

func oraclesOf(mutants []mutant) (all []string) {
	for _, m := range mutants {
		for _, o := range m.oracles {
			if !slices.Contains(all, o) {
				all = append(all, o)
			}
		}
	}
	return all
}

// share lets several workers do the mutants; the first works in the copy that is
// there.
func (w *workshop) share(ctx context.Context, mutants []mutant, workers int, first string, clean bool) error {
	todo := make(chan mutant, len(mutants))
	for _, m := range mutants {
		todo <- m
	}
	close(todo)
	failures := make(chan error, workers)
	var working sync.WaitGroup
	for n := range workers {
		working.Go(func() {
			root := first
			if n > 0 {
				var err error
				if root, err = copyTree("."); err != nil {
					failures <- err
					return
				}
				defer os.RemoveAll(root)
			}
			done := 0
			for m := range todo {
				err := w.mutant(ctx, root, m)
				if done++; err == nil && clean && done%cleanEvery == 0 {
					err = w.clean(ctx, root)
				}
				if err != nil {
					failures <- err
					return
				}
			}
		})
	}
	working.Wait()
	close(failures)
	return <-failures
}

// canary makes sure that a failure is seen.
func (w *workshop) canary(ctx context.Context, root string) error {
	caught, err := w.plant(ctx, root, canary)
	if err == nil && !caught.failed {
		err = fmt.Errorf("the canary lives: no failure would be seen")
	}
	return err
}

// clean asks the next oracle on the source as it is.
func (w *workshop) clean(ctx context.Context, root string) error {
	w.mu.Lock()
	oracle := w.oracles[w.next%len(w.oracles)]
	w.next++
	w.mu.Unlock()
	a, err := w.ended(ctx, root, oracle)
	if err == nil {
		w.report.clean(oracle, a)
	}
	return err
}

// mutant asks the mutant's oracles until one fails.
func (w *workshop) mutant(ctx context.Context, root string, m mutant) error {
	caught, err := w.plant(ctx, root, m)
	switch {
	case errors.Is(err, errBuild):
		w.report.broken(m, err)
		return nil
	case err == nil:
		w.report.mutant(m, caught)
	}
	return err
}

// finding is which oracle caught a mutant, and how. If none did, the oracle is "".
type finding struct {
	oracle string
	answer
}

// moreTime is how many times as long an oracle gets that did not end.
const moreTime = 4

// ended asks an oracle, and a second time with more time if it did not end.
func (w *workshop) ended(ctx context.Context, root, oracle string) (answer, error) {
	a, err := w.ask(ctx, root, oracle, w.patience)
	if err == nil && a.timeout {
		return w.ask(ctx, root, oracle, moreTime*w.patience)
	}
	return a, err
}

// plant puts a bug into the source for as long as its oracles are asked. The
// finding is of the oracle that caught the bug, or of none. If one did not end,
// and nothing else caught the bug, the finding says so.
func (w *workshop) plant(ctx context.Context, root string, m mutant) (f finding, err error) {
	with, without, err := m.mutated(root)
	if err != nil {
		return f, err
	}
	path := root + "/" + m.file
	if err := os.WriteFile(path, with, 0o644); err != nil {
		return f, err
	}
	defer func() {
		if restored := os.WriteFile(path, without, 0o644); err == nil {
			err = restored
		}
	}()
	for _, oracle := range m.oracles {
		a, err := w.ended(ctx, root, oracle)
		if err != nil {
			return finding{}, fmt.Errorf("mutant %s: %w", m.id, err)
		}
		switch {
		case a.timeout && !m.hangs:
			f.timeout = true
		case a.failed:
			return finding{oracle, a}, nil
		}
	}
	return f, nil
}

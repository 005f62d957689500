package main

import (
	"go/parser"
	"go/token"
	"math"
	"slices"
	"strings"
	"testing"
)

const sample = `package p

func (t T) String() string { return text(1) }

func f(a, b int) (int, error) {
	if a < b && b > 2 {
		a++
		g(a, b)
	}
	if err != nil {
		return 0, err
	}
	for a != b {
		continue
	}
	b = a + 1 //mutant:equal because b is not read
	switch a {
	case 3:
		log.Print(a, b)
	}
	return a - b, nil
}
`

// Goal: the places for mutants are those that the operators are made for, and none in
// texts, logs and marked lines; each leaves a file that can be parsed. Method: a
// function with one of each.
func TestPlacesForMutants(t *testing.T) {
	r, err := readSites("p.go", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range r.sites {
		got = append(got, s.operator)
		if _, err := parser.ParseFile(token.NewFileSet(), "p.go", s.mutated([]byte(sample)), 0); err != nil {
			t.Errorf("%v -> %q: %v", s, s.new, err)
		}
		if line := strings.Split(sample, "\n")[s.line-1]; strings.Contains(line, "String") || strings.Contains(line, "equal") || strings.Contains(line, "log.") {
			t.Errorf("a mutant in %q", line)
		}
	}
	want := []string{
		"negated condition", "&& and || swapped", "boundary moved", "boundary moved", "constant + 1", "constant - 1",
		"++ and -- swapped", "call dropped", "arguments swapped", "error ignored", "constant + 1", "result replaced by nil",
		"negated condition", "continue dropped", "case dropped", "constant + 1", "constant - 1", "result replaced by 0", "+ and - swapped",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("places:\n%q\nwanted:\n%q", got, want)
	}
	if len(r.equal) != 1 {
		t.Errorf("%d lines are marked, wanted 1", len(r.equal))
	}
}

// Goal: the interval of a rate is right. Method: known values of Wilson's.
func TestInterval(t *testing.T) {
	for _, c := range []struct {
		part, whole int
		low, high   float64
	}{{95, 100, 0.888, 0.978}, {10, 10, 0.722, 1}, {0, 0, 0, 1}} {
		if low, high := interval(c.part, c.whole); math.Abs(low-c.low) > 0.001 || math.Abs(high-c.high) > 0.001 {
			t.Errorf("%d of %d: %.3f to %.3f, wanted %.3f to %.3f", c.part, c.whole, low, high, c.low, c.high)
		}
	}
}

// Goal: quick tests are told from slow ones. Method: an output of go test -v.
func TestQuickTests(t *testing.T) {
	out := "--- PASS: TestA (0.01s)\n    --- PASS: TestA/b (0.00s)\n--- PASS: TestC (1.20s)\n--- PASS: TestD (0.00s)\n"
	if got := quickTests(out); got != "^(TestA|TestD)$" {
		t.Errorf("quick are %q", got)
	}
}

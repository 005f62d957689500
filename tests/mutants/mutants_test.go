package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// root is the root of the source, seen from this package.
const root = "../.."

// Goal: the table is true: every mutant still finds its place, once, and leaves a
// file that can be parsed, if it is one of Go. Method: all of them, without running anything.
func TestEveryMutantApplies(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range append(all(), canary) {
		if seen[m.id] {
			t.Errorf("there are two mutants %s", m.id)
		}
		seen[m.id] = true
		with, _, err := m.mutated(root)
		if err != nil {
			t.Error(err)
			continue
		}
		_, err = parser.ParseFile(token.NewFileSet(), m.file, with, parser.SkipObjectResolution)
		if err != nil && strings.HasSuffix(m.file, ".go") { // others are files of the page
			t.Errorf("mutant %s: %v", m.id, err)
		}
		if m.bug == "" || len(m.oracles) == 0 {
			t.Errorf("mutant %s has no description or no oracle", m.id)
		}
		for _, oracle := range m.oracles {
			if _, _, _, _, err := command(root, oracle, 1); err != nil {
				t.Errorf("mutant %s: %v", m.id, err)
			}
		}
	}
}

// Goal: a developer that changes a package finds its rows in its tables. Method: the
// file of every row is in the folder of its table or below it.
func TestTablesAreNamedByThePackage(t *testing.T) {
	for _, table := range tables {
		for _, m := range table.rows {
			if !strings.HasPrefix(m.file, table.pkg+"/") {
				t.Errorf("mutant %s of %s stands in a table of %s: move the row", m.id, m.file, table.pkg)
			}
		}
	}
}

// Goal: a failure is told by what failed. Method: outputs as go test and the
// simulator print them.
func TestWitnesses(t *testing.T) {
	for _, c := range []struct{ out, witness, message string }{
		{"--- FAIL: TestA (0.00s)\n    --- FAIL: TestA/b (0.00s)\n        a_test.go:3: wrong\n--- FAIL: TestC (0.00s)\nFAIL\n", "TestA/b", "wrong"},
		{"    a_test.go:3: noise\npanic: core: broken\n\ngoroutine 7 [running]:\nraftkv/raft/core.TestX(0xc0)\n", "TestX", "core: broken"},
		{"panic: test timed out after 1m0s\n\trunning tests:\n\t\tTestSlow (59s)\n", "TestSlow", "test timed out after 1m0s"},
		{"12 seeds run\nseed 77: promise broken\n", "seed 77", "seed 77: promise broken"},
		{"=== RUN   TestA\n=== RUN   TestB\npanic: core: broken\n\ngoroutine 9 [running]:\nraftkv/raft/core.broken(...)\n", "TestB", "core: broken"},
		{"=== RUN   TestA\nexit status 3\n", "TestA", ""},
		{"signal: killed\n", "its exit status", ""},
	} {
		var a answer
		if a.read(c.out); a.witness != c.witness || a.message != c.message {
			t.Errorf("%q: witness %q, message %q", c.out, a.witness, a.message)
		}
	}
}

// Goal: no mutant takes the machine's memory: its oracle ends before.
// Method: a shell that is run as an oracle says which bound it has.
func TestAnOracleHasABoundOfMemory(t *testing.T) {
	out, err := bounded(t.Context(), []string{"sh", "-c", "ulimit -v"}).Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != fmt.Sprint(addresses) {
		t.Errorf("the bound is %q KiB, %v; want %d", got, err, addresses)
	}
}

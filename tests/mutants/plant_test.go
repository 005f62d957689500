package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// Goal: a test that does not end catches nothing, however busy the machine is,
// unless the bug is one that hangs. Method: oracles that answer by hand, on a file
// of one line.
func TestATestThatDoesNotEndCatchesNothing(t *testing.T) {
	late, failed, passed := answer{failed: true, timeout: true}, answer{failed: true}, answer{}
	cases := []struct {
		name    string
		hangs   bool
		answers []answer // of oracle a, of a with more time, of b and so on
		oracle  string   // that caught it
		timeout bool
	}{
		{"caught at once", false, []answer{failed}, "a", false},
		{"caught with more time", false, []answer{late, failed}, "a", false},
		{"passed with more time, caught by another", false, []answer{late, passed, failed}, "b", false},
		{"never ended, caught by another", false, []answer{late, late, failed}, "b", false},
		{"never ended, and nothing else noticed", false, []answer{late, late, passed}, "", true},
		{"nothing noticed", false, []answer{passed, passed}, "", false},
		{"hangs, as it should", true, []answer{late, late}, "a", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.WriteFile(filepath.Join(root, "x.go"), []byte("good"), 0o644); err != nil {
				t.Fatal(err)
			}
			next := 0
			w := &workshop{patience: 2, ask: func(_ context.Context, root, _ string, patience int) (answer, error) {
				if content, _ := os.ReadFile(filepath.Join(root, "x.go")); string(content) != "bad" {
					t.Errorf("the oracle saw %q", content)
				}
				if again := next > 0 && c.answers[next-1].timeout && (next < 2 || !c.answers[next-2].timeout); again != (patience > 2) {
					t.Errorf("answer %d was asked for with patience %d", next, patience)
				}
				next++
				return c.answers[next-1], nil
			}}
			m := mutant{id: "T1", bug: "t", file: "x.go", old: "good", new: "bad", oracles: []string{"a", "b"}, hangs: c.hangs}
			f, err := w.plant(context.Background(), root, m)
			if err != nil || f.oracle != c.oracle || f.timeout != c.timeout {
				t.Errorf("finding %+v, error %v; want oracle %q, timeout %v", f, err, c.oracle, c.timeout)
			}
			if next != len(c.answers) {
				t.Errorf("%d oracles were asked, not %d", next, len(c.answers))
			}
			if content, _ := os.ReadFile(filepath.Join(root, "x.go")); string(content) != "good" {
				t.Errorf("the bug was left behind: %q", content)
			}
		})
	}
}

// Goal: an undecided mutant is no success. Method: the report's verdict.
func TestAnUndecidedMutantIsNoSuccess(t *testing.T) {
	for _, c := range []struct {
		f    finding
		good bool
	}{
		{finding{oracle: "a", answer: answer{failed: true}}, true},
		{finding{answer: answer{timeout: true}}, false},
		{finding{}, false},
	} {
		r := &report{json: true}
		r.mutant(mutant{id: "T1", oracles: []string{"a"}}, c.f)
		if r.ended() != c.good {
			t.Errorf("%+v: the run is called good: %v", c.f, !c.good)
		}
	}
}

package main

import (
	"encoding/json"
	"flag"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var (
	simSeeds = flag.Int("sim.seeds", 400, "how many seeds TestSeedsOfThisSource runs")
	simFirst = flag.Uint64("sim.first", 0, "the first of them; 0 takes one from the source")
)

// Goal: no promise breaks in runs that no earlier version of the source has had.
// Method: seeds that follow from the source, some of them run twice. A change of the
// source meets new seeds, and the same source always meets the same ones, so that
// the verdict on a commit does not depend on the hour. make sim looks further.
func TestSeedsOfThisSource(t *testing.T) {
	first := *simFirst
	if first == 0 {
		first = seedOf(t, "../../raft", "../../kvserver/kv", ".")
	}
	c := campaign{first: first, length: time.Hour, seeds: *simSeeds, twice: 20, shrink: time.Minute}
	c.run()
	t.Log(c.report())
	for _, failure := range c.failures {
		t.Error(failure)
	}
	if c.counts.Acknowledged == 0 || c.counts.Reads == 0 || c.counts.Crashes == 0 {
		t.Error("void: nothing got through or nothing went wrong")
	}
}

// seedOf returns a number that changes with the Go files below some folders.
func seedOf(t *testing.T, folders ...string) uint64 {
	t.Helper()
	sum := fnv.New64a()
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" {
				return err
			}
			source, err := os.ReadFile(path)
			sum.Write(source)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return sum.Sum64() >> 1 // so that no seed overflows
}

// Goal: a seed is a run. Method: seeds twice, equal trace hashes; and another
// seed gives another hash.
func TestSameSeedSameTrace(t *testing.T) {
	seen := map[uint64]uint64{}
	for seed := range uint64(30) {
		o := drawOptions(seed)
		o.Faulty = min(o.Faulty, 5*second)
		a, b := run(seed, o, &trace{}), run(seed, o, &trace{})
		if a.err != nil {
			t.Fatal(a.err)
		}
		if a.hash != b.hash || a.events != b.events {
			t.Fatalf("seed %d: trace hashes %016x and %016x, %d and %d events", seed, a.hash, b.hash, a.events, b.events)
		}
		if other, twice := seen[a.hash]; twice {
			t.Fatalf("seeds %d and %d have the same trace", seed, other)
		}
		seen[a.hash] = seed
	}
}

// Goal: printing a run does not change it. Method: one seed with rows and
// without.
func TestRowsDoNotChangeTheRun(t *testing.T) {
	o := drawOptions(3)
	o.Faulty = min(o.Faulty, 5*second)
	if a, b := run(3, o, &trace{}), run(3, o, &trace{keep: 10}); a.hash != b.hash || len(b.rows) != 10 {
		t.Fatalf("trace hashes %016x and %016x, %d rows", a.hash, b.hash, len(b.rows))
	}
}

// Goal: what was found once stays mended. Method: the worlds in testdata, kept
// with all their options, each under its seed and a few others: what a seed draws
// within a world changes with the simulator. (Each bug has a unit test next to the
// code as well.)
func TestSeedsThatOnceFailed(t *testing.T) {
	files, err := filepath.Glob("testdata/once-failed/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no kept worlds: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var kept struct {
				Story   string
				Seed    uint64
				Options json.RawMessage
			}
			if err := json.Unmarshal(text, &kept); err != nil {
				t.Fatal(err)
			}
			o, err := parseOptions(string(kept.Options), false)
			if err != nil {
				t.Fatal(err)
			}
			for seed := kept.Seed; seed < kept.Seed+5; seed++ {
				if r := run(seed, o, &trace{}); r.err != nil {
					t.Errorf("%s: %v", kept.Story, r.err)
				}
			}
		})
	}
}

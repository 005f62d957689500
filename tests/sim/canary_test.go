package main

import (
	"strings"
	"testing"
)

// Goal: a bug is found, named, shrunk and shown again. Method: the planted one,
// in the worlds of fresh seeds; the smallest world found must fail in the same
// way when it is made from what the report prints.
func TestCanaryIsFoundAndShrunk(t *testing.T) {
	var found result
	for seed := uint64(0); found.err == nil; seed++ {
		if seed == 200 {
			t.Fatal("200 worlds with a planted bug, and none failed")
		}
		o := drawOptions(seed)
		o.Canary = true
		o.Faulty = min(o.Faulty, 10*second)
		found = run(seed, o, &trace{})
	}
	if found.oracle != "fresh reads" {
		t.Fatalf("the canary was found by another oracle: %v", found.err)
	}
	left := 400 // worlds, so that a slow machine looks as far as a quick one
	small := shrinkWhile(found, func() bool { left--; return left >= 0 })
	if small.oracle != found.oracle || small.events > found.events || len(small.options.Faults) > len(found.options.Faults) {
		t.Errorf("%d events and faults %v were shrunk to %d and %v (%v)",
			found.events, found.options.Faults, small.events, small.options.Faults, small.err)
	}
	line := reproducer(small.seed, small.options)
	_, text, _ := strings.Cut(line, "-options '")
	text, _, _ = strings.Cut(text, "'")
	o, err := parseOptions(text, true)
	if err != nil {
		t.Fatal(err)
	}
	again := run(small.seed, o, &trace{keep: keptRows})
	if again.hash != small.hash || again.err == nil || again.err.Error() != small.err.Error() {
		t.Errorf("%s\ngave %v, the run before gave %v", line, again.err, small.err)
	}
	if len(again.rows) == 0 || strings.Contains(strings.Join(again.rows, ""), "%!") {
		t.Errorf("rows that nobody can read: %q", again.rows)
	}
}

// Goal: options come back as they were printed, and what cannot be run is
// refused with a sentence.
func TestOptionsAreKept(t *testing.T) {
	for seed := range uint64(200) {
		o := drawOptions(seed)
		back, err := parseOptions(o.String(), true)
		if err != nil || back.String() != o.String() {
			t.Fatalf("seed %d: %v: %s came back as %s", seed, err, o, back)
		}
	}
	for _, bad := range []string{`{`, `{"Serverz":3}`, `{"Servers":9}`, drawOptions(1).String() + "x"} {
		if _, err := parseOptions(bad, true); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	o := drawOptions(1)
	o.Faults = append(o.Faults, "flood")
	if _, err := parseOptions(o.String(), true); err == nil {
		t.Error("a fault that does not exist was taken")
	}
}

// Goal: the queue gives events in order of time, and those of the same time in
// the order in which they were scheduled.
func TestQueueKeepsOrder(t *testing.T) {
	d := newDice(1, 1)
	var q eventQueue
	var now int64
	scheduled := map[int64]int{}
	last := map[int64]int{}
	for range 20000 {
		if len(q.heap) == 0 || d.chance(0.52) {
			at := now + d.between(0, 20)
			n := scheduled[at]
			scheduled[at]++
			q.push(at, then(func() {
				if n != last[at] {
					t.Fatalf("event %d at %d came as number %d", n, at, last[at])
				}
				last[at]++
			}))
			continue
		}
		at, _ := q.next()
		e := q.pop()
		if e.at != at || e.at < now {
			t.Fatalf("an event at %d came at %d (next said %d)", e.at, now, at)
		}
		now = e.at
		e.what.happen()
	}
}

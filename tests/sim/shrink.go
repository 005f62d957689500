package main

import (
	"slices"
	"time"
)

// shrink looks for a smaller world in which the same oracle ends the run, for as
// long as patience lasts; see shrinkWhile.
func shrink(r result, patience time.Duration) result {
	deadline := time.Now().Add(patience)
	return shrinkWhile(r, func() bool { return time.Now().Before(deadline) })
}

// shrinkWhile looks for a smaller world in which the same oracle ends the run, until more,
// which is asked before each world, says that it is enough. First it takes away what makes a world large, under
// this seed or one of a few others; then, under the seed that is left, one
// planned fault after the other.
func shrinkWhile(r result, more func() bool) result {
	s := &shrinker{best: r, more: more}
	for again := true; again; {
		again = s.simplify()
		again = s.dropFaults() || again
	}
	return s.best
}

// shrinker is a search for the smallest failing world.
type shrinker struct {
	best result
	more func() bool
}

// otherSeeds is how many other seeds a simpler world is tried with: what is left
// of a world is drawn anew when a part of it goes.
const otherSeeds = 10

// try runs a world and keeps it if it fails like the best one.
func (s *shrinker) try(seed uint64, o options) bool {
	if o.Only != nil && len(o.Only) == 0 {
		o.Faults, o.Only = nil, nil // as it will be printed
	}
	if o.valid() != nil || !s.more() {
		return false
	}
	r := run(seed, o, &trace{})
	if r.err == nil || r.oracle != s.best.oracle {
		return false
	}
	s.best = r
	return true
}

// simplify tries every simplification once and reports whether any helped.
func (s *shrinker) simplify() bool {
	helped := false
	for _, simpler := range simplifications {
		o := s.best.options
		o.Only = slices.Clone(o.Only)
		simpler(&o)
		if o.String() == s.best.options.String() {
			continue
		}
		if s.try(s.best.seed, o) {
			helped = true
			continue
		}
		if o.Only != nil {
			continue // another seed has another plan
		}
		for seed := range uint64(otherSeeds) {
			if s.try(seed, o) {
				helped = true
				break
			}
		}
	}
	return helped
}

// simplifications make a world smaller or plainer, those that help most first.
var simplifications = []func(o *options){
	func(o *options) { o.reduceTo(1) },
	func(o *options) { o.reduceTo(2) },
	func(o *options) { o.reduceTo(3) },
	func(o *options) { o.Clients, o.Lanes = 1, 1 },
	func(o *options) { o.Clients = 2 },
	func(o *options) { o.Coordinators = 0 },
	func(o *options) { o.Coordinators = min(o.Coordinators, 1) },
	func(o *options) { o.Lanes = 1 },
	func(o *options) { o.Faults = nil },
	func(o *options) { o.halveFaults(0) },
	func(o *options) { o.halveFaults(1) },
	func(o *options) { o.Faulty /= 2 },
	func(o *options) { o.Faulty = o.Faulty * 3 / 4 },
	func(o *options) { o.Outside = "" },
	func(o *options) { o.Loss, o.Duplicate, o.Tail, o.SilentLoss, o.Ordered = 0, 0, 0, false, true },
	func(o *options) { o.Loss = 0 },
	func(o *options) { o.Duplicate = 0 },
	func(o *options) { o.Tail = 0 },
	func(o *options) { o.SilentLoss = false },
	func(o *options) { o.DelayHigh, o.SaveHigh = o.DelayLow, o.SaveLow },
	func(o *options) { o.SnapshotEvery = 0 },
	func(o *options) { o.Drift, o.LoopDelay, o.ApplyDelay, o.PromptTicks = 0, 0, 0, 0 },
	func(o *options) { o.Drift = 0 },
	func(o *options) { o.LoopDelay = 0 },
	func(o *options) { o.ApplyDelay = 0 },
	func(o *options) { o.PromptTicks = 0 },
	func(o *options) { o.Suspects = false },
	func(o *options) { o.LostAnswers = 0 },
	func(o *options) { o.Careless = 0 },
	func(o *options) { o.Careless = 1 },
	func(o *options) { o.Keys = 1 },
	func(o *options) { o.Mix = mix{Put: 1} },
	func(o *options) { o.Mix = mix{Append: 1} },
	func(o *options) { o.Mix = mix{Put: 1, Get: 1} },
	func(o *options) { o.Window, o.AppendBytes, o.ApplyBytes, o.Uncommitted = 64, 1<<20, 1<<20, 1<<20 },
}

// reduceTo makes the cluster smaller. What cannot happen to so few servers goes.
func (o *options) reduceTo(servers int) {
	if o.Servers <= servers {
		return
	}
	o.Servers = servers
	o.Faults = slices.DeleteFunc(slices.Clone(o.Faults), func(name string) bool {
		k, known := faultNamed(name)
		return !known || k.least > servers
	})
}

// halveFaults leaves out one half of the kinds of faults.
func (o *options) halveFaults(half int) {
	n := (len(o.Faults) + 1) / 2
	if half == 0 {
		o.Faults = o.Faults[:n]
	} else {
		o.Faults = o.Faults[n:]
	}
}

// dropFaults leaves out planned faults, many at first, and reports whether any
// could go.
func (s *shrinker) dropFaults() bool {
	if len(s.best.began) == 0 {
		return false
	}
	o := s.best.options
	o.Only = slices.Clone(s.best.began) // those that were planned for later never came
	if !s.try(s.best.seed, o) {
		return false
	}
	dropped := false
	for size := len(o.Only) / 2; size > 0; size /= 2 {
		for at := 0; at < len(s.best.options.Only); {
			o := s.best.options
			o.Only = slices.Delete(slices.Clone(o.Only), at, min(at+size, len(o.Only)))
			if s.try(s.best.seed, o) {
				dropped = true
			} else {
				at += size
			}
		}
	}
	return dropped
}

package core

import (
	"slices"
	"testing"

	"raftkv/tests/explore"
)

// outcome returns what counts of a world in which nothing can happen any more: roles,
// terms, votes, logs and commit indices, in memory and on disk, under any names.
func (w *exWorld) outcome() explore.Key {
	var least explore.Key
	for p, names := range renamings(w.bounds.servers) {
		var h explore.Hash
		name := func(id ID) {
			if id == None {
				h.Add(0)
			} else {
				h.Add(1 + uint64(names[w.place(id)]))
			}
		}
		for place := range w.bounds.servers {
			i := slices.Index(names, uint8(place))
			r, disk := w.nodes[i].core, &w.nodes[i].disk
			h.Add(uint64(r.role))
			h.Add(r.currentTerm)
			name(r.votedFor)
			name(r.leader)
			h.Add(r.commitIndex)
			name(disk.VotedFor)
			for _, log := range [][]Entry{r.log.entries, disk.Entries} {
				h.AddInt(len(log))
				for k := range log {
					h.Add(log[k].Term)
				}
			}
		}
		if key := h.Sum(); p == 0 || key.Less(least) {
			least = key
		}
	}
	return least
}

// tooMany is more states than any search of this file has. A core that is broken may
// have no end of them.
const tooMany = 500_000

// outcomes searches all worlds and returns the outcomes of their ends, each once.
func outcomes(t *testing.T, b bounds) []explore.Key {
	var all []explore.Key
	r := explore.Search(newExWorld(b), explore.Options[*exWorld, exAction]{States: tooMany, Visit: func(w *exWorld, end bool) {
		if end {
			all = append(all, w.outcome())
		}
	}})
	if r.Broken != nil {
		found(t, b, &r)
	} else if !r.Complete {
		t.Errorf("%s: the search was stopped after %d states, so it says nothing about outcomes", b.name, r.States)
	}
	slices.SortFunc(all, func(a, b explore.Key) int {
		if a.Less(b) {
			return -1
		}
		return 1
	})
	all = slices.Compact(all)
	t.Logf("%s, named %v, dead answers kept %v, raw roles %v: %v; %d outcomes", b.name, b.named, b.keepDead, b.rawRoles, &r, len(all))
	return all
}

// Goal: the explorer leaves out nothing when it takes worlds for equal: without each
// of its reductions verdict and outcomes are the same. Method: at the bounds that can
// be searched without them.
func TestExploreReductionsChangeNothing(t *testing.T) {
	cases := []bounds{{name: "T1 E0 async", servers: 3, terms: 1, async: true, limit: budget{timeouts: unbounded}}}
	if !raceDetector {
		cases = append(cases, bounds{name: "T1 E1 sync", servers: 3, terms: 1, limit: budget{timeouts: unbounded, entries: 1}})
	}
	if *exploreNames != "" {
		cases = append(cases, bounds{name: "T1 E1 async", servers: 3, terms: 1, async: true, limit: budget{timeouts: unbounded, entries: 1}})
	}
	if *exploreDeep {
		cases = append(cases, bounds{name: "T2 E0 sync timeouts3", servers: 3, terms: 2, limit: budget{timeouts: 3}})
	}
	for _, b := range cases {
		want := outcomes(t, b)
		for _, without := range []func(*bounds){
			func(b *bounds) { b.named = true },
			func(b *bounds) { b.keepDead = true },
			func(b *bounds) { b.rawRoles = true },
		} {
			other := b
			without(&other)
			if got := outcomes(t, other); !slices.Equal(got, want) {
				t.Errorf("%s: without a reduction there are %d outcomes, with all of them %d", b.name, len(got), len(want))
			}
		}
		inOrder := b
		inOrder.fifo = true
		for _, outcome := range outcomes(t, inOrder) { // what happens in order happens in any order
			if !slices.Contains(want, outcome) {
				t.Errorf("%s: an outcome of messages in order is none of messages in any order", b.name)
			}
		}
	}
}

// replayed is a world that is never copied: each is made from the first one by all the
// actions of its way.
type replayed struct {
	*exWorld
	way []exAction
}

// Do returns the world after an action, made from the first one.
func (w replayed) Do(a exAction) replayed {
	next := replayed{newExWorld(w.bounds.bounds), append(slices.Clip(w.way), a)}
	for i := range next.bounds.servers {
		next.owned[i] = true
	}
	for _, a := range next.way {
		next.saves = [maxServers]uint8{}
		next.do(a)
	}
	return next
}

// Goal: the copy of a core is a copy: worlds that are made by copying are those that
// are made from the start. Method: searches of both kinds count the same.
func TestExploreByReplayCountsTheSame(t *testing.T) {
	cases := []bounds{{name: "T1 E0 async", servers: 3, terms: 1, async: true, limit: budget{timeouts: unbounded}}}
	if !raceDetector {
		cases = append(cases, bounds{name: "T1 E1 sync", servers: 3, terms: 1, limit: budget{timeouts: unbounded, entries: 1}})
	}
	if *exploreNames != "" {
		cases = append(cases, bounds{name: "T2 E1 sync fifo timeouts2", servers: 3, terms: 2, fifo: true, limit: budget{timeouts: 2, entries: 1}})
	}
	for _, b := range cases {
		copied := explore.Search(newExWorld(b), explore.Options[*exWorld, exAction]{States: tooMany})
		again := explore.Search(replayed{exWorld: newExWorld(b)}, explore.Options[replayed, exAction]{States: copied.States + 1000})
		t.Logf("%s: by copying %v; by replay %v", b.name, &copied, &again)
		if !copied.Complete || !again.Complete || countsOf(&copied) != countsOf(&again) || copied.Broken != nil || again.Broken != nil {
			t.Errorf("%s: by copying %v, by replay from the start %v", b.name, &copied, &again)
		}
	}
}

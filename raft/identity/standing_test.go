package identity

import (
	"math/rand/v2"
	"testing"

	"raftkv/raft/core"
)

// Goal: a directory that holds less than it said is told from one that went on,
// and one that lost only what could be truncated is not held up. Method: a table of
// what was said, in order, and what is said at the next start.
func TestADirectoryThatHoldsLessIsFound(t *testing.T) {
	for _, test := range []struct {
		name string
		said []Standing
		now  Standing
		lost bool
	}{
		{"nothing was said", nil, Standing{}, false},
		{"the same", []Standing{{5, 10, 5, 8}}, Standing{Term: 5, Last: 10}, false},
		{"more", []Standing{{5, 10, 5, 8}}, Standing{Term: 6, Last: 20}, false},
		{"an earlier term", []Standing{{5, 10, 5, 8}}, Standing{Term: 4, Last: 10}, true},
		{"a term without entries was said", []Standing{{9, 0, 0, 0}}, Standing{Term: 8, Last: 100}, true},
		{"committed entries", []Standing{{5, 10, 5, 8}}, Standing{Term: 6, Last: 7}, true},
		{"all but the committed entries, in a later term", []Standing{{5, 10, 5, 8}}, Standing{Term: 6, Last: 8}, false},
		{"entries of the present term", []Standing{{5, 10, 5, 8}}, Standing{Term: 5, Last: 9}, true},
		{"entries of an earlier term, in the present one", []Standing{{5, 10, 4, 8}}, Standing{Term: 5, Last: 9}, false},
		{"committed further than the log reached", []Standing{{5, 10, 5, 90}}, Standing{Term: 6, Last: 10}, false},
		{"committed further, and less", []Standing{{5, 10, 5, 90}}, Standing{Term: 6, Last: 9}, true},
		{"what was said of an earlier term counts no more", []Standing{{5, 10, 5, 3}, {6, 8, 5, 3}}, Standing{Term: 6, Last: 7}, false},
		{"what is committed counts for ever", []Standing{{5, 10, 5, 9}, {7, 10, 7, 0}}, Standing{Term: 8, Last: 8}, true},
		{"the log is known to be committed by a snapshot", []Standing{{5, 100, 4, 100}}, Standing{Term: 7, Last: 99}, true},
	} {
		var k Known
		for _, s := range test.said {
			before := k
			if k = k.Note(s); k.SameProgress(before) {
				t.Errorf("%s: %+v is no news", test.name, s)
			}
			if !k.Note(s).SameProgress(k) {
				t.Errorf("%s: %+v is news twice", test.name, s)
			}
		}
		if lost := k.Lost(test.now); (lost != "") != test.lost {
			t.Errorf("%s: %q", test.name, lost)
		}
	}
}

// Goal: no server that crashes at any moment is taken for one that was put back.
// Method: random histories of a log as Raft allows them: a leader of a later term
// truncates what is not committed, entries of the present term only grow, a commit
// index follows. The disk is behind memory by some writes; what the disk holds is
// said now and then, and a crash goes back to what it holds.
func TestNoCrashIsTakenForALoss(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for run := range 2000 {
		type disk struct {
			term, commit uint64
			log          []uint64 // terms
		}
		var memory, durable disk
		var k Known
		say := func() Standing {
			s := Standing{Term: durable.term, Last: uint64(len(durable.log)), Commit: durable.commit}
			if n := len(durable.log); n > 0 {
				s.LastTerm = durable.log[n-1]
			}
			return s
		}
		for range 60 {
			switch rng.IntN(7) {
			case 0:
				memory.term += uint64(rng.IntN(3))
			case 1: // a later leader's log conflicts with what is not committed
				if n := uint64(len(memory.log)); n > memory.commit && memory.log[n-1] < memory.term {
					keep := memory.commit + rng.Uint64N(n-memory.commit)
					memory.log = append(memory.log[:keep:keep], memory.term)
				}
			case 2, 3:
				memory.log = append(memory.log[:len(memory.log):len(memory.log)], memory.term)
			case 4: // only entries that are followed by one of the present term
				if n := uint64(len(memory.log)); n > 0 && memory.log[n-1] == memory.term {
					memory.commit = max(memory.commit, rng.Uint64N(n+1))
				}
			case 5:
				durable = memory
				durable.commit = min(memory.commit, uint64(len(memory.log)))
			case 6:
				k = k.Note(say())
				if rng.IntN(3) == 0 { // a crash
					memory = durable
					if lost := k.Lost(say()); lost != "" {
						t.Fatalf("run %d: %s", run, lost)
					}
				}
			}
		}
	}
}

// Goal: the standing that follows the writes is that of the disk which they leave behind.
// Method: writes one by one, each with the standing afterwards, and the state that a start
// would find.
func TestStandingsFollowTheDisk(t *testing.T) {
	entry := func(index, term uint64) core.Entry { return core.NewEntry(index, term, core.KindCommand, nil) }
	s := StandingOf(&core.State{Term: 3, Snapshot: core.Snapshot{Index: 4, Term: 2}, Entries: []core.Entry{entry(5, 2), entry(6, 3)}, Commit: 5})
	if want := (Standing{Term: 3, Last: 6, LastTerm: 3, Commit: 5}); s != want {
		t.Fatalf("a disk has the standing %+v, want %+v", s, want)
	}
	if s := StandingOf(&core.State{Term: 3, Snapshot: core.Snapshot{Index: 4, Term: 2}}); s != (Standing{Term: 3, Last: 4, LastTerm: 2, Commit: 4}) {
		t.Errorf("a snapshot alone has the standing %+v", s)
	}
	for _, step := range []struct {
		name string
		w    core.Write
		want Standing
	}{
		{"a later term", core.Write{Term: 4}, Standing{4, 6, 3, 5}},
		{"more entries", core.Write{Term: 4, From: 7, Entries: []core.Entry{entry(7, 4)}, Commit: 6}, Standing{4, 7, 4, 6}},
		{"other entries", core.Write{Term: 5, From: 7, Entries: []core.Entry{entry(7, 5), entry(8, 5)}}, Standing{5, 8, 5, 6}},
		{"fewer entries", core.Write{Term: 5, From: 8}, Standing{5, 7, 0, 6}},
		{"a snapshot within the log", core.Write{Term: 5, Snapshot: &core.Snapshot{Index: 6, Term: 3}}, Standing{5, 7, 0, 6}},
		{"a snapshot beyond the log", core.Write{Term: 6, Snapshot: &core.Snapshot{Index: 20, Term: 6}}, Standing{6, 20, 6, 20}},
	} {
		if s = s.After(&step.w); s != step.want {
			t.Errorf("%s: %+v, want %+v", step.name, s, step.want)
		}
	}
}

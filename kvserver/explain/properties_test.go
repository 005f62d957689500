package explain

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"raftkv/kvserver/recorder"
)

// scripts returns the rings of all incidents, and of the recorded life, by name.
func scripts(t testing.TB) map[string][]recorder.Ring {
	all := map[string][]recorder.Ring{"life": recorded(t, "life", "n1", "n2", "n3")}
	for _, c := range incidents {
		if !strings.HasPrefix(c.script, "clock") {
			all[c.name] = rings(t, among+c.script)
		}
	}
	return all
}

// everything is a span that holds any script and recording.
var everything = Span{From: 0, To: 1 << 42}

// Goal: what five real nodes recorded of `raftkv dev --scenario figure8` is told as the story that
// it plays (§5.4.2, Figure 8): the leader of term 1 and one other have an entry that is not
// committed; another leads, without it; and both drop it. Nobody is named but those to whom
// something was done.
func TestARecordingOfFigure8IsTold(t *testing.T) {
	stories := Stories(recorded(t, "figure8", "n1", "n2", "n3", "n4", "n5"), everything)
	told := text(stories)
	rest := told
	for _, want := range []string{ // in this order
		"leader_cut_off (likely, [n4]): n4 and the others could not reach each other. n4 gave up leadership after 300 ms without a majority. n5 stood 380 ms later, n2 and n3 voted for it, and it leads term 2.",
		"staged (certain, [n4]): Somebody cut ways between n4 and others (raftkv dev).",
		"node_ended (certain, [n4]): n4's process ended: its connections were closed. It was there after 1.02 s. Leadership did not change, and writes did not wait for it.",
		"staged (certain, [n4]): Somebody killed n4 (raftkv dev).",
		"staged (certain, [n4]): Somebody started n4 (raftkv dev).",
		"tail_dropped (certain, [n1]): n1 dropped entry 3 of term 1; none had been acknowledged.",
		"tail_dropped (certain, [n4]): n4 dropped entry 3 of term 1; none had been acknowledged.",
	} {
		_, behind, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("%q is not told, or not there, in\n%s", want, told)
		}
		rest = behind
	}
	for _, s := range stories {
		if s.Kind != Staged && slices.ContainsFunc(s.Culprits, func(c string) bool { return c != "n4" && s.Kind != TailDropped }) {
			t.Errorf("%v are named: %v", s.Culprits, s.Sentences)
		}
	}
}

// Goal: what real nodes recorded of twenty minutes' worth of trouble in one is told as
// it was: a leader that was stopped for ten seconds, entries that were dropped, two
// orderly changes of leadership, a follower and then two that were killed. With the
// recording of one node alone less is told, and nothing else.
func TestARecordedLifeIsTold(t *testing.T) {
	told := text(Stories(recorded(t, "life", "n1", "n2", "n3"), everything))
	for _, want := range []string{
		"leader_stopped (certain, [n2]): n2 was stopped for 10 s, by a signal (such as SIGSTOP). n3 stood 490 ms later, n1 voted for it, and it leads term 2. There was no write for 492 ms.",
		"tail_dropped (certain, [n2]): n2 dropped entries 586–589 of term 1; none had been acknowledged.",
		"handed_over (certain, [n3]): n3 was told to stop and handed leadership to n1. n3 was back after 4.24 s. There was no write for 2.3 ms.",
		"handed_over (certain, [n1]): Somebody asked for it: n1 handed leadership to n2. There was no write for 1.1 ms.",
		"node_ended (certain, [n3]): n3's process ended: its connections were closed. It was there after 3.2 s.",
		"majority_gone (certain, [n1 n3]): n1's process ended: its connections were closed. n3's process ended: its connections were closed. n2 gave up leadership after 300 ms without a majority.",
		"There was no write for 9.44 s.",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if n := strings.Count(told, "\n"); n != 7 { // the seventh is of the processors, which were busy
		t.Errorf("%d stories are told:\n%s", n, told)
	}
	one := text(Stories(recorded(t, "life", "n2"), everything))
	for _, want := range []string{"handed_over (likely, [n1]): n1 handed leadership to n2; why is not known.", "majority_gone (certain, [n1 n3])"} {
		if !strings.Contains(one, want) {
			t.Errorf("with one recording, %q is missing in\n%s", want, one)
		}
	}
}

// Goal: what the last events tell is told in a span that ends with them.
// Method: a handover in the middle of the last millisecond, on a clock that says so.
func TestTheLastMillisecondIsTold(t *testing.T) {
	all := rings(t, among+`
n1 10.0003s transfer_asked
n1 10.0004s transfer peer=n3 term=1
n3 10.0005s transfer_taken peer=n1 term=1
n3 10.0006s elected term=2 a=2 b=3
n1 10.0007s stepped_down handed_over peer=n3 term=1 a=2
`)
	end := End(all)
	if told := text(Stories(all, Span{From: end - 1000, To: end})); !strings.Contains(told, "Somebody asked for it") {
		t.Errorf("told is\n%s", told)
	}
}

// Goal: the same rings give the same text, in whatever order they come, and however
// they are cut into pieces that overlap.
func TestTheSameRingsGiveTheSameText(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, rings := range scripts(t) {
		want := Stories(rings, everything)
		var pieces []recorder.Ring
		for _, r := range rings {
			half := len(r.Events) / 2
			pieces = append(pieces, recorder.Ring{Section: r.Section, Events: r.Events[half/2:]}, recorder.Ring{Section: r.Section, Events: r.Events[:half]})
		}
		rng.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
		if got := Stories(pieces, everything); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: in pieces, told is\n%s and not\n%s", name, text(got), text(want))
		}
	}
}

// Goal: a story names a culprit only if its evidence does, and a culprit that is called
// certain is one of those of the whole truth, however much of the recordings is lost.
// Method: of each incident, recordings of nodes and single events are left out at
// random, many times.
func TestNoCulpritWithoutEvidence(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for name, whole := range scripts(t) {
		truth := map[string]bool{}
		for _, s := range Stories(whole, everything) {
			for _, c := range s.Culprits {
				truth[c] = true
			}
		}
		for range 300 {
			var rings []recorder.Ring
			keep := rng.Float64()
			for _, r := range whole {
				if rng.IntN(4) == 0 {
					continue
				}
				events := slices.DeleteFunc(slices.Clone(r.Events), func(recorder.Event) bool { return rng.Float64() > keep })
				rings = append(rings, recorder.Ring{Section: r.Section, Events: events})
			}
			for _, s := range Stories(rings, everything) {
				if err := checkEvidence(rings, s); err != "" {
					t.Fatalf("%s: %s:\n%s%+v", name, err, text([]Story{s}), s.Evidence)
				}
				for _, c := range s.Culprits {
					if s.Certainty == Certain && !truth[c] {
						t.Fatalf("%s: with less evidence %s becomes a culprit that is certain:\n%s", name, c, text([]Story{s}))
					}
				}
			}
		}
	}
}

// checkEvidence returns what is wrong with the evidence of a story, "" if nothing is.
func checkEvidence(rings []recorder.Ring, s Story) string {
	named := map[string]bool{}
	for _, ref := range s.Evidence {
		found := false
		for _, r := range rings {
			if r.Node != ref.Node || r.Boot != ref.Boot {
				continue
			}
			for _, e := range r.Events {
				if e.Seq == ref.Seq {
					found = true
					named[r.Node], named[r.Name(e.Peer)] = true, true
				}
			}
		}
		if !found {
			return fmt.Sprintf("there is no event %+v", ref)
		}
	}
	for _, c := range s.Culprits {
		if !named[c] {
			return c + " is a culprit, and no evidence names it"
		}
	}
	if s.Certainty == Certain && s.Kind != Quiet && len(s.Evidence) == 0 {
		return "it is certain and has no evidence"
	}
	return ""
}

// Goal: the order of events and all stories are the same whatever the machines' clocks
// say, and a clock that is wrong is called so.
// Method: the recordings of each incident with the clocks of two nodes off by up to a
// day.
func TestClocksDoNotMatter(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for name, whole := range scripts(t) {
		want := bare(Stories(whole, everything))
		for range 20 {
			off := map[string]int64{"n2": rng.Int64N(86_400_000), "n3": -rng.Int64N(86_400_000)}
			var rings []recorder.Ring
			for _, r := range whole {
				events := slices.Clone(r.Events)
				for i := range events {
					events[i].Wall += off[r.Node]
				}
				rings = append(rings, recorder.Ring{Section: r.Section, Events: events})
			}
			o := newOrder(rings)
			if len(o.disorder) > 0 {
				t.Fatalf("%s: with clocks off by %v, %d events are in disorder", name, off, len(o.disorder))
			}
			place := map[[2]uint64]int{}
			for i := range o.events {
				e := &o.events[i]
				key := [2]uint64{uint64(e.process), e.Seq - 1}
				if before, known := place[key]; known && before > i {
					t.Fatalf("%s: event %d of %s stands before the one before", name, e.Seq, e.node)
				}
				place[[2]uint64{uint64(e.process), e.Seq}] = i
			}
			for _, e := range o.edges() {
				if e.from >= e.to {
					t.Fatalf("%s: with clocks off by %v, event %d stands before %d, from which it follows", name, off, e.to, e.from)
				}
			}
			if !strings.HasPrefix(name, "E1 ") && !strings.HasPrefix(name, "E2 ") && name != "life" {
				continue // of others the protocol says little about the order
			}
			if got := bare(Stories(rings, everything)); got != want {
				t.Fatalf("%s: with clocks off by %v, told is\n%s and not\n%s", name, off, got, want)
			}
		}
	}
}

// bare is the kinds and culprits of stories, without those of clocks and of what follows
// from times.
func bare(stories []Story) string {
	var lines []string
	for _, s := range stories {
		if s.Kind != ClockJumped && s.Kind != Starved {
			lines = append(lines, fmt.Sprint(s.Kind, s.Culprits))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Goal: events that contradict each other are reported as a mistake of ours and do not
// keep the rest from being told.
func TestContradictionsAreReported(t *testing.T) {
	told := text(Stories(rings(t, among+`
n1 10s transfer_taken peer=n2 term=5
n1 10.1s transfer peer=n2 term=5
n2 10s transfer_taken peer=n1 term=5
n2 10.1s transfer peer=n1 term=5
`), everything))
	if !strings.Contains(told, "disorder") || !strings.Contains(told, "contradict each other") {
		t.Errorf("told is\n%s", told)
	}
}

// Goal: figures are written as people read them.
func TestFigures(t *testing.T) {
	for ns, want := range map[time.Duration]string{
		0: "0.0 ms", 200 * time.Microsecond: "0.2 ms", 46 * time.Millisecond: "46 ms", 301_400 * time.Microsecond: "301 ms", 999_900 * time.Microsecond: "1000 ms",
		1350 * time.Millisecond: "1.35 s", 8 * time.Second: "8.0 s", 12 * time.Second: "12 s", time.Hour: "60 min", 5 * time.Hour: "5 h", 100 * time.Hour: "4 days",
		-time.Second: "-1.0 s",
	} {
		if got := duration(int64(ns)); got != want {
			t.Errorf("%v is written as %q, want %q", ns, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1204551: "1,204,551"} {
		if got := count(n); got != want {
			t.Errorf("%d is written as %q", n, got)
		}
	}
}

// FuzzStories: no recordings make the teller fail, and what it tells has evidence.
func FuzzStories(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		rng := rand.New(rand.NewPCG(a, b))
		var rings []recorder.Ring
		for n := range 1 + rng.IntN(4) {
			for boot := range 1 + rng.IntN(2) {
				r := recorder.Ring{Section: recorder.Section{Node: fmt.Sprintf("n%d", n+1), Boot: uint64(boot + 1), Names: []string{"n1", "n2", "n3"}}}
				mono := int64(0)
				for seq := range rng.IntN(60) {
					mono += rng.Int64N(2_000_000_000)
					kind := recorder.Kind(1 + rng.IntN(27))
					if rng.IntN(2) == 0 {
						kind = recorder.LoopLate + recorder.Kind(rng.IntN(24))
					}
					why := recorder.Why(rng.IntN(10))
					if rng.IntN(2) == 0 {
						why = recorder.ClosedByPeer + recorder.Why(rng.IntN(19))
					}
					e := recorder.Event{
						Seq: uint64(seq + 1), Mono: mono, Wall: mono/1_000_000 + int64(boot)*100_000, Kind: kind, Why: why, Peer: uint8(rng.IntN(4)),
						Term: rng.Uint64N(5), Index: rng.Uint64N(100), A: rng.Int64N(3), B: rng.Int64N(3),
					}
					if rng.IntN(2) == 0 {
						e.A = rng.Int64() - rng.Int64()
					}
					if rng.IntN(20) == 0 {
						e.A = []int64{math.MinInt64, math.MaxInt64}[rng.IntN(2)]
					}
					r.Events = append(r.Events, e)
				}
				rings = append(rings, r)
			}
		}
		for _, s := range Stories(rings, everything) {
			if err := checkEvidence(rings, s); err != "" {
				t.Fatalf("%s:\n%s", err, text([]Story{s}))
			}
		}
		Lines(rings, everything)
	})
}

// Goal: a node that crashes at its start a thousand times, and full rings of the others,
// are told soon.
func TestMuchIsToldSoon(t *testing.T) {
	var rings []recorder.Ring
	seq := uint64(0)
	for boot := range uint64(1000) {
		r := recorder.Ring{Section: recorder.Section{Node: "n1", Boot: boot + 1, Names: []string{"n1", "n2", "n3"}}}
		for i := range int64(60) {
			seq++
			r.Events = append(r.Events, recorder.Event{Seq: seq, Mono: i * 1_000_000, Wall: int64(boot)*1000 + i, Kind: recorder.Started + recorder.Kind(i%2)*1000})
		}
		rings = append(rings, r)
	}
	for _, node := range []string{"n2", "n3"} {
		r := recorder.Ring{Section: recorder.Section{Node: node, Boot: 1, Names: []string{"n1", "n2", "n3"}}}
		for i := range int64(30_000) {
			kind := []recorder.Kind{recorder.Unreachable, recorder.Ended, recorder.SlowSave, recorder.Connected}[i%4]
			r.Events = append(r.Events, recorder.Event{Seq: uint64(i + 1), Mono: i * 500_000_000, Wall: i * 500, Kind: kind, Why: recorder.NobodyListens, Peer: 1, A: i * 1000})
		}
		rings = append(rings, r)
	}
	begun := processorTime(t)
	Stories(rings, everything)
	took := processorTime(t) - begun
	if t.Logf("it took %v of processor time", took); took > time.Minute { // before there was an index, it took three
		t.Error("that is too long")
	}
}

// processorTime is what this process has used so far: other programs may keep the
// machine busy meanwhile.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

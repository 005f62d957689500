package verify

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// Goal: a history with many writes of unknown outcome is decided, whether a later read shows
// these writes or not. A time in which all servers are stopped leaves such a history.
// Method: forty clients make puts that have no answer, then others make puts and reads that
// overlap. Reads at the end show eight of the forty and, where all is well, a delete without an
// answer. A search of the history as it stands does not end within 20 seconds.
func TestManyUnknownWritesAreDecided(t *testing.T) {
	for _, lost := range []bool{false, true} {
		finding := stopped(lost).Check(20*time.Second, nil)
		want := Linearizable
		if lost {
			want = Violation
		}
		if finding.Verdict != want {
			t.Errorf("a value that is lost (%v): %s, want %s", lost, finding.Verdict, want)
		}
	}
}

// stopped returns a history with forty puts of unknown outcome. lost: the last read shows a value
// that no order explains.
func stopped(lost bool) *History {
	var all []told
	at, revision := int64(1000), uint64(10)
	for i := range 40 {
		all = append(all, told{call: int64(i), asked: request{action: put, value: fmt.Sprintf("u.%d ", i)}, heard: heard{unknown: true}})
	}
	value := ""
	for i := range 40 { // acknowledged puts that overlap with a read each
		revision++
		value = fmt.Sprintf("a.%d ", i)
		all = append(all,
			told{at, at + 10, request{action: put, value: value}, heard{revision: revision}},
			told{at + 1, at + 12, request{action: get}, heard{value: value, revision: revision}})
		at += 20
	}
	for i := range 8 { // the unknown ones show up late, each behind the one before
		revision++
		value = fmt.Sprintf("u.%d ", 5*i)
		all = append(all, told{at, at + 5, request{action: get}, heard{value: value, revision: revision}})
		at += 20
	}
	if !lost { // a delete leaves every write in doubt, and no search of an order that is not there ends
		all = append(all,
			told{call: at, asked: request{action: remove}, heard: heard{unknown: true}},
			told{at + 1, at + 5, request{action: get}, heard{}})
		at += 20
	}
	revision++
	all = append(all, told{at, at + 5, request{action: add, value: "last "}, heard{revision: revision}})
	if value = "last "; lost {
		value = "nobody's "
	}
	all = append(all, told{at + 10, at + 15, request{action: get}, heard{value: value, revision: revision}})
	return historyOf(all...)
}

// Goal: what settled concludes never changes a verdict.
// Method: small random histories of a register, which loses its value now and then, are judged
// with it and by a search of everything.
func TestWhatIsSettledChangesNoVerdict(t *testing.T) {
	verdicts := map[porcupine.CheckResult]int{}
	for seed := range uint64(3000) {
		operations := drawn(rand.New(rand.NewPCG(seed, 1)))
		want, _ := porcupine.CheckOperationsVerbose(model, operations, time.Minute)
		got, _ := orderOf(operations, time.Now().Add(time.Minute))
		if got != want {
			t.Errorf("seed %d: %s, and %s by a search of all", seed, got, want)
		}
		verdicts[want]++
	}
	if verdicts[porcupine.Ok] < 300 || verdicts[porcupine.Illegal] < 300 {
		t.Errorf("verdicts: %v; both must be common", verdicts)
	}
}

// drawn returns nine requests to a register that overlap, each by a client of its own.
func drawn(r *rand.Rand) []porcupine.Operation {
	var all []porcupine.Operation
	state := register{}
	earlier := []string{""}
	for i := range int64(9) {
		asked := request{action: action(r.IntN(5)), key: "k", expected: earlier[r.IntN(len(earlier))]}
		if asked.action == put || asked.action == add || asked.action == swap {
			asked.value = fmt.Sprintf("%d ", i)
		}
		call, back := i*10-r.Int64N(12), i*10+r.Int64N(12)+1
		var answer heard
		happens := r.IntN(4) > 0
		fits := asked.action != swap || asked.expected == state.value
		switch {
		case asked.action == get:
			answer = heard{value: state.value, revision: state.revision}
			earlier = append(earlier, state.value)
		case asked.action == remove && state.value == "" || !fits:
			answer.refused, happens = true, false
		}
		if happens {
			if ok, next := step(state, asked, heard{revision: answer.revision, value: answer.value}); ok && asked.action != get {
				state = next.(register)
				if state.value != "" {
					state.revision = uint64(i) + 1
					answer.revision = state.revision
				}
			}
		}
		if asked.action != get && (!happens && !answer.refused || r.IntN(4) == 0) {
			answer, back = heard{unknown: true}, never
		}
		if r.IntN(12) == 0 { // the value is lost
			state = register{}
		}
		all = append(all, porcupine.Operation{ClientId: int(i), Input: asked, Call: call, Output: answer, Return: back})
	}
	return all
}

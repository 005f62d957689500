package recorder

import (
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"
	"unsafe"
)

// clocked returns a Recorder of boot 1 of n1 whose time is *now.
func clocked(now *time.Time, former ...Ring) *Recorder {
	r := New(Section{Node: "n1", Boot: 1, Names: []string{"n1", "n2", "n3"}}, former, *now)
	r.now = func() time.Time { return *now }
	return r
}

// all returns the events of all rings.
func all(rings []Ring) (events []Event) {
	for _, r := range rings {
		events = append(events, r.Events...)
	}
	return events
}

// Goal: an event has no more than 72 bytes, so that 65,536 of them are 4.5 MiB, and one
// that was encoded is decoded to itself.
func TestAnEventIsSmallAndKeepsEverything(t *testing.T) {
	if size := unsafe.Sizeof(Event{}); size > eventBytes {
		t.Errorf("an event takes %d bytes in memory, not %d", size, eventBytes)
	}
	e := Event{1, -2, 3, 4, 5, -6, 7, 8, 9, 10, 11, 12}
	b := e.append(nil)
	if len(b) != eventBytes || decodeEvent(b) != e {
		t.Errorf("%+v has %d bytes and becomes %+v", e, len(b), decodeEvent(b))
	}
}

// Goal: the ring holds the last 65,536 events, in order and without a gap, whatever was
// asked for, and memory is bounded however many come.
// Method: three times as many events; asked from the beginning, the middle, the end and
// beyond it.
func TestTheRingHoldsTheEnd(t *testing.T) {
	now := time.Now()
	r := clocked(&now)
	const n = 3*Capacity + 17
	for i := range n {
		r.Record(Event{Kind: Campaign, Term: uint64(i + 1)})
	}
	for _, c := range []struct {
		after       uint64
		limit       int
		first, last uint64
	}{
		{0, 2 * Capacity, n - Capacity + 1, n},
		{n - 10, 100, n - 9, n},
		{n - 5000, 3000, n - 4999, n - 2000},
		{n, 100, 0, 0},
		{n + 100, 100, 0, 0},
		{1<<64 - 1, 100, 0, 0},
		{0, 0, 0, 0},
	} {
		events := all(r.After(c.after, c.limit))
		if c.first == 0 {
			if len(events) != 0 {
				t.Errorf("after %d come %d events", c.after, len(events))
			}
			continue
		}
		if len(events) == 0 || events[0].Seq != c.first || events[len(events)-1].Seq != c.last {
			t.Fatalf("after %d come %d events, want %d to %d", c.after, len(events), c.first, c.last)
		}
		for i, e := range events {
			if e.Seq != c.first+uint64(i) || e.Term != e.Seq || e.Group != 1 {
				t.Fatalf("behind %d comes %+v", c.first+uint64(i)-1, e)
			}
		}
	}
}

// Goal: equal events within a second become one with their number and the longest of
// them, the first is there at once, and none that orders nodes is ever counted.
// Method: slow saves of two kinds among votes, with a clock that the test moves.
func TestEqualEventsOfASecondBecomeOne(t *testing.T) {
	now := time.Now()
	r := clocked(&now)
	step := func(d time.Duration) { now = now.Add(d) }
	for i := range 10 {
		step(50 * time.Millisecond)
		r.Record(Event{Kind: SlowSave, A: int64(100 - i)})
		r.Record(Event{Kind: VoteGranted, Peer: 2, Term: 7})
	}
	r.Record(Event{Kind: Unreachable, Peer: 2, Why: NobodyListens})
	r.Record(Event{Kind: Unreachable, Peer: 3, Why: NobodyListens})
	r.Record(Event{Kind: Unreachable, Peer: 2, Why: NoAnswer})
	if events := all(r.After(0, 100)); len(events) != 14 || events[0].A != 100 || events[0].Count != 0 {
		t.Fatalf("at first %d events are there: %+v", len(events), events)
	}
	step(2 * time.Second)
	events := all(r.After(0, 100))
	last := events[len(events)-1]
	if len(events) != 15 || last.Kind != SlowSave || last.Count != 9 || last.A != 99 {
		t.Errorf("after the second the last of %d events is %+v, want one for 9 with the longest, 99", len(events), last)
	}
	r.Record(Event{Kind: SlowSave, A: 5})
	if e := all(r.After(15, 100)); len(e) != 1 || e[0].A != 5 || e[0].Count != 0 {
		t.Errorf("the first of the next second is %+v", e)
	}
}

// Goal: a storm of different events that could repeat loses none.
func TestMoreKindsThanSlotsAreAllRecorded(t *testing.T) {
	now := time.Now()
	r := clocked(&now)
	now = now.Add(time.Millisecond)
	const n = 3 * repeatSlots
	for i := range n {
		r.Record(Event{Kind: PreVoteRefused, Term: uint64(i)})
	}
	if got := len(all(r.After(0, 1000))); got != n {
		t.Errorf("%d of %d events were recorded", got, n)
	}
}

// Goal: events of earlier boots stay readable and are told apart, also where both have
// the same names in another order; what lies before a gap is left out.
func TestBootsAreToldApart(t *testing.T) {
	now := time.Now()
	former := []Ring{
		{Section{Node: "n1", Boot: 3, Names: []string{"n1"}}, []Event{{Seq: 2, Kind: Started}}},
		{Section{Node: "n1", Boot: 4, Names: []string{"n3", "n2"}}, []Event{{Seq: 9, Kind: Started}, {Seq: 10, Kind: VoteGranted, Peer: 1}}},
	}
	r := clocked(&now, former...)
	r.Record(Event{Kind: VoteGranted, Peer: r.Peer("n3")})
	rings := r.After(0, 100)
	if len(rings) != 2 || rings[0].Boot != 4 || rings[1].Boot != 1 || len(rings[0].Events) != 2 || len(rings[1].Events) != 1 {
		t.Fatalf("the rings are %+v", rings)
	}
	for _, ring := range rings {
		e := ring.Events[len(ring.Events)-1]
		if name := ring.Name(e.Peer); name != "n3" {
			t.Errorf("boot %d says that %q was voted for", ring.Boot, name)
		}
	}
	if rings[1].Events[0].Seq != 11 {
		t.Errorf("the first event of this boot is %d", rings[1].Events[0].Seq)
	}
}

// Goal: recording takes no memory, but for the room of 1,024 events at a time.
func TestRecordingAllocatesNothing(t *testing.T) {
	r := New(Section{Node: "n1"}, nil, time.Now())
	for range Capacity {
		r.Record(Event{Kind: Campaign})
	}
	for _, kind := range []Kind{Campaign, SlowSave} {
		if n := testing.AllocsPerRun(10_000, func() { r.Record(Event{Kind: kind}) }); n != 0 {
			t.Errorf("recording %v takes %v allocations", kind, n)
		}
	}
	var none *Recorder
	none.Record(Event{Kind: Campaign})
	if none.After(0, 1) != nil {
		t.Error("no recorder has events")
	}
}

// Goal: every kind and reason has a word of its own, which leads back to it.
func TestWordsAndNumbersGoTogether(t *testing.T) {
	seen := map[string]string{}
	check := func(word, is string) {
		if other, taken := seen[word]; taken {
			t.Errorf("%q stands for %s and %s", word, other, is)
		}
		seen[word] = is
	}
	for k := Timeout; k <= MinuteFollowed; k++ {
		if k > consensusKinds && k < LoopLate {
			continue
		}
		check(k.String(), fmt.Sprintf("kind %d", uint16(k)))
		if number(kindNames, k.String()) != k {
			t.Errorf("kind %d, %q, becomes %d", uint16(k), k, number(kindNames, k.String()))
		}
	}
	clear(seen)
	for _, w := range []Why{HandedOver, NoIdentity, Fenced, Why(999)} {
		if number(whyNames, w.String()) != w {
			t.Errorf("reason %d, %q, becomes %d", uint16(w), w, number(whyNames, w.String()))
		}
	}
	if k := Kind(999); k.String() != "#999" || number(kindNames, "#999") != k || number(kindNames, "of a later build") != 0 {
		t.Error("a kind of a later build is not kept")
	}
}

func BenchmarkRecord(b *testing.B) {
	r := New(Section{Node: "n1"}, nil, time.Now())
	for range b.N {
		r.Record(Event{Kind: Campaign})
	}
}

// Goal: docs/insight.md lists every kind and reason with its number, and no others.
func TestTheDocumentListsKindsAndReasons(t *testing.T) {
	text, err := os.ReadFile("../../docs/insight.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (\\d+) \\| `(\\w+)` \\| .+ \\|$").FindAllStringSubmatch(string(text), -1) {
		listed[row[1]+" "+row[2]] = true
	}
	wanted := map[string]bool{}
	for k, word := range kindNames {
		wanted[fmt.Sprint(uint16(k), " ", word)] = true
	}
	for w, word := range whyNames {
		wanted[fmt.Sprint(uint16(w), " ", word)] = w != None
	}
	for row := range wanted {
		if wanted[row] && !listed[row] {
			t.Errorf("%q is not in the document", row)
		}
	}
	for row := range listed {
		if !wanted[row] {
			t.Errorf("the document lists %q, which is nothing", row)
		}
	}
}

package labrpc_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/labrpc"
)

// The tests of this file run in virtual time, in which a duration is exact.

// sample makes calls at the same time, and sorts how long they took by how they ended.
func sample(m market, calls int, method string) (answered, failed []time.Duration) {
	all := make([]*pending, calls)
	for i := range all {
		all[i] = start(m.end, method, &Order{"a", 1})
	}
	for _, p := range all {
		<-p.ended
		if p.ok {
			answered = append(answered, p.took)
		} else {
			failed = append(failed, p.took)
		}
	}
	slices.Sort(answered)
	slices.Sort(failed)
	return answered, failed
}

// between checks that a sorted sample fills a range of whole milliseconds: no
// more, and near both ends.
func between(t *testing.T, what string, sorted []time.Duration, low, high, slack time.Duration) {
	t.Helper()
	if len(sorted) == 0 {
		t.Fatalf("%s: none", what)
	}
	least, most := sorted[0], sorted[len(sorted)-1]
	if least < low || least > low+slack || most > high || most < high-slack {
		t.Errorf("%s took %v to %v, want %v to %v", what, least, most, low, high)
	}
	for _, d := range sorted {
		if d%time.Millisecond != 0 {
			t.Fatalf("%s: %v is not whole milliseconds", what, d)
		}
	}
}

// about checks a share.
func about(t *testing.T, what string, part, whole int, want float64) {
	t.Helper()
	if got := float64(part) / float64(whole); got < want-0.02 || got > want+0.02 {
		t.Errorf("%s: %d of %d, %.3f; want %.2f", what, part, whole, got, want)
	}
}

// Goal: a reliable network takes no time and loses nothing. Method: a thousand
// calls.
func TestReliableTakesNoTime(t *testing.T) {
	inBubble(t, func(t *testing.T, m market) {
		answered, failed := sample(m, 1000, "Shop.Buy")
		if len(failed) != 0 || answered[len(answered)-1] != 0 {
			t.Fatalf("%d failed, one took %v", len(failed), answered[len(answered)-1])
		}
	})
}

// Goal: unreliable means up to 26 ms for the request, a tenth of the requests
// lost, a tenth of the replies, and nothing else. Method: many calls from a
// fixed seed; the handler's count tells lost requests from lost replies.
func TestUnreliable(t *testing.T) {
	inBubble(t, func(t *testing.T, m market) {
		const calls = 2000
		m.Seed(1)
		m.Reliable(false)
		answered, failed := sample(m, calls, "Shop.Buy")
		between(t, "answered calls", answered, 0, 26*time.Millisecond, 0)
		between(t, "lost calls", failed, 0, 26*time.Millisecond, 0)
		about(t, "requests that arrived", m.shop.sold(), calls, 0.9)
		about(t, "replies that arrived", len(answered), m.shop.sold(), 0.9)
		if len(slices.Compact(answered)) != labrpc.SHORTDELAY {
			t.Error("some delays never occur")
		}
	})
}

// Goal: long reordering holds two of three replies up, for 200 to 2200 ms,
// about 700 on average, on a network that loses nothing. Method: as above.
func TestLongReordering(t *testing.T) {
	inBubble(t, func(t *testing.T, m market) {
		const calls = 2000
		m.Seed(1)
		m.LongReordering(true)
		answered, _ := sample(m, calls, "Shop.Buy")
		if len(answered) != calls {
			t.Fatalf("%d of %d calls failed", calls-len(answered), calls)
		}
		late, _ := slices.BinarySearch(answered, 1)
		about(t, "replies in time", late, calls, 1.0/3)
		between(t, "late replies", answered[late:], 200*time.Millisecond, 2200*time.Millisecond, 100*time.Millisecond)
		var sum time.Duration
		for _, d := range answered[late:] {
			sum += d
		}
		if mean := sum / time.Duration(calls-late); mean < 660*time.Millisecond || mean > 740*time.Millisecond {
			t.Errorf("late replies take %v on average", mean)
		}
		m.LongReordering(false)
		start(m.end, "Shop.Buy", &Order{"a", 1}).returns(t, true, 0)
	})
}

// Goal: a late reply lets another one overtake it, and arrives even when its end
// is disabled and its server deleted meanwhile: it was sent before. Method: late
// replies pending while both happen.
func TestLateRepliesArrive(t *testing.T) {
	inBubble(t, func(t *testing.T, m market) {
		m.Seed(1)
		m.LongReordering(true)
		var late []*pending
		for range 20 {
			late = append(late, start(m.end, "Shop.Buy", &Order{"a", 1}))
		}
		time.Sleep(100 * time.Millisecond)
		m.LongReordering(false)
		start(m.end, "Shop.Buy", &Order{"a", 1}).returns(t, true, 0)
		m.Enable("end", false)
		m.DeleteServer("shop")
		late = slices.DeleteFunc(late, (*pending).over)
		if len(late) == 0 {
			t.Fatal("no reply is late")
		}
		for _, p := range late {
			if <-p.ended; !p.ok {
				t.Fatal("a late reply did not arrive")
			}
		}
	})
}

// Goal: a call that reaches nobody fails within 100 ms, with long delays
// within 7 s, whatever the reason and whether the network is reliable. Method:
// all reasons with both settings.
func TestNobodyThere(t *testing.T) {
	reasons := map[string]func(m market){
		"disabled":    func(m market) { m.Enable("end", false) },
		"unconnected": func(m market) { m.Connect("end", nil) },
		"no server":   func(m market) { m.Connect("end", "elsewhere") },
		"deleted":     func(m market) { m.DeleteServer("shop") },
		"added nil":   func(m market) { m.AddServer("shop", nil) },
		"deleted end": func(m market) { m.DeleteEnd("end") },
	}
	for name, reason := range reasons {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m market) {
				m.Seed(1)
				m.Reliable(name != "disabled")
				reason(m)
				_, failed := sample(m, 500, "Shop.Buy")
				between(t, "calls", failed, 0, 99*time.Millisecond, 2*time.Millisecond)
				m.LongDelays(true)
				_, failed = sample(m, 500, "Shop.Buy")
				between(t, "with long delays, calls", failed, 0, 6999*time.Millisecond, 100*time.Millisecond)
				if m.shop.sold() != 0 || m.server.GetCount() != 0 {
					t.Fatal("a call arrived")
				}
			})
		})
	}
}

// Goal: a call right after Enable takes 30 ms at most, and calls from before it
// never arrive, though they are still pending. Method: calls on a disabled end
// with long delays, then one on the enabled end.
func TestCallRightAfterEnable(t *testing.T) {
	inBubble(t, func(t *testing.T, m market) {
		m.LongDelays(true)
		m.Enable("end", false)
		var before []*pending
		for range 20 {
			before = append(before, start(m.end, "Shop.Buy", &Order{"early", 1}))
		}
		synctest.Wait()
		m.Enable("end", true)
		p := start(m.end, "Shop.Buy", &Order{"a", 1})
		if <-p.ended; !p.ok || p.took > 30*time.Millisecond {
			t.Fatalf("the call returned %v after %v", p.ok, p.took)
		}
		for _, p := range before {
			if <-p.ended; p.ok {
				t.Fatal("a call on a disabled end was answered")
			}
		}
		if m.GetCount("shop") != 1 || m.shop.sold() != 1 {
			t.Fatalf("%d requests and %d orders, want 1", m.GetCount("shop"), m.shop.sold())
		}
	})
}

// Goal: calls that wait keep nobody from the network. Method: while many calls
// wait for each of the delays, everything else is done in no time at all.
func TestWaitingCallsBlockNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, m market) {
		m.LongDelays(true)
		m.Enable("end", false)
		stuck := m.link("stuck")
		began := time.Now()
		for range 50 {
			start(m.end, "Shop.Buy", &Order{"a", 1})
			start(stuck, "Shop.Wait", &Order{"a", 1})
		}
		synctest.Wait()
		m.Enable("end", true)
		m.LongReordering(true)
		for range 50 {
			start(m.end, "Shop.Buy", &Order{"a", 1})
		}
		synctest.Wait()
		m.LongReordering(false)
		m.MakeEnd("new")
		m.DeleteEnd("new")
		m.AddServer("new", labrpc.MakeServer())
		m.server.AddService(labrpc.MakeService(Stall{}))
		close(m.shop.opened)
		if total := m.GetTotalCount(); !m.buy() || total != 150 || time.Since(began) != 0 {
			t.Fatalf("%d calls, and it took %v", total, time.Since(began))
		}
	})
}

// Goal: the same seed gives the same losses and delays. Method: the outcomes
// of calls one after the other, for two seeds, the first one twice.
func TestSeedRepeats(t *testing.T) {
	type outcome struct {
		ok   bool
		took time.Duration
	}
	run := func(seed uint64) (outcomes []outcome) {
		inBubble(t, func(t *testing.T, m market) {
			m.Seed(seed)
			m.Reliable(false)
			m.LongReordering(true)
			for range 50 {
				p := start(m.end, "Shop.Buy", &Order{"a", 1})
				<-p.ended
				outcomes = append(outcomes, outcome{p.ok, p.took})
			}
		})
		return outcomes
	}
	first := run(1)
	if !slices.Equal(first, run(1)) {
		t.Error("the same seed gave another run")
	}
	if slices.Equal(first, run(2)) {
		t.Error("another seed gave the same run")
	}
}

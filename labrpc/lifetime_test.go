package labrpc_test

import (
	"testing"
	"testing/synctest"
	"time"

	"raftkv/labrpc"
	"raftkv/tests/virtual"
)

// The tests of this file are about calls that outlive what they rely on, in
// virtual time.

// stuckCall starts a call whose handler does not return before the shop opens.
func stuckCall(t *testing.T, m market) *pending {
	t.Helper()
	p := start(m.end, "Shop.Wait", &Order{"a", 1})
	synctest.Wait()
	if m.GetCount("shop") != 1 {
		t.Fatal("the handler does not run")
	}
	return p
}

// Goal: a stuck handler holds its caller up as long as its server is there,
// and at most 100 ms longer. Method: delete the server after 1.1 s.
func TestStuckHandlerOfADeletedServer(t *testing.T) {
	inBubble(t, func(t *testing.T, m market) {
		p := stuckCall(t, m)
		time.Sleep(1100 * time.Millisecond)
		if p.over() {
			t.Fatal("the call returned before its server was deleted")
		}
		m.DeleteServer("shop")
		time.Sleep(100 * time.Millisecond)
		if !p.over() || p.ok {
			t.Fatalf("100 ms after its server was deleted: returned %v, answered %v", p.over(), p.ok)
		}
		close(m.shop.opened)
	})
}

// Goal: the same when the server is replaced, be it by itself; the new one is
// not bothered. Method: add a server of the same name, then the first again.
func TestStuckHandlerOfAReplacedServer(t *testing.T) {
	inBubble(t, func(t *testing.T, m market) {
		p := stuckCall(t, m)
		successor := labrpc.MakeServer()
		successor.AddService(labrpc.MakeService(newShop()))
		m.AddServer("shop", successor)
		m.AddServer("shop", m.server)
		time.Sleep(100 * time.Millisecond)
		if !p.over() || p.ok || successor.GetCount() != 0 {
			t.Fatalf("returned %v, answered %v, the successor got %d", p.over(), p.ok, successor.GetCount())
		}
		close(m.shop.opened)
	})
}

// Goal: the network looks every 100 ms whether the end of a call was disabled.
// Method: disable the end, or delete it, between two looks, and see the call
// return at the second, exactly.
func TestStuckHandlerBehindADisabledEnd(t *testing.T) {
	for name, cut := range map[string]func(m market){
		"disabled": func(m market) { m.Enable("end", false) },
		"deleted":  func(m market) { m.DeleteEnd("end") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m market) {
				p := stuckCall(t, m)
				time.Sleep(350 * time.Millisecond)
				cut(m)
				p.returns(t, false, 400*time.Millisecond)
				close(m.shop.opened)
			})
		})
	}
}

// Goal: an end that is disabled and enabled again between two looks loses
// nothing, however often; and it can still be cut for good. Method: blink
// twice, then let the handler answer, or cut the end.
func TestBlinkingEndKeepsItsCalls(t *testing.T) {
	for _, answer := range []bool{true, false} {
		inBubble(t, func(t *testing.T, m market) {
			p := stuckCall(t, m)
			for range 2 {
				time.Sleep(110 * time.Millisecond)
				m.Enable("end", false)
				time.Sleep(10 * time.Millisecond)
				m.Enable("end", true)
			}
			time.Sleep(260 * time.Millisecond) // it is 500 ms now
			if answer {
				close(m.shop.opened)
				p.returns(t, true, 500*time.Millisecond)
				return
			}
			m.Enable("end", true) // again, which changes nothing
			m.Enable("end", false)
			p.returns(t, false, 600*time.Millisecond)
			close(m.shop.opened)
		})
	}
}

// Goal: where the end leads now does not matter to a pending call. Method:
// connect it elsewhere while the handler runs.
func TestConnectLeavesCallsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, m market) {
		p := stuckCall(t, m)
		m.Connect("end", nil)
		time.Sleep(time.Second)
		close(m.shop.opened)
		p.returns(t, true, time.Second)
	})
}

// Goal: a reply that was not sent before the cut is not sent at all, though
// the handler ran. Method: let the handler return before the next look.
func TestReplyAfterTheCutIsSuppressed(t *testing.T) {
	for name, cut := range map[string]func(m market){
		"deleted":  func(m market) { m.DeleteServer("shop") },
		"replaced": func(m market) { m.AddServer("shop", labrpc.MakeServer()) },
		"disabled": func(m market) { m.Enable("end", false) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m market) {
				p := start(m.end, "Shop.Slow", &Order{"a", 250})
				time.Sleep(240 * time.Millisecond)
				cut(m)
				if <-p.ended; p.ok || p.took > 250*time.Millisecond {
					t.Fatalf("answered %v after %v", p.ok, p.took)
				}
				time.Sleep(10 * time.Millisecond)
				waitFor(t, func() bool { return m.shop.sold() == 1 })
			})
		})
	}
}

// Goal: a request that is pending when its server is deleted never arrives.
// Method: delete the server while slow requests are pending to it.
func TestDeletedServerGetsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, m market) {
		m.Seed(1)
		m.Reliable(false)
		for range 100 {
			start(m.end, "Shop.Buy", &Order{"a", 1})
		}
		time.Sleep(13*time.Millisecond + 1)
		m.DeleteServer("shop")
		before := m.server.GetCount()
		time.Sleep(time.Second)
		if after := m.server.GetCount(); before == 0 || before > 60 || after != before {
			t.Fatalf("%d requests before, %d after", before, after)
		}
	})
}

// Goal: Cleanup ends every call at once, whatever it waits for; later calls fail
// at once; and nothing at all is left in the bubble, or synctest would report it.
// Method: pending calls of every kind, then Cleanup, twice.
func TestCleanupEndsEverything(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		m := newMarket()
		var all []*pending
		begin := func(name string, prepare func(), calls int, method string) {
			end := m.link(name)
			prepare()
			for range calls {
				all = append(all, start(end, method, &Order{"a", 1}))
			}
			synctest.Wait()
			m.Reliable(true)
			m.LongDelays(false)
			m.LongReordering(false)
		}
		begin("dead", func() { m.Enable("dead", false); m.LongDelays(true) }, 50, "Shop.Buy")
		begin("lossy", func() { m.Reliable(false) }, 50, "Shop.Buy")
		begin("late", func() { m.LongReordering(true) }, 50, "Shop.Buy")
		begin("stuck", func() {}, 50, "Shop.Wait")
		begin("cut", func() {}, 50, "Shop.Wait")
		m.Enable("cut", false) // these wait for their next look
		synctest.Wait()
		left := 0
		for _, p := range all {
			if !p.over() {
				left++
			}
		}
		if left < 200 {
			t.Fatalf("only %d calls are under way", left)
		}
		began := time.Now()
		m.Cleanup()
		m.Cleanup()
		waitFor(t, func() bool {
			for _, p := range all {
				if !p.over() {
					return false
				}
			}
			return true
		})
		close(m.shop.opened)
		sold, bytes := m.shop.sold(), m.GetTotalBytes()
		if m.buy() || m.link("new").Call("Shop.Buy", &Order{"a", 1}, new(Receipt)) || time.Since(began) != 0 {
			t.Fatalf("after Cleanup, a call was answered or took %v", time.Since(began))
		}
		if m.shop.sold() > sold+100 || m.GetTotalBytes() != bytes || m.GetTotalCount() != 250 {
			t.Fatalf("after Cleanup the network counted on: %d calls, %d bytes", m.GetTotalCount(), m.GetTotalBytes())
		}
	})
}

// Goal: a network that is not cleaned up leaves nothing behind either once its
// calls have returned. Method: a bubble without Cleanup.
func TestIdleNetworkLeavesNothing(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		m := newMarket()
		m.LongDelays(true)
		m.buy()
		m.Enable("end", false)
		m.buy()
	})
}

// Goal: a call that nothing can end is seen as the deadlock it is: virtual time
// does not run on by itself. Method: with a stuck call pending, the bubble comes
// to rest, and an hour of sleep is one step.
func TestStuckCallKeepsNoClockRunning(t *testing.T) {
	inBubble(t, func(t *testing.T, m market) {
		p := stuckCall(t, m)
		time.Sleep(10000 * time.Hour) // 360 million looks, were there any
		if p.over() {
			t.Fatal("the call returned")
		}
		close(m.shop.opened)
	})
}

package labrpc_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/labrpc"
)

// waitFor waits, in a bubble, until nothing moves; then the condition must
// hold.
func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	synctest.Wait()
	if !condition() {
		t.Fatal("the network came to rest in another state")
	}
}

// Goal: a server counts the requests it was given, the network all of them.
// Method: 17 calls that arrive, then 3 that do not.
func TestCounts(t *testing.T) {
	m := newMarket()
	defer m.Cleanup()
	for range 17 {
		if !m.buy() {
			t.Fatal("no reply")
		}
	}
	m.Enable("end", false)
	for range 3 {
		if m.buy() {
			t.Fatal("a disabled end let a call through")
		}
	}
	if m.GetCount("shop") != 17 || m.server.GetCount() != 17 || m.GetTotalCount() != 20 {
		t.Fatalf("%d by name, %d on the server, %d in total", m.GetCount("shop"), m.server.GetCount(), m.GetTotalCount())
	}
}

// Goal: the count belongs to the server, not to its name, and asking after a
// server that is not there is no crash. Method: delete and add again, the same
// server and another one.
func TestCountOfADeletedServerIsZero(t *testing.T) {
	m := newMarket()
	defer m.Cleanup()
	m.buy()
	m.DeleteServer("shop")
	if m.GetCount("shop") != 0 || m.GetCount("nobody") != 0 {
		t.Fatal("a server that is not there has a count")
	}
	if m.server.GetCount() != 1 {
		t.Fatal("the server itself lost its count")
	}
	m.AddServer("shop", m.server)
	if m.GetCount("shop") != 1 {
		t.Fatal("the same server came back with another count")
	}
	m.AddServer("shop", labrpc.MakeServer())
	if m.GetCount("shop") != 0 {
		t.Fatal("a new server began with the count of the old")
	}
}

// Goal: bytes are those of all arguments and of the replies that arrived, each
// call paying for its own type descriptions. Method: 17 calls of known size,
// compared exactly.
func TestBytes(t *testing.T) {
	m := newMarket()
	defer m.Cleanup()
	order := Order{strings.Repeat("ab", 2500), 1}
	each := encodedSize(t, &order) + encodedSize(t, &Receipt{order.Item, map[string]int{order.Item: 1}})
	for i := range int64(17) {
		if !m.end.Call("Shop.Buy", &order, new(Receipt)) {
			t.Fatal("no reply")
		}
		if got := m.GetTotalBytes(); got != (i+1)*each {
			t.Fatalf("after %d calls of %d bytes each: %d", i+1, each, got)
		}
	}
}

// Goal: a reply that is not delivered costs nothing. Method: one call each
// that nobody gets, that is lost with its server, and that outlives the
// network.
func TestBytesOfAReplyThatIsNotDelivered(t *testing.T) {
	inBubble(t, func(t *testing.T, m market) {
		request := encodedSize(t, &Order{"a", 1})
		m.Enable("end", false)
		m.buy()
		m.Enable("end", true)
		lost := start(m.end, "Shop.Wait", &Order{"a", 1})
		synctest.Wait()
		m.DeleteServer("shop")
		lost.returns(t, false, 0)
		close(m.shop.opened)
		waitFor(t, func() bool { return m.shop.sold() == 1 })
		m.AddServer("shop", m.server)
		late := start(m.end, "Shop.Slow", &Order{"a", 1})
		synctest.Wait()
		m.Cleanup()
		late.returns(t, false, 0)
		time.Sleep(time.Second)
		m.buy() // refused, not counted
		if m.GetTotalBytes() != 3*request || m.GetTotalCount() != 3 {
			t.Fatalf("%d calls and %d bytes, want 3 of %d", m.GetTotalCount(), m.GetTotalBytes(), request)
		}
	})
}

// Goal: on an unreliable network lost requests and lost replies count as
// documented. Method: compare the totals with what arrived.
func TestCountsOnAnUnreliableNetwork(t *testing.T) {
	inBubble(t, func(t *testing.T, m market) {
		const calls = 300
		m.Seed(1)
		m.Reliable(false)
		answered := int64(0)
		for range calls {
			if m.buy() {
				answered++
			}
		}
		request := encodedSize(t, &Order{"a", 1})
		reply := encodedSize(t, &Receipt{"a", map[string]int{"a": 1}})
		if m.GetTotalCount() != calls || m.GetCount("shop") != m.shop.sold() || m.GetTotalBytes() != calls*request+answered*reply {
			t.Fatalf("%d calls, %d requests, %d bytes", m.GetTotalCount(), m.GetCount("shop"), m.GetTotalBytes())
		}
		if sold := int64(m.shop.sold()); sold >= calls || answered >= sold || answered == 0 {
			t.Fatalf("of %d calls %d arrived and %d were answered", calls, sold, answered)
		}
	})
}

package labrpc_test

import (
	"maps"
	"sync"
	"testing"

	"raftkv/labrpc"
)

// Goal: a call carries its arguments to the handler and the reply back.
// Method: arguments by pointer, by value, and of types without a name, in real
// time.
func TestCallRunsTheHandler(t *testing.T) {
	m := newMarket()
	defer m.Cleanup()
	var receipt Receipt
	if !m.end.Call("Shop.Buy", &Order{"ab", 2}, &receipt) || receipt.Text != "abab" || !maps.Equal(receipt.By, map[string]int{"ab": 2}) {
		t.Fatalf("by pointer: %+v", receipt)
	}
	receipt = Receipt{}
	if !m.end.Call("Shop.BuyOne", Order{"c", 3}, &receipt) || receipt.Text != "ccc" {
		t.Fatalf("by value: %+v", receipt)
	}
	var sum int
	if !m.end.Call("Shop.Sum", []int{1, 2, 39}, &sum) || sum != 42 {
		t.Fatalf("sum %d", sum)
	}
	if m.shop.orders[0] != (Order{"ab", 2}) || m.shop.orders[1] != (Order{"c", 3}) || m.shop.sold() != 2 {
		t.Fatalf("the shop got %+v", m.shop.orders)
	}
}

// Goal: the server decodes into the caller's type, not the handler's. Method:
// a handler that takes anything says what it got.
func TestServerDecodesIntoTheCallersType(t *testing.T) {
	m := newMarket()
	defer m.Cleanup()
	for _, c := range []struct {
		args any
		want string
	}{
		{Order{"x", 1}, "labrpc_test.Order {x 1}"},
		{&Order{"x", 1}, "*labrpc_test.Order &{x 1}"},
		{7, "int 7"},
		{"seven", "string seven"},
		{[]int{7}, "[]int [7]"},
		{map[string]bool{"k": true}, "map[string]bool map[k:true]"},
	} {
		var got string
		if !m.end.Call("Shop.Name", c.args, &got) || got != c.want {
			t.Errorf("the handler got %q, want %q", got, c.want)
		}
	}
}

// Goal: caller and handler share no memory. Method: each changes what it has
// after the call.
func TestCallCopies(t *testing.T) {
	m := newMarket()
	defer m.Cleanup()
	amounts := []int{1}
	k := &Keeper{}
	m.server.AddService(labrpc.MakeService(k))
	var reply []int
	if !m.end.Call("Keeper.Keep", amounts, &reply) {
		t.Fatal("no reply")
	}
	amounts[0], k.kept[0] = 2, 3
	if reply[0] != 1 {
		t.Fatalf("the reply became %d", reply[0])
	}
	amounts[0] = 4
	if k.kept[0] != 3 {
		t.Fatalf("the handler's arguments became %d", k.kept[0])
	}
}

// Keeper keeps the values it is given, and returns them.
type Keeper struct{ kept []int }

func (k *Keeper) Keep(amounts []int, reply *[]int) { k.kept, *reply = amounts, amounts }

// Stall is a value, not a pointer, with a method that a call can reach.
type Stall struct{ sign string }

func (s Stall) Sign(_ int, reply *string) { *reply = s.sign }

// Goal: a service is named like its type or the type pointed to, and a server
// holds several, the last of each name. Method: two services in addition to the
// shop; one of them by value.
func TestServiceIsNamedLikeItsType(t *testing.T) {
	m := newMarket()
	defer m.Cleanup()
	m.server.AddService(labrpc.MakeService(&Stall{"first"}))
	m.server.AddService(labrpc.MakeService(Stall{"second"}))
	var sign string
	if !m.end.Call("Stall.Sign", 0, &sign) || sign != "second" {
		t.Fatalf("the sign says %q", sign)
	}
	if !m.buy() {
		t.Fatal("the other service is gone")
	}
}

// Goal: an end reaches whom it is connected to, at the time of the call.
// Method: two servers, one end that moves between them, and a server that is
// added after the end was connected to its name.
func TestEndLeadsWhereItIsConnected(t *testing.T) {
	n := labrpc.MakeNetwork()
	defer n.Cleanup()
	stalls := map[any]string{"north": "N", 7: "S"}
	end := n.MakeEnd([2]int{1, 2})
	n.Enable([2]int{1, 2}, true)
	for name, sign := range stalls {
		n.Connect([2]int{1, 2}, name)
		server := labrpc.MakeServer()
		server.AddService(labrpc.MakeService(Stall{sign}))
		n.AddServer(name, server)
	}
	for _, name := range []any{"north", 7, "north"} {
		n.Connect([2]int{1, 2}, name)
		var sign string
		if !end.Call("Stall.Sign", 0, &sign) || sign != stalls[name] {
			t.Fatalf("connected to %v, the end reached %q", name, sign)
		}
	}
}

// Goal: names that are not there are no error where editions use them so.
// Method: switch and delete what does not exist.
func TestUnknownNamesAreIgnored(t *testing.T) {
	m := newMarket()
	defer m.Cleanup()
	m.Connect("nobody", "shop")
	m.Enable("nobody", true)
	m.DeleteServer("nobody")
	if !m.buy() {
		t.Fatal("no reply")
	}
	// What was said of the name before the end was made does not count.
	if m.MakeEnd("nobody").Call("Shop.Buy", &Order{"a", 1}, new(Receipt)) {
		t.Fatal("a new end is enabled and connected")
	}
}

// Goal: the switches read back what was set. Method: both values of both.
func TestSwitchesReadBack(t *testing.T) {
	n := labrpc.MakeNetwork()
	defer n.Cleanup()
	if !n.IsReliable() || n.IsLongDelays() {
		t.Fatal("a new network is reliable, without long delays")
	}
	for _, yes := range []bool{false, true} {
		n.Reliable(yes)
		n.LongDelays(!yes)
		if n.IsReliable() != yes || n.IsLongDelays() == yes {
			t.Fatalf("set %v and %v, got %v and %v", yes, !yes, n.IsReliable(), n.IsLongDelays())
		}
	}
	if labrpc.SHORTDELAY != 27 || labrpc.LONGDELAY != 7000 || labrpc.MAXDELAY != 7100 {
		t.Fatal("the bounds have changed")
	}
}

// Goal: many callers on many ends do not disturb each other. Method: 20 ends,
// each with its goroutine and 10 calls, each with its own answer; real time,
// for the race detector.
func TestManyEndsAtOnce(t *testing.T) {
	const ends, calls = 20, 10
	m := newMarket()
	defer m.Cleanup()
	var wg sync.WaitGroup
	for i := range ends {
		wg.Go(func() {
			end := m.link(string(rune('a' + i)))
			for j := range calls {
				var sum int
				if !end.Call("Shop.Sum", []int{i * 100, j}, &sum) || sum != i*100+j {
					t.Errorf("end %d, call %d: got %d", i, j, sum)
				}
			}
		})
	}
	wg.Wait()
	if n := m.GetCount("shop"); n != ends*calls {
		t.Fatalf("%d requests, want %d", n, ends*calls)
	}
}

// Goal: many calls on one end are pending together. Method: 20 handlers that all
// wait; only when all have begun may they return.
func TestManyCallsOnOneEnd(t *testing.T) {
	const calls = 20
	inBubble(t, func(t *testing.T, m market) {
		var all []*pending
		for range calls {
			all = append(all, start(m.end, "Shop.Wait", &Order{"a", 1}))
		}
		waitFor(t, func() bool { return m.GetCount("shop") == calls })
		close(m.shop.opened)
		for _, p := range all {
			p.returns(t, true, 0)
		}
		if m.shop.sold() != calls {
			t.Fatalf("%d orders arrived, want %d", m.shop.sold(), calls)
		}
	})
}

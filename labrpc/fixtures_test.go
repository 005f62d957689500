package labrpc_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/labrpc"
	"raftkv/labrpc/labgob"
	"raftkv/tests/virtual"
)

// Order and Receipt are what the tests send and get.
type Order struct {
	Item   string
	Amount int
}

type Receipt struct {
	Text string
	By   map[string]int
}

// Shop is the service of the tests.
type Shop struct {
	opened chan struct{} // Wait returns when it is closed

	mu     sync.Mutex
	orders []Order
}

func newShop() *Shop { return &Shop{opened: make(chan struct{})} }

// Buy takes its arguments by pointer.
func (s *Shop) Buy(order *Order, reply *Receipt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orders = append(s.orders, *order)
	reply.Text = strings.Repeat(order.Item, order.Amount)
	reply.By = map[string]int{order.Item: order.Amount}
}

// BuyOne takes its arguments by value.
func (s *Shop) BuyOne(order Order, reply *Receipt) { s.Buy(&order, reply) }

// Sum takes and answers types without a name.
func (s *Shop) Sum(amounts []int, reply *int) {
	for _, amount := range amounts {
		*reply += amount
	}
}

// Name answers with the dynamic type of its arguments.
func (s *Shop) Name(args any, reply *string) { *reply = fmt.Sprintf("%T %v", args, args) }

// Wait does not return before the shop opens.
func (s *Shop) Wait(order *Order, reply *Receipt) {
	<-s.opened
	s.Buy(order, reply)
}

// Slow takes as many milliseconds as the amount.
func (s *Shop) Slow(order *Order, reply *Receipt) {
	time.Sleep(time.Duration(order.Amount) * time.Millisecond)
	s.Buy(order, reply)
}

// sold returns the number of orders that arrived.
func (s *Shop) sold() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.orders)
}

// market is a network with one shop and one end that leads to it.
type market struct {
	*labrpc.Network
	end    *labrpc.ClientEnd
	server *labrpc.Server
	shop   *Shop
}

func newMarket() market {
	m := market{Network: labrpc.MakeNetwork(), server: labrpc.MakeServer(), shop: newShop()}
	m.server.AddService(labrpc.MakeService(m.shop))
	m.AddServer("shop", m.server)
	m.end = m.link("end")
	return m
}

// link makes an enabled end that leads to the shop.
func (m market) link(name string) *labrpc.ClientEnd {
	end := m.MakeEnd(name)
	m.Connect(name, "shop")
	m.Enable(name, true)
	return end
}

// buy calls Buy for one item.
func (m market) buy() bool { return m.end.Call("Shop.Buy", &Order{"a", 1}, new(Receipt)) }

// pending is a call in a goroutine of its own.
type pending struct {
	ended chan struct{}
	ok    bool
	took  time.Duration
}

// start calls a method of the shop.
func start(end *labrpc.ClientEnd, method string, args any) *pending {
	p := &pending{ended: make(chan struct{})}
	started := time.Now()
	go func() {
		defer close(p.ended)
		p.ok = end.Call(method, args, new(Receipt))
		p.took = time.Since(started)
	}()
	return p
}

// over reports whether the call has returned.
func (p *pending) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// returns waits for the call to end, which must be as told: with ok, and
// after the time took.
func (p *pending) returns(t *testing.T, ok bool, took time.Duration) {
	t.Helper()
	<-p.ended
	if p.ok != ok || p.took != took {
		t.Fatalf("the call returned %v after %v; it should return %v after %v", p.ok, p.took, ok, took)
	}
}

// inBubble runs a test in virtual time on a market that is cleaned up.
func inBubble(t *testing.T, test func(t *testing.T, m market)) {
	t.Helper()
	virtual.Time(t, func(t *testing.T) {
		m := newMarket()
		defer m.Cleanup()
		test(t, m)
	})
}

// encodedSize returns the number of bytes that a value takes on the network.
func encodedSize(t *testing.T, value any) int64 {
	t.Helper()
	var b bytes.Buffer
	if err := labgob.NewEncoder(&b).Encode(value); err != nil {
		t.Fatal(err)
	}
	return int64(b.Len())
}

package port

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// Goal: those who wait at the gate are let in together, and not before all of the
// burst ahead of them have left: then the processors have run out of work in between.
// They are let in in the order in which they came, and no more than a burst.
// Method: a full gate and one and a half bursts that wait; time is the bubble's.
func TestTheGateLetsInBurstsThatDoNotOverlap(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPort(nil)
		burst := p.gate.burst
		fillGate(p)
		entered := make(chan int, 2*burst)
		conns := make([]*Conn, burst+burst/2)
		for i := range conns {
			ours, theirs := net.Pipe()
			defer ours.Close()
			defer theirs.Close()
			conns[i] = &Conn{Conn: ours, port: p}
			go func() {
				conns[i].enterGate()
				entered <- i
			}()
			synctest.Wait()
		}
		for range burst - 1 {
			p.gate.leave()
		}
		synctest.Wait()
		if len(entered) != 0 || p.gate.held() != 1 {
			t.Errorf("%d were let in and %d are inside while one of the burst ahead was there", len(entered), p.gate.held())
		}
		if p.gate.enter(&Conn{port: p}) {
			t.Error("one that came last was let in first")
		}
		p.gate.leave()
		synctest.Wait()
		if len(entered) != burst || p.gate.held() != burst {
			t.Fatalf("%d were let in and %d are inside, want %d", len(entered), p.gate.held(), burst)
		}
		for range burst {
			if i := <-entered; i >= burst {
				t.Errorf("the one that came as number %d was let in before one of the first %d", i, burst)
			}
		}
		for _, c := range conns[:burst] {
			c.LeaveGate()
			c.LeaveGate() // it may be called at any time
		}
		synctest.Wait()
		if want := burst/2 + 1; len(entered) != burst/2 || p.gate.held() != want {
			t.Errorf("%d were let in and %d are inside, want all %d", len(entered), p.gate.held(), want)
		}
		for _, c := range conns[burst:] {
			c.LeaveGate()
		}
		p.gate.leave()
		if p.gate.held() != 0 {
			t.Errorf("%d are inside at the end", p.gate.held())
		}
	})
}

// Goal: who has waited for long enough goes on without a place, leaves the queue, and
// may wait again; those behind it are let in when their turn comes.
// Method: a full gate and three that wait, of which the one in the middle comes later.
func TestWhoGivesUpAtTheGateLeavesTheQueue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPort(nil)
		fillGate(p)
		first, second := &Conn{port: p}, &Conn{port: p}
		for range 2 { // a connection waits again and again
			began := time.Now()
			first.enterGate()
			if took := time.Since(began); took != gateLimit || first.inside.Load() || first.queued.waits {
				t.Errorf("after %v it is inside: %v, in the queue: %v", took, first.inside.Load(), first.queued.waits)
			}
			first.LeaveGate()
		}
		done := make(chan time.Duration, 2)
		for _, c := range []*Conn{first, second} {
			began := time.Now()
			go func() {
				c.enterGate()
				done <- time.Since(began)
			}()
			synctest.Wait()
			time.Sleep(gateLimit / 2)
		}
		time.Sleep(gateLimit / 4) // the first has given up, the second waits
		emptyGate(p)
		synctest.Wait()
		if a, b := <-done, <-done; a != gateLimit || b != gateLimit*3/4 {
			t.Errorf("they waited for %v and %v", a, b)
		}
		if first.inside.Load() || !second.inside.Load() || p.gate.held() != 1 || p.gate.first != nil || p.gate.last != nil {
			t.Errorf("inside: %v and %v, %d in all", first.inside.Load(), second.inside.Load(), p.gate.held())
		}
		second.LeaveGate()
	})
}

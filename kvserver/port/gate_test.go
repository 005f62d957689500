package port

import (
	"testing"
	"testing/synctest"
	"time"
)

// Goal: while nobody waits there is room for many. Once somebody waits, only half of
// the processors are given away: nobody enters before nearly all have left, and then
// one for each that leaves, in the order in which they came.
// Method: a full gate and some that wait; time is the bubble's.
func TestTheGateHasLessRoomWhileOthersWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPort(nil)
		width := p.gate.width
		fillGate(p)
		conns := make([]*Conn, 2*width+3)
		entered := make(chan int, len(conns))
		for i := range conns {
			conns[i] = &Conn{port: p}
			go func() {
				conns[i].enterGate()
				entered <- i
			}()
			synctest.Wait()
		}
		for range p.gate.room - width {
			p.gate.leave()
		}
		synctest.Wait()
		if len(entered) != 0 || p.gate.held() != width {
			t.Errorf("%d were let in while %d were inside", len(entered), p.gate.held())
		}
		if late := new(Conn); p.gate.enter(late) || !p.gate.giveUp(late) {
			t.Error("one that came last was let in first")
		}
		for i, c := range conns {
			if i < width { // those that filled the gate
				p.gate.leave()
			} else {
				conns[i-width].LeaveGate()
				conns[i-width].LeaveGate() // it may be called at any time
			}
			synctest.Wait()
			if len(entered) != 1 || <-entered != i || p.gate.held() != width || !c.inside.Load() {
				t.Fatalf("number %d was not let in alone; %d are inside, want %d", i, p.gate.held(), width)
			}
		}
		for _, c := range conns[len(conns)-width:] {
			c.LeaveGate()
		}
		if p.gate.held() != 0 {
			t.Errorf("%d are inside at the end", p.gate.held())
		}
		fillGate(p) // as at the beginning
		emptyGate(p)
	})
}

// Goal: a connection that has waited for long enough goes on without a place, leaves the queue, and
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

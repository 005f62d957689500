package port

import (
	"runtime"
	"sync"
	"time"
)

// gate bounds how many connections keep the processors busy with requests that
// have come, up to where a request waits for something. It is there for
// consensus, which shares the process: the Go runtime asks the network for news
// only when a processor has nothing else to do, or else every ten milliseconds
// for a handful of connections. Where thousands of clients talk at once, every
// processor always has something else to do, and a heartbeat waited for half a
// second behind them.
//
// While nobody waits, a connection enters if there is room: with few clients nobody
// ever waits, and their requests come to the log together. Once there is none, those
// that come wait until nearly all inside have left. As long as anybody waits,
// only half of the processors are given to those inside, so that there is always one
// that asks the network.
//
// A connection enters when bytes of a request have come. It leaves when it reads
// again, which net/http does during a handler, too, once it has the whole
// request; at the latest before it may have to wait for anything else
// (Context of a request stands before all such waits, and a write before the wait for
// the client). What is left to do then is short, and answers are few at one
// time, as the writes in flight are.
type gate struct {
	room  int // how many may be inside while nobody waits
	width int // how many may be inside while others wait

	mu          sync.Mutex // guards the fields below, and Conn.queued but for its timer
	inside      int
	first, last *Conn // those that wait, in the order in which they came
}

// roomPerProcessor is how many connections may be inside for each processor while
// nobody waits: about a millisecond's work. Where 1,000 connections waited, letting that
// many of them in at once made the slowest messages of a peer three times as slow.
const roomPerProcessor = 32

// gateLimit is how long a connection waits at most. It goes on without a place
// then: whatever holds the places, not all clients shall wait for it.
const gateLimit = time.Second

func newGate() *gate {
	processors := runtime.GOMAXPROCS(0)
	return &gate{room: roomPerProcessor * processors, width: max(1, processors/2)}
}

// queued is what a connection needs to wait at the gate.
type queued struct {
	next, previous *Conn         // in the queue
	waits          bool          // it is in the queue
	admitted       chan struct{} // holds a token once it was let in; nil: it has never waited
	timer          *time.Timer
}

// enter lets a connection in, or gives it a place in the queue and returns false.
func (g *gate) enter(c *Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.first == nil && g.inside < g.room {
		g.admitLocked(c)
		return true
	}
	if c.queued.admitted == nil {
		c.queued.admitted = make(chan struct{}, 1)
	}
	c.queued.waits, c.queued.previous = true, g.last
	if g.last == nil {
		g.first = c
	} else {
		g.last.queued.next = c
	}
	g.last = c
	return false
}

// giveUp takes a connection out of the queue. It returns false if the connection was
// let in at the same moment.
func (g *gate) giveUp(c *Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !c.queued.waits {
		return false
	}
	g.removeLocked(c)
	return true
}

// leave makes the place free of one that was inside, and lets the next ones in.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	for g.first != nil && g.inside < g.width {
		c := g.first
		g.removeLocked(c)
		g.admitLocked(c)
		c.queued.admitted <- struct{}{} // there is room: it waits once at a time
	}
}

func (g *gate) admitLocked(c *Conn) {
	g.inside++
	c.inside.Store(true)
}

func (g *gate) removeLocked(c *Conn) {
	q := &c.queued
	if q.previous == nil {
		g.first = q.next
	} else {
		q.previous.queued.next = q.next
	}
	if q.next == nil {
		g.last = q.previous
	} else {
		q.next.queued.previous = q.previous
	}
	q.next, q.previous, q.waits = nil, nil, false
}

// held returns how many are inside.
func (g *gate) held() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside
}

// enterGate is called by the goroutine that reads, of which there is one at a time.
func (c *Conn) enterGate() {
	c.atGate.Store(true)
	g := c.port.gate
	if g.enter(c) {
		return
	}
	q := &c.queued
	if q.timer == nil {
		q.timer = time.NewTimer(gateLimit)
	} else {
		q.timer.Reset(gateLimit)
	}
	select {
	case <-q.admitted:
		q.timer.Stop()
	case <-q.timer.C:
		if !g.giveUp(c) {
			<-q.admitted
		} // otherwise atGate stays: what came is being served
	}
}

// LeaveGate lets others in. It may be called at any time, on any connection and on
// none.
func (c *Conn) LeaveGate() {
	if c == nil {
		return
	}
	if c.atGate.Load() {
		c.atGate.Store(false)
	}
	if c.inside.Load() && c.inside.CompareAndSwap(true, false) {
		c.port.gate.leave()
	}
}

package port

import (
	"context"
	"runtime"
	"time"
)

// gate bounds how many connections keep a processor busy with a request that
// has come, up to where the request waits for something. It is there for
// consensus, which shares the process: the Go runtime asks the network for news
// only when a processor has nothing else to do, or else every ten milliseconds
// for a handful of connections. Where thousands of clients talk at once, every
// processor always has something else to do, and a heartbeat waited for half a
// second behind them. With the gate there is always one that has not.
//
// A connection enters when bytes of a request have come. It leaves when it reads
// again, which net/http does during a handler, too, once it has the whole
// request; at the latest before it may have to wait for anything else
// (Context of a request stands before all such waits, and a write before the wait for
// the client). What is left to do then is short, and answers are few at one
// time, as the writes in flight are.
type gate chan struct{}

func newGate() gate { return make(gate, max(1, runtime.GOMAXPROCS(0)/2)) }

// gateLimit is how long a connection waits at most. It goes on without a place
// then: whatever holds the places, not all clients shall wait for it.
const gateLimit = time.Second

func (c *Conn) enterGate() {
	c.atGate.Store(true)
	select {
	case c.port.gate <- struct{}{}:
		c.inside.Store(true)
		return
	default:
	}
	timer := time.NewTimer(gateLimit)
	defer timer.Stop()
	select {
	case c.port.gate <- struct{}{}:
		c.inside.Store(true)
	case <-timer.C: // atGate stays: what came is being served
	}
}

// leaveGate lets the next one in. It may be called at any time, on any
// connection and on none.
func (c *Conn) leaveGate() {
	if c == nil {
		return
	}
	c.atGate.Store(false)
	if c.inside.CompareAndSwap(true, false) {
		<-c.port.gate
	}
}

// LeaveGate is leaveGate for the connection of a request, whose context is ctx.
func LeaveGate(ctx context.Context) {
	c, _ := ctx.Value(connKey{}).(*Conn)
	c.leaveGate()
}

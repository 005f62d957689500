package clerkd

import (
	"context"
	"net"
	"sync"
	"sync/atomic"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/txn"
)

const (
	// maxInFlight is how many requests of one Clerk are served at the same time; at
	// that number no more are read.
	maxInFlight = 1024
	// maxOutBytes is how many bytes of answers may wait for a Clerk that reads
	// slowly before reads wait, too.
	maxOutBytes = 4 << 20
)

// conn is the connection of one Clerk, or of a node that forwards writes. One goroutine
// reads requests, one writes answers; in between a write is an entry among those that wait for the
// applier, and the reads that came together are a goroutine. If there are watches, one
// more goroutine serves all of them.
type conn struct {
	door *Door
	out  *clerkwire.Outbox
	uid  kvserver.UID // of the cluster, as the greeting has said; zero if it was not known
	// watches are those on the connection; see watches.
	watches watches
	// maxInFlight is how many requests are served at the same time.
	maxInFlight int
	// second says that the client is a Clerk that speaks protocol 2: it is told of changes of
	// the members, and reads say when keys were created and to which leases they are tied.
	second bool
	// forwards says that a node which forwards has made the connection. Those of others share
	// a bound with watches.
	forwards bool
	// first is the caller that made the connection, which its limits count for; who is
	// the one that makes requests now.
	first kvserver.Caller
	who   atomic.Pointer[kvserver.Caller]
	// lifetime ends with the connection, and with it what waits for nobody else.
	lifetime context.Context
	end      context.CancelFunc

	mu       sync.Mutex // guards the fields below
	room     sync.Cond  // requests were answered
	conn     net.Conn   // nil until served
	inFlight int
	watching int                     // watches that are in place
	counted  int                     // requests that count for the limits of first
	told     api.ConfigurationNumber // the newest that the client was told
	leaving  bool                    // no more requests are taken; the connection ends when none is in flight, and no watch is left
	killed   bool
}

// newConn returns a connection on which greeting is the first to leave, which
// names the cluster's uid.
func newConn(d *Door, uid kvserver.UID, greeting string, who kvserver.Caller) *conn {
	c := &conn{door: d, uid: uid, maxInFlight: maxInFlight, out: clerkwire.NewOutbox(), first: who}
	c.who.Store(&who)
	c.lifetime, c.end = context.WithCancel(context.Background())
	c.out.End(append(c.out.Begin(), greeting...))
	c.room.L = &c.mu
	c.watches.set(c)
	return c
}

// serve serves the connection until its end and closes it.
func (c *conn) serve(to net.Conn, frames *clerkwire.FrameReader) {
	var writing sync.WaitGroup
	defer writing.Wait()
	if !c.begin(to) {
		return
	}
	writing.Go(func() {
		// Why it failed is of no use here: the client has gone or will ask again.
		_ = c.out.Run(to)
		to.Close()
	})
	r := reader{conn: c, door: c.door, server: c.door.server, frames: frames}
	r.run()
	c.kill()
	c.watches.close()
}

// begin makes to the connection, unless its end has come before.
func (c *conn) begin(to net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = to
	if c.killed {
		to.Close()
		return false
	}
	return true
}

// kill ends the connection at once. Requests in flight go on, and their answers
// go nowhere.
func (c *conn) kill() {
	c.out.Kill()
	c.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.killed = true
	if c.conn != nil {
		c.conn.Close() // does not wait
	}
	c.room.Broadcast()
}

// sendAway tells the Clerk to send no more requests, and ends the connection
// when those in flight are answered.
func (c *conn) sendAway() {
	if !c.setLeaving() {
		return
	}
	c.out.End(clerkwire.AppendFrame(c.out.Begin(), clerkwire.KindGoodbye, 0, clerkwire.Empty{}))
	c.watches.stop()
	c.leave(0)
}

// tell tells a Clerk of a configuration, unless it was told of that or a newer one.
func (c *conn) tell(n api.ConfigurationNumber) {
	if !c.second {
		return
	}
	c.mu.Lock()
	newer := c.told.Before(n)
	if newer {
		c.told = n
	}
	c.mu.Unlock()
	if newer {
		c.out.End(clerkwire.AppendFrame(c.out.Begin(), clerkwire.KindConfiguration, 0, clerkwire.Configuration(n)))
	}
}

func (c *conn) setLeaving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.leaving
	c.leaving = true
	return first
}

// enter counts a request in, and waits while there are too many. It reports
// false at the end of the connection; away says that the request must be
// refused.
func (c *conn) enter() (ok, away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.inFlight >= c.maxInFlight && !c.killed {
		c.room.Wait()
	}
	if c.killed {
		return false, false
	}
	c.inFlight++
	return true, c.leaving
}

// leave counts out requests whose answers are in the outbox.
func (c *conn) leave(n int) {
	c.mu.Lock()
	c.inFlight -= n
	if c.inFlight+n >= c.maxInFlight {
		c.room.Broadcast()
	}
	last := c.leaving && c.inFlight == 0 && c.watching == 0
	c.mu.Unlock()
	if last {
		c.out.Close()
	}
}

// watch counts watches in, or out, which keep a connection open that is to end.
func (c *conn) watch(change int) {
	c.mu.Lock()
	c.watching += change
	c.mu.Unlock()
	c.leave(0)
}

// count notes that requests count for the limits of the connection's caller.
func (c *conn) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counted += n
}

// uncount ends what requests count for the limits of the connection's caller. It comes before
// their answers: a client that has its answer has the place, too.
func (c *conn) uncount(n int) {
	c.mu.Lock()
	counted := min(n, c.counted) // the limits may have been off when some of them came
	c.counted -= counted
	c.mu.Unlock()
	if counted > 0 {
		c.door.server.Gate().Leave(&c.first, counted)
	}
}

// answer sends the answer to a request and counts it out.
func answer[M clerkwire.Message](c *conn, kind clerkwire.Kind, number uint32, message M) {
	c.uncount(1)
	reply(c, kind, number, message)
}

// reply is answer for a request that counts for no limit.
func reply[M clerkwire.Message](c *conn, kind clerkwire.Kind, number uint32, message M) {
	c.out.End(clerkwire.AppendFrame(c.out.Begin(), kind, number, message))
	c.leave(1)
}

// largeAnswer is from how many bytes on an answer is written only when those before it have
// left.
const largeAnswer = 64 << 10

// answerOf is answer for a message that holds a transaction's outcome, which may be large:
// up to then it takes no memory but what the store shares with it.
func answerOf[M clerkwire.Message](c *conn, kind clerkwire.Kind, number uint32, o *txn.Outcome, message func() M) {
	size := o.Bytes()
	if size < largeAnswer {
		answer(c, kind, number, message())
		return
	}
	c.out.Later(size, func(dst []byte) []byte { return clerkwire.AppendFrame(dst, kind, number, message()) }, func() {
		c.uncount(1)
		c.leave(1)
	})
}

// refuse sends the reason why a request has no other answer.
func (c *conn) refuse(number uint32, refused clerkwire.Refused) {
	answer(c, clerkwire.KindRefused, number, refused)
}

package labrpc

import "time"

// Bounds of the simulated delays, in milliseconds.
const (
	SHORTDELAY = 27   // a request on an unreliable network takes less
	LONGDELAY  = 7000 // with long delays, a call that reaches no server fails in less
	MAXDELAY   = 7100 // a call whose handler returns at once, and whose reply is not reordered, takes less
)

const (
	// deadDelay is LONGDELAY's counterpart without long delays, in
	// milliseconds.
	deadDelay = 100
	// lossPercent is the share of requests, and of replies, that an unreliable
	// network loses.
	lossPercent = 10
	// A late reply is late by minLate and up to lateSpread milliseconds more.
	minLate    = 200 * time.Millisecond
	lateSpread = 2000
	// lookEvery is the interval at which a call checks whether its end is still
	// enabled, counted from the moment its handler was started.
	lookEvery = 100 * time.Millisecond
)

// fate is the future of a call as far as the network decides it. It is drawn when
// the call is sent: later settings concern later calls. The exceptions are an end
// that is disabled and a server that is deleted under a call.
type fate struct {
	to          *registration   // the server that gets the request; nil for none
	cut         <-chan struct{} // closed when the end is disabled
	wait        time.Duration   // before the request arrives, or the call fails
	requestLost bool
	replyLost   bool
	replyLate   time.Duration // before the reply arrives
}

// send counts a call and draws its fate. It refuses once Cleanup was called.
func (n *Network) send(end *ClientEnd, size int) (f fate, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cleanedUp {
		return fate{}, false
	}
	n.requests++
	n.bytes += int64(size)
	return n.draw(end), true
}

func (n *Network) draw(end *ClientEnd) fate {
	to := n.servers[end.servername]
	if end.cut == nil || to == nil {
		limit := deadDelay
		if n.longDelays {
			limit = LONGDELAY
		}
		return fate{wait: n.milliseconds(limit)}
	}
	f := fate{to: to, cut: end.cut}
	if !n.reliable {
		f.wait = n.milliseconds(SHORTDELAY)
		f.requestLost = n.random.IntN(100) < lossPercent
		f.replyLost = n.random.IntN(100) < lossPercent
	}
	if n.longReordering && n.random.IntN(3) < 2 {
		// A draw within a draw: most late replies are a little late, few very.
		f.replyLate = minLate + n.milliseconds(1+n.random.IntN(lateSpread))
	}
	return f
}

// milliseconds draws a whole number of milliseconds, at least 0 and below limit.
func (n *Network) milliseconds(limit int) time.Duration {
	return time.Duration(n.random.IntN(limit)) * time.Millisecond
}

// arrive counts a reply that is about to be given to its caller, unless Cleanup
// came first.
func (n *Network) arrive(size int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cleanedUp {
		return false
	}
	n.bytes += int64(size)
	return true
}

// pass lets simulated time pass for one call. It returns false when Cleanup cut
// it short. A duration of zero takes no timer either.
func (n *Network) pass(d time.Duration) bool {
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-n.done:
		return false
	}
}

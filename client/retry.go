package client

import (
	"context"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// outcome is the way in which one attempt ended.
type outcome uint8

const (
	done       outcome = iota // there is an answer, possibly a definite refusal
	notApplied                // nothing happened, and this attempt will have no effect; another server may help
	unknown                   // something may have happened
	overloaded                // nothing happened; the server asks for a pause
)

// verdict is the result of an attempt, for the loop.
type verdict struct {
	outcome outcome
	leader  int           // the server that leads, according to the asked one; below 0: not known
	after   time.Duration // overloaded: the pause that is asked for
	err     *Error        // unless done: the error of the call if there is no other attempt
	final   bool          // the server's answer will not change later
}

// route chooses the server for the next attempt. It is shared by all calls of a
// clerk.
type route struct {
	leader atomic.Int32 // the last server that was known to lead
	// lifetime is a context that ends with the clerk, and with it all calls.
	lifetime context.Context
	// servers returns the number of servers; it may grow.
	servers func() int
	// worth returns the servers that are not worth an attempt now, and those that are to be
	// tried when no other is left. nil: all are equal.
	worth func() (skip, late servers)
	// pause returns the time to pause after the n-th round in which no server
	// could help.
	pause func(round int) time.Duration
}

// retry makes attempts at one call until one is done, or ctx or the clerk has
// ended. It returns the last verdict, and whether an attempt before that one may
// have had an effect.
//
// The leader is tried first, then the server named as leader, then servers not
// yet tried. When all have been tried that are worth it, the call pauses. But it
// ends if no server's answer will change later.
func (r *route) retry(ctx context.Context, attempt func(ctx context.Context, server int) verdict) (last verdict, doubt bool) {
	server := int(r.leader.Load())
	var asked, hopeless servers
	for round := 1; ; {
		v := attempt(ctx, server)
		if v.outcome == done {
			if !asked.empty() {
				r.leader.Store(int32(server))
			}
			return v, doubt
		}
		rest := time.Duration(0)
		asked.add(server)
		hopeless.set(server, v.final)
		if v.outcome == overloaded {
			rest = max(v.after, r.pause(round))
			round++
		} else {
			var skip, late servers
			if r.worth != nil {
				skip, late = r.worth()
			}
			next, fresh := r.next(asked, skip, late, server, v.leader)
			if !fresh {
				if hopeless.with(skip).count() == r.servers() {
					return v, doubt
				}
				rest = r.pause(round)
				round++
				asked = servers{}
			}
			r.leader.CompareAndSwap(int32(server), int32(next))
			server = next
		}
		if !r.sleep(ctx, rest) {
			return v, doubt
		}
		doubt = doubt || v.outcome == unknown
	}
}

// next chooses the server to ask after one that could not help: the leader that
// it named, else the leader that other calls have found meanwhile, else the next
// server that is not to be skipped, the late ones last. fresh is false if all have
// been tried.
func (r *route) next(asked, skip, late servers, last, leader int) (next int, fresh bool) {
	all := r.servers()
	known := int(r.leader.Load())
	if leader >= 0 && leader < all && !asked.has(leader) {
		return leader, true
	}
	tried := asked.with(skip)
	if !tried.has(known) {
		return known, true
	}
	for _, not := range [...]servers{tried.with(late), tried} {
		if next, found := not.after(last, all); found {
			return next, true
		}
	}
	if leader >= 0 && leader < all {
		return leader, false
	}
	next, _ = skip.after(last, all)
	return next, false
}

// after returns the first of n servers behind last, in a circle, that is not in the set.
func (s servers) after(last, n int) (next int, found bool) {
	for i := range n {
		if next = (last + 1 + i) % n; !s.has(next) {
			return next, true
		}
	}
	return (last + 1) % n, false
}

// maxServers is the number of servers that a clerk can know.
const maxServers = 64

// servers is a set of servers.
type servers struct{ bits uint64 }

func (s *servers) add(server int)     { s.bits |= 1 << server }
func (s servers) count() int          { return bits.OnesCount64(s.bits) }
func (s servers) has(server int) bool { return s.bits&(1<<server) != 0 }
func (s servers) empty() bool         { return s.bits == 0 }

// with returns the servers of both sets.
func (s servers) with(more servers) servers { return servers{s.bits | more.bits} }

// set puts a server into the set, or takes it out.
func (s *servers) set(server int, in bool) {
	s.bits &^= 1 << server
	if in {
		s.add(server)
	}
}

// sleep waits for d. It returns false if ctx or the clerk has ended.
func (r *route) sleep(ctx context.Context, d time.Duration) bool {
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-r.lifetime.Done():
		}
	}
	return ctx.Err() == nil && r.lifetime.Err() == nil
}

const (
	firstPause = 4 * time.Millisecond
	maxPause   = 256 * time.Millisecond
)

// jitter returns a pause drawn evenly from zero to a bound that doubles with each
// round. It keeps clerks that lost their leader in the same moment from all
// asking again in the same moment.
func jitter(round int) time.Duration {
	bound := firstPause << min(round-1, 16)
	return rand.N(min(bound, maxPause)) + 1
}

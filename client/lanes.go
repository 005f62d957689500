package client

import (
	"context"
	"math/rand/v2"
	"sync"
)

// maxLanes is the number of lanes that the servers let a session have.
const maxLanes = 1024

// lane numbers the writes that are made in it one after the other. It belongs to
// one call at a time.
type lane struct {
	number uint64
	seq    uint64 // of the last call
}

// lanes hands out lanes to writes. A free lane is used again before a new one is
// begun, because the servers remember the last call of each.
type lanes struct {
	room chan struct{} // holds a token for each lane in use

	mu    sync.Mutex // guards the fields below
	free  []*lane    // the one that was used last is at the end
	begun uint64
}

func newLanes(limit int) *lanes { return &lanes{room: make(chan struct{}, limit)} }

// take waits for a free lane and begins the next call in it. It returns nil if
// ctx or the clerk ended first.
func (ls *lanes) take(ctx, lifetime context.Context) *lane {
	select {
	case ls.room <- struct{}{}:
	default:
		select {
		case ls.room <- struct{}{}:
		case <-ctx.Done():
			return nil
		case <-lifetime.Done():
			return nil
		}
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	var l *lane
	if n := len(ls.free); n > 0 {
		l = ls.free[n-1]
		ls.free = ls.free[:n-1]
	} else {
		// Numbers begin at random. If a cluster is emptied and started anew while a
		// Clerk uses it, the Clerk's session may belong to another client by then. No
		// two calls must be taken for one.
		l = &lane{number: ls.begun, seq: rand.Uint64N(1 << 32)}
		ls.begun++
	}
	l.seq++
	return l
}

// give returns a lane to the free ones. The call in it has its answer, or no
// caller waits for it any more.
func (ls *lanes) give(l *lane) {
	ls.mu.Lock()
	ls.free = append(ls.free, l)
	ls.mu.Unlock()
	<-ls.room
}

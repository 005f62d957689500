package client

import (
	"context"
	"math/rand/v2"
	"sync"
)

// maxLanes is how many lanes the servers let a session have.
const maxLanes = 1024

// lane numbers the writes that are made one after the other in it. It belongs
// to one call at a time.
type lane struct {
	number uint64
	seq    uint64 // of the last call
}

// lanes hands out lanes to writes. One that is not in use is used again before
// another is begun, because the servers remember the last call of each.
type lanes struct {
	room chan struct{} // holds a token for each lane in use

	mu    sync.Mutex // guards the fields below
	free  []*lane    // the one that was used last is on top
	begun uint64
}

func newLanes(most int) *lanes { return &lanes{room: make(chan struct{}, most)} }

// take waits for a lane that is free and begins the next call in it; nil if ctx
// or the clerk ended first.
func (ls *lanes) take(ctx, life context.Context) *lane {
	select {
	case ls.room <- struct{}{}:
	default:
		select {
		case ls.room <- struct{}{}:
		case <-ctx.Done():
			return nil
		case <-life.Done():
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
		// Numbers begin at random: should a cluster be emptied and started anew
		// under a Clerk's feet, a session of its may be another's by then, and no
		// two calls must be taken for one.
		l = &lane{number: ls.begun, seq: rand.Uint64N(1 << 32)}
		ls.begun++
	}
	l.seq++
	return l
}

// give back a lane. What was called in it has its answer, or nobody waits for
// it any more.
func (ls *lanes) give(l *lane) {
	ls.mu.Lock()
	ls.free = append(ls.free, l)
	ls.mu.Unlock()
	<-ls.room
}

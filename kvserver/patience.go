package kvserver

import (
	"context"
	"math/rand/v2"
	"time"
)

// patience is how long a request goes on looking for a leader. The pauses grow,
// and are drawn at random so that requests that began together do not ask
// together.
type patience struct {
	until time.Time
	pause time.Duration
}

const (
	firstPause = 2 * time.Millisecond
	mostPause  = 32 * time.Millisecond
)

func newPatience(total time.Duration) patience {
	return patience{until: time.Now().Add(total), pause: firstPause}
}

// wait pauses and reports whether it is worth to look again: false when the
// time is over or ctx has ended.
func (p *patience) wait(ctx context.Context) bool {
	left := time.Until(p.until)
	if left <= 0 {
		return false
	}
	pause := p.pause/2 + rand.N(p.pause/2+1)
	p.pause = min(2*p.pause, mostPause)
	timer := time.NewTimer(min(pause, left))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

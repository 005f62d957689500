package wire

import (
	"context"
	"sync"
	"time"
)

// paceSlack is how much time that was not used may be made up for. Timers are
// late by about a millisecond, which would otherwise cost half of a high rate.
const paceSlack = 20 * time.Millisecond

// pace spreads bytes evenly over time.
type pace struct {
	rate int64 // bytes per second

	mu   sync.Mutex
	next time.Time // when the next byte may leave
}

// wait waits until n more bytes may leave, or until ctx ends, whose error it
// then returns.
func (p *pace) wait(ctx context.Context, n int) error {
	pause := p.reserve(n, time.Now())
	if pause <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reserve takes the place of n bytes and returns how long to wait for it.
func (p *pace) reserve(n int, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if earliest := now.Add(-paceSlack); p.next.Before(earliest) {
		p.next = earliest
	}
	pause := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	return pause
}

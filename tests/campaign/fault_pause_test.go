package campaign

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

// electionTimeout is the longest that a follower of the shipped defaults waits
// for its leader; it draws between half of it and this.
const electionTimeout = 600 * time.Millisecond

// impatience is when the clients that measure pauses give an attempt up. A node
// that cannot know the outcome of a write keeps its client waiting for it, until
// the request's time is over; when writes are accepted again only new ones tell.
const impatience = 300 * time.Millisecond

// startImpatientLoad is cluster.StartLoad with such clients.
func startImpatientLoad(prefix string, n int, addresses []string, onAck func(term uint64)) *cluster.Load {
	ctx, stop := context.WithCancel(context.Background())
	l := &cluster.Load{Stop: stop}
	for i := range n {
		a := cluster.NewAppender(fmt.Sprintf("%s-%d", prefix, i), addresses, i)
		a.OnAck, a.Limit = onAck, impatience
		l.Appenders = append(l.Appenders, a)
		l.Running.Go(func() { a.Run(ctx) })
	}
	return l
}

// acks are the moments at which writes were acknowledged.
type acks struct {
	mu sync.Mutex // guards at
	at []time.Time
}

func (a *acks) note(uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = append(a.at, time.Now())
}

// longestPause is the longest time without an acknowledgement between two
// moments.
func (a *acks) longestPause(from, to time.Time) (longest time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	slices.SortFunc(a.at, time.Time.Compare)
	last := from
	for _, at := range a.at {
		if at.After(from) && at.Before(to) {
			longest = max(longest, at.Sub(last))
			last = at
		}
	}
	return max(longest, to.Sub(last))
}

// pauses are measured, by what was done.
type pauses struct {
	names []string
	of    map[string][]time.Duration
	notes map[string]string
}

func (p *pauses) add(name string, took time.Duration, note string) {
	if p.of == nil {
		p.of, p.notes = map[string][]time.Duration{}, map[string]string{}
	}
	if p.of[name] == nil {
		p.names = append(p.names, name)
	}
	p.of[name] = append(p.of[name], took)
	p.notes[name] = note
}

func (p *pauses) print(t *testing.T, heading string) {
	text := fmt.Sprintf("\n%-58s %5s  %8s  %8s\n", heading, "times", "p50", "max")
	for _, name := range p.names {
		took := p.of[name]
		text += fmt.Sprintf("%-58s %5d  %6.2f s  %6.2f s  %s\n", name, len(took), percentile(took, 50).Seconds(), percentile(took, 100).Seconds(), p.notes[name])
	}
	t.Log(text)
}

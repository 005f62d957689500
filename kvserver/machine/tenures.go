package machine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/kvserver/failure"
)

// tenures tracks recent leaders. A request that depends on a replaced leader is
// cancelled after a grace period: that leader may be cut off and never answer.
// Until then it may still learn the outcome from its successor.
type tenures struct {
	grace      time.Duration // how long a replaced leader may still answer
	dependents atomic.Int64  // contexts of during that are still needed

	mu      sync.Mutex // guards the fields below
	present *tenure
	past    []*tenure // whose grace is not over
}

// tenure is a leader ("" for nobody) in its term, as this node sees it.
type tenure struct {
	leader string
	term   uint64
	over   context.Context // ends when the grace is over
	end    context.CancelCauseFunc
	timer  *time.Timer // of a past one
}

// see notes the leader.
func (t *tenures) see(leader string, term uint64) *tenure {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.present; p != nil {
		if p.leader == leader && p.term == term {
			return p
		}
		t.past = append(t.past, p)
		p.timer = time.AfterFunc(t.grace, func() { t.expire(p) })
	}
	t.present = nil
	for i, p := range t.past {
		// A node that lost sight of its leader may see it again.
		if p.leader == leader && p.term == term && p.timer.Stop() {
			t.past = append(t.past[:i], t.past[i+1:]...)
			t.present = p
			return p
		}
	}
	t.present = &tenure{leader: leader, term: term}
	t.present.over, t.present.end = context.WithCancelCause(context.Background())
	return t.present
}

// expire ends the contexts that depend on a past tenure.
func (t *tenures) expire(p *tenure) {
	p.end(failure.ErrReplaced)
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.past {
		if t.past[i] == p {
			t.past = append(t.past[:i], t.past[i+1:]...)
			return
		}
	}
}

// during returns a context for what depends on a leader in its term. It ends, with
// failure.ErrReplaced as its cause, when the grace period after the leader's
// replacement is over. The function must be called once, when the context is not needed
// any more.
func (t *tenures) during(ctx context.Context, leader string, term uint64) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	t.dependents.Add(1)
	unhook := context.AfterFunc(t.see(leader, term).over, func() { end(failure.ErrReplaced) })
	return ctx, func() {
		unhook()
		end(nil)
		t.dependents.Add(-1)
	}
}

// DuringTenure returns a context for a request that depends on a leader in its
// term, "" for a time without one. The context ends, with failure.ErrReplaced as
// its cause, when that leader was replaced Config.ReplacedGrace ago. The function
// must be called once, when the context is not needed any more.
func (m *Machine) DuringTenure(ctx context.Context, leader string, term uint64) (context.Context, context.CancelFunc) {
	attempt, release := m.tenures.during(ctx, leader, term)
	m.watch.wake()
	return attempt, release
}

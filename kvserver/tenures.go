package kvserver

import (
	"context"
	"sync"
	"time"

	"raftkv/kvserver/failure"
)

// tenures knows who led when, so that nobody waits for a leader that does not
// lead any more: it may be cut off and never answer. For a while it is waited
// for, because mostly it will: it hears from its successor what became of the
// writes that it had.
type tenures struct {
	patience time.Duration // how long an answer of a replaced leader is waited for

	mu      sync.Mutex // guards the fields below
	present *tenure
	past    []*tenure // whose patience is not over
}

// tenure is a leader ("" for nobody) in its term, as this node sees it.
type tenure struct {
	leader string
	term   uint64
	over   context.Context // ends when the patience is over
	end    context.CancelCauseFunc
	timer  *time.Timer // of a past one
}

// see notes who leads.
func (t *tenures) see(leader string, term uint64) *tenure {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.present; p != nil {
		if p.leader == leader && p.term == term {
			return p
		}
		t.past = append(t.past, p)
		p.timer = time.AfterFunc(t.patience, func() { t.bury(p) })
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

// bury ends the contexts that depend on a past tenure.
func (t *tenures) bury(p *tenure) {
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

// during returns a context for what depends on a leader in its term. It ends when
// that has been replaced for as long as the patience is, with failure.ErrReplaced as its
// cause. The function must be called when the context is not needed any more.
func (t *tenures) during(ctx context.Context, leader string, term uint64) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(t.see(leader, term).over, func() { end(failure.ErrReplaced) })
	return ctx, func() {
		unhook()
		end(nil)
	}
}

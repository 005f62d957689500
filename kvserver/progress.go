package kvserver

import (
	"context"
	"sync"
)

// progress is how far the applier has come, for reads that wait for it: an index
// of the log, or a revision of the store.
type progress struct {
	mu      sync.Mutex // guards the fields below
	applied uint64
	changed chan struct{} // closed at the next advance; nil while nobody waits
}

// advance says that everything up to index is applied, and wakes who waits.
func (p *progress) advance(index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.applied = index
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// at returns how far the applier has come.
func (p *progress) at() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.applied
}

// wait returns nil once everything up to index is applied, and the cause of
// ctx if that ended first.
func (p *progress) wait(ctx context.Context, index uint64) error {
	for {
		changed := p.reached(index)
		if changed == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if p.reached(index) == nil {
				return nil
			}
			return context.Cause(ctx)
		}
	}
}

// reached returns nil if everything up to index is applied, and otherwise a
// channel that is closed when it is worth asking again.
func (p *progress) reached(index uint64) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.applied >= index {
		return nil
	}
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.changed
}

package machine

import (
	"context"
	"sync"
)

// watermark is how far the applier has come, for reads that wait for it: an index
// of the log, or a revision of the store.
type watermark struct {
	mu      sync.Mutex // guards the fields below
	applied uint64
	changed chan struct{} // closed at the next advance; nil while nothing waits
}

// advance says that everything up to index is applied, and wakes the waiting.
func (w *watermark) advance(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.applied = index
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

// at returns how far the applier has come.
func (w *watermark) at() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.applied
}

// wait returns nil once everything up to index is applied, and the cause of
// ctx if that ended first.
func (w *watermark) wait(ctx context.Context, index uint64) error {
	for {
		changed := w.reached(index)
		if changed == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if w.reached(index) == nil {
				return nil
			}
			return context.Cause(ctx)
		}
	}
}

// reached returns nil if everything up to index is applied, and otherwise a
// channel that is closed when it is worth asking again.
func (w *watermark) reached(index uint64) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.applied >= index {
		return nil
	}
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.changed
}

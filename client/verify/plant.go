package verify

import (
	"sync"
	"time"
)

// plant makes one read show an old value.
type plant struct {
	mu      sync.Mutex // guards the fields below
	from    int64      // on the history's clock: the earliest time to do so
	planted bool
	old     map[string]oldValue
}

// oldValue is a value and the time when a client heard that it had been replaced.
type oldValue struct {
	present, before heard
	replaced        int64
}

func newPlant(from time.Duration) *plant {
	return &plant{from: int64(from), old: map[string]oldValue{}}
}

// tell returns the answer to record for a read that was called at a time and is
// answered now. That is the truth, except once: then it is a value that had
// certainly been replaced before the read was called, because another read had
// seen a newer one by then.
func (p *plant) tell(key string, called, now int64, truth heard) heard {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.old[key]
	if !p.planted && called > p.from && o.replaced < called && o.before.value != "" {
		p.planted = true
		return o.before
	}
	if truth.revision > o.present.revision {
		p.old[key] = oldValue{present: truth, before: o.present, replaced: now}
	}
	return truth
}

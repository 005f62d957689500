package verify

import (
	"sync"
	"time"
)

// plant makes one read tell an old value.
type plant struct {
	mu      sync.Mutex // guards the fields below
	from    int64      // on the history's clock: not before
	planted bool
	old     map[string]oldValue
}

// oldValue is a value and when somebody was told that it had been replaced.
type oldValue struct {
	present, before heard
	replaced        int64
}

func newPlant(from time.Duration) *plant {
	return &plant{from: int64(from), old: map[string]oldValue{}}
}

// tell returns what a read is to say that was called at a time and is answered
// now: the truth, but once a value that had certainly been replaced before the
// read was called, because another read had seen a newer one by then.
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

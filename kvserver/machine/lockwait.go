package machine

import (
	"sync"
	"time"

	"raftkv/kvserver/kv"
	"raftkv/kvserver/lock"
)

// queues are the requests on this node that wait for a lock. The applier tells each when
// its lease does not wait any more, so a hand-over wakes one of them. It waits for none and
// keeps no history of its own.
type queues struct {
	mu     sync.Mutex // guards the field below
	byName map[string]*queue
}

// queue are those that wait for one lock, by their leases.
type queue struct {
	waiting map[int64][]chan<- struct{}
	// released is when the holder's release came to this node, the leader; zero once the
	// lock was handed over, or if there was none.
	released time.Time
}

// Queued is a request that waits for a lock. It must be closed.
type Queued struct {
	machine *Machine
	lock    string
	lease   int64
	woken   chan struct{}
}

// Queue makes a request wait that has come to its place in the log. Its own place is what
// LockPlace says from now on.
func (m *Machine) Queue(name string, lease int64) *Queued {
	w := &Queued{machine: m, lock: name, lease: lease, woken: make(chan struct{}, 1)}
	q := &m.queues
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.byName == nil {
		q.byName = map[string]*queue{}
	}
	if q.byName[name] == nil {
		q.byName[name] = &queue{waiting: map[int64][]chan<- struct{}{}}
	}
	of := q.byName[name].waiting
	of[lease] = append(of[lease], w.woken)
	return w
}

// Woken has something when LockPlace may say something else.
func (w *Queued) Woken() <-chan struct{} { return w.woken }

// Close ends the waiting.
func (w *Queued) Close() {
	q := &w.machine.queues
	q.mu.Lock()
	defer q.mu.Unlock()
	of := q.byName[w.lock]
	kept := of.waiting[w.lease][:0:0]
	for _, woken := range of.waiting[w.lease] {
		if woken != w.woken {
			kept = append(kept, woken)
		}
	}
	if of.waiting[w.lease] = kept; len(kept) == 0 {
		delete(of.waiting, w.lease)
	}
	if len(of.waiting) == 0 {
		delete(q.byName, w.lock)
	}
}

// releasing notes that a release of a lock goes into the log here, if somebody waits here.
func (q *queues) releasing(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if of := q.byName[name]; of != nil {
		of.released = time.Now()
	}
}

// tell wakes the requests whose leases do not wait any more; all of them if some departures
// are lost. handedOver is called with how long a release took to reach one of them.
func (q *queues) tell(departed []kv.Departure, lost bool, handedOver func(time.Duration)) {
	if len(departed) == 0 && !lost {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range departed {
		of := q.byName[d.Lock]
		if of == nil || len(of.waiting[d.Lease]) == 0 {
			continue
		}
		wakeAll(of.waiting[d.Lease])
		if !of.released.IsZero() {
			handedOver(time.Since(of.released))
			of.released = time.Time{}
		}
	}
	if lost {
		q.wakeAllLocked()
	}
}

// wakeAll wakes all requests that wait.
func (q *queues) wakeAll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wakeAllLocked()
}

func (q *queues) wakeAllLocked() {
	for _, of := range q.byName { // each by itself, in any order
		for _, woken := range of.waiting {
			wakeAll(woken)
		}
	}
}

func wakeAll(all []chan<- struct{}) {
	for _, woken := range all {
		select {
		case woken <- struct{}{}:
		default: // it will look anyway
		}
	}
}

// LockPlace returns the token with which a lease holds a lock on this node, 0 if it does
// not; whether it waits for it; and the lease's TTL in milliseconds, 0 if it has ended.
func (m *Machine) LockPlace(name string, lease int64) (token uint64, waits bool, ttl uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	l, _ := m.store.Locks().Get(name)
	if at := l.HolderOf(lease); at >= 0 {
		token = l.Holders[at].Token
	}
	of, _ := m.store.Leases().Get(lease)
	return token, l.Waits(lease), of.TTL
}

// Lock is a lock as this node has it.
type Lock struct {
	Name string
	lock.Lock
	Notes []string // of the leases of its holders
}

// Lock returns a lock.
func (m *Machine) Lock(name string) (l Lock, found bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	of, found := m.store.Locks().Get(name)
	return m.described(name, of), found
}

func (m *Machine) described(name string, of lock.Lock) Lock {
	l := Lock{Name: name, Lock: of}
	for i := range of.Holders {
		by, _ := m.store.Leases().Get(of.Holders[i].Lease)
		l.Notes = append(l.Notes, by.Note)
	}
	return l
}

// Locks returns locks whose names begin with prefix and stand behind after, and whether
// there are more. A page has at most limit locks, and about as many holders.
func (m *Machine) Locks(prefix, after string, limit int) (page []Lock, more bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	holders := 0
	m.store.Locks().Ascend(max(prefix, after), func(name string, l lock.Lock) bool {
		switch {
		case name == after && after != "":
			return true
		case len(name) < len(prefix) || name[:len(prefix)] != prefix:
			return false
		case len(page) == limit || len(page) > 0 && holders+len(l.Holders) > limit:
			more = true
			return false
		}
		holders += len(l.Holders)
		page = append(page, m.described(name, l))
		return true
	})
	return page, more
}

package machine

import (
	"sync/atomic"
	"time"

	"raftkv/kvserver/failure"
)

// asyncWatch is the interval at which asynchronous writes are looked for that have
// lost their leader or have reached their deadline.
const asyncWatch = 20 * time.Millisecond

// asyncIdle is how many looks in a row must find nothing to watch before watchAsync
// sleeps: a second's. A Clerk that writes now and then must not pay for waking it.
const asyncIdle = 50

// watchAsync ends asynchronous writes that have lost sight of their leader or have
// reached their deadline. A Clerk is not kept waiting by a leader that was
// replaced, or that ceased to lead because it hears of no majority: it may ask
// elsewhere at once, because its session tells two attempts at one call apart. It
// also sees to it that tenures end for other requests. While nobody waits, it sleeps.
func (m *Machine) watchAsync() {
	ticker := time.NewTicker(asyncWatch)
	defer ticker.Stop()
	looked := time.Now()
	last := m.tenures.see(m.leader())
	unsettled := false // a patient write waits for what a replaced leader may learn
	for idle := 0; ; idle++ {
		if m.watched() {
			idle = 0
		}
		if idle >= asyncIdle {
			ticker.Stop()
			if !m.watch.sleep(m.lifetime.Done(), m.watched) {
				return
			}
			ticker.Reset(asyncWatch)
			idle = 0
		}
		select {
		case <-m.lifetime.Done():
			return
		case now := <-ticker.C:
			leader, present := m.leader()
			tenure := m.tenures.see(leader, present)
			if tenure == last && !unsettled && now.Sub(looked) < m.config.AsyncTimeout/8 {
				continue
			}
			looked, last, unsettled = now, tenure, false
			m.waiting.failAsync(func(w *waiter) error {
				if w.over != nil && now.Before(w.deadline) {
					unsettled = unsettled || w.over != tenure.over
					return w.overdue()
				}
				placed := w.term.Load()
				switch {
				case placed != 0 && placed != present:
					return failure.TermOver(placed)
				case placed != 0 && leader != m.config.NodeID:
					return failure.Deposed()
				case !now.Before(w.deadline):
					return failure.Unheard()
				}
				return nil
			})
		}
	}
}

// watched reports whether anybody waits that watchAsync looks after.
func (m *Machine) watched() bool { return m.tenures.dependents.Load() > 0 || m.waiting.count() > 0 }

// sleeper is how a goroutine that looks after others sleeps while there are none.
type sleeper struct {
	asleep atomic.Bool
	rouse  chan struct{} // holds a token from when the sleeper was woken until it wakes
}

// sleep returns when somebody has come after it began. It returns false when done is
// closed. A caller that comes first appears in needed, so it is never overlooked:
// either it finds the sleeper asleep, or sleep finds it.
func (w *sleeper) sleep(done <-chan struct{}, needed func() bool) bool {
	w.asleep.Store(true)
	if needed() && w.asleep.CompareAndSwap(true, false) {
		return true
	}
	select {
	case <-w.rouse:
		return true
	case <-done:
		return false
	}
}

// wake wakes the sleeper, if it sleeps. It never blocks.
func (w *sleeper) wake() {
	if w.asleep.Load() && w.asleep.CompareAndSwap(true, false) {
		w.rouse <- struct{}{}
	}
}

// EndAsync ends all asynchronous writes, because the node stops.
func (m *Machine) EndAsync() {
	m.waiting.failAsync(func(*waiter) error { return failure.StoppedDuring(nil) })
}

// EndBefore ends the waiting of writes whose command was placed before a term,
// asynchronous or not.
func (m *Machine) EndBefore(term uint64) {
	m.waiting.failWhere(func(w *waiter) error {
		placed := w.term.Load()
		if placed == 0 || placed >= term {
			return nil
		}
		return failure.TermOver(placed)
	})
}

// leader returns the leader that this node knows, "" for none, and the term.
func (m *Machine) leader() (leader string, term uint64) {
	status := m.consensus.Status()
	return string(status.Leader), status.Term
}

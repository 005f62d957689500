package machine

import (
	"time"

	"raftkv/kvserver/failure"
)

// asyncWatch is the interval at which asynchronous writes are looked for that have
// lost their leader or have reached their deadline.
const asyncWatch = 20 * time.Millisecond

// watchAsync ends asynchronous writes that have lost sight of their leader or have
// reached their deadline. A Clerk is not kept waiting by a leader that was
// replaced, or that ceased to lead because it hears of no majority: it may ask
// elsewhere at once, because its session tells two attempts at one call apart. It
// also sees to it that tenures end for other requests.
func (m *Machine) watchAsync() {
	ticker := time.NewTicker(asyncWatch)
	defer ticker.Stop()
	looked := time.Now()
	last := m.tenures.see(m.leader())
	for {
		select {
		case <-m.lifetime.Done():
			return
		case now := <-ticker.C:
			leader, present := m.leader()
			tenure := m.tenures.see(leader, present)
			if tenure == last && now.Sub(looked) < m.config.AsyncTimeout/8 {
				continue
			}
			looked, last = now, tenure
			m.waiting.failAsync(func(w *waiter) error {
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

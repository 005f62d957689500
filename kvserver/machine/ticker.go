package machine

import (
	"time"

	"raftkv/kvserver/kv"
	"raftkv/kvserver/lease"
)

// proposeTicks proposes ticks where this node leads, until the machine is ended. When
// they are due is decided by a lease.Pacer. While nothing can end, it sleeps, so an idle
// cluster stays idle.
func (m *Machine) proposeTicks() {
	var pacer lease.Pacer
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if !m.canEnd.Load() {
			pacer.Look(m.clock.now(), false, false)
			if !m.ticks.sleep(m.lifetime.Done(), m.canEnd.Load) {
				return
			}
		}
		leader, term := m.leader()
		propose, again := pacer.Look(m.clock.now(), leader == m.config.NodeID, m.canEnd.Load())
		if propose {
			r, err := m.ProposeDuring(m.lifetime, kv.Command{Op: kv.OpTick}, leader, term, nil)
			pacer.Ended(err == nil && r.Deleted)
			if err == nil {
				m.ticked.Add(1)
			}
		}
		timer.Reset(time.Duration(again) * time.Millisecond)
		select {
		case <-timer.C:
		case <-m.lifetime.Done():
			return
		}
	}
}

// noteEnds notes whether anything in the store can end, behind what the applier has
// applied.
func (m *Machine) noteEnds() {
	can := m.store.CanEnd()
	m.canEnd.Store(can)
	if can {
		m.ticks.wake()
	}
}

// uptimeClock measures how long this process has run, by its monotonic clock. It stamps
// commands, of which the store makes log time (kv.View.LogTime). No wall clock is
// ever read, so none that is set, stepped or wrong can make the store forget early
// what it promised to keep.
type uptimeClock struct{ begun time.Time }

// now returns the stamp for a command that is proposed now, in milliseconds.
func (c uptimeClock) now() uint64 { return 1 + uint64(time.Since(c.begun).Milliseconds()) }

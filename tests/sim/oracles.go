package main

import (
	"raftkv/kvserver/kv"
	"raftkv/raft/core"
)

// oracles hold what is known about the run and end it when a promise breaks.
// The checks are in the files oracle_*.go, each with what it needs to know.
type oracles struct {
	w        *world
	observed int

	elections    elections
	logs         logs
	machines     machines
	clients      clientHistory
	coordination *coordination
	raise        raise

	floor     uint64                // log index of the latest thing acknowledged to anybody
	refusedID map[kv.RequestID]bool // proposals that were said not to happen
}

func newOracles(w *world) *oracles {
	o := &oracles{
		w:            w,
		elections:    elections{leaders: map[uint64]*server{}, votes: map[ballot]favour{}, preVotes: map[ballot]uint{}, told: map[ballot]bool{}},
		machines:     newMachines(),
		clients:      clientHistory{byToken: map[string]*record{}},
		coordination: newCoordination(w),
		refusedID:    map[kv.RequestID]bool{},
	}
	first := w.newStore()
	o.machines.model.revision = first.Revision()
	o.machines.model.clock.leasing = first.Level() >= kv.LevelHistory
	return o
}

// watch is what the oracles have seen of one life of a server.
type watch struct {
	term   uint64
	led    uint64 // the last term it led
	commit uint64
	tail   uint64 // when it was elected, its log ended there
	last   uint64 // its log ended there after its last turn
	out    uint64 // the last term in which it led without a vote
}

// observe looks at a server after each of its turns.
func (o *oracles) observe(s *server) {
	now := s.replica.Observe()
	if now.Term > s.watch.term {
		o.entered(s, now)
	}
	if now.Role == core.Leader {
		if s.watch.led != now.Term {
			o.elected(s, now)
		}
		o.countOldTermMajority(s, now)
		if now.CommitIndex >= s.watch.tail { // there or before lies its no-op
			o.w.calm.ledBy(s)
		}
	}
	if now.CommitIndex > s.watch.commit {
		o.committed(s, now)
	}
	if o.w.options.Founders > 0 {
		o.countMembers(s, now)
		s.watch.last = now.LastIndex
	}
	if o.observed++; o.observed%128 == 0 {
		if err := s.replica.Check(); err != nil {
			o.w.fail("core check", "%v", err)
		}
	}
}

// finish makes the checks that need the whole run.
func (o *oracles) finish() {
	all := o.w.resting()
	first := all[0]
	for _, s := range all {
		if s.store.Hash() != first.store.Hash() {
			o.w.fail("equal states", "%s and %s rest at index %d with different states", s.id, first.id, first.store.AppliedIndex())
		}
	}
	o.checkAcknowledged()
	o.checkClients(first.store)
}

package main

import (
	"raftkv/kvserver/kv"
	"raftkv/raft/core"
)

// machines is what is known of all state machines together.
type machines struct {
	model   *model
	results []kv.Result // results[i] is the one that index i+1 has
	digests []kv.Digest // of the state at index i+1
	hashes  map[uint64][32]byte
	// appliedID says where each proposal was applied.
	appliedID map[kv.RequestID]uint64
}

func newMachines() machines {
	return machines{model: newModel(), hashes: map[uint64][32]byte{}, appliedID: map[kv.RequestID]uint64{}}
}

// hashEvery is how far apart the indices are at which whole states are compared;
// their digests are compared at each.
const hashEvery = 256

// applied: every server applies what was committed, in the same order, gets the
// result that the model gets, and stands in the same state at the same index.
func (o *oracles) applied(s *server, e core.Entry, result kv.Result) {
	m := o.machines.model
	if e.Index > m.applied+1 {
		o.w.fail("state machine", "%s applied %d, but nobody applied %d", s.id, e.Index, m.applied+1)
	}
	if e.Index > uint64(len(o.logs.committed)) || !sameEntry(o.logs.committed[e.Index-1].Entry, e) {
		o.w.fail("state machine", "%s applied another entry at %d than was committed", s.id, e.Index)
	}
	if e.Index == m.applied+1 {
		m.applied++
		o.machines.results = append(o.machines.results, o.expected(s, e, result))
		o.machines.digests = append(o.machines.digests, s.store.Digest())
	}
	want, got := o.machines.results[e.Index-1], result
	if !sameResult(got, want) {
		o.w.fail("model", "%s got %+v at %d, the model %+v", s.id, got, e.Index, want)
	}
	if o.machines.digests[e.Index-1] != s.store.Digest() {
		o.w.fail("equal states", "%s has another digest at index %d than others had", s.id, e.Index)
	}
	if e.Index%hashEvery == 0 {
		o.sameState(s)
	}
}

// restored: a snapshot is the state that everybody else had at its index.
func (o *oracles) restored(s *server) {
	if index := s.store.AppliedIndex(); index > o.machines.model.applied {
		o.w.fail("state machine", "%s was restored to %d, but nobody applied %d", s.id, index, o.machines.model.applied+1)
	}
	o.sameState(s)
}

func (o *oracles) sameState(s *server) {
	index, hash := s.store.AppliedIndex(), s.store.Hash()
	if index > 0 && o.machines.digests[index-1] != s.store.Digest() {
		o.w.fail("equal states", "%s has another digest at index %d than others had", s.id, index)
	}
	if other, known := o.machines.hashes[index]; known && other != hash {
		o.w.fail("equal states", "%s is in another state at index %d than others were", s.id, index)
	}
	o.machines.hashes[index] = hash
}

// expected runs an entry that is applied for the first time through the model.
// Whatever the model thinks of it, no write happens twice, and none that was
// refused.
func (o *oracles) expected(s *server, e core.Entry, got kv.Result) kv.Result {
	if levelOf(&e) >= newProgram && o.w.options.upgraded() {
		m := o.machines.model
		m.clock.leasing, m.revision = true, max(1, m.revision) // revision 1 is the empty store
	}
	if e.Kind != core.KindCommand {
		return kv.Result{}
	}
	c, err := kv.DecodeCommand(e.Data)
	if err != nil {
		o.w.fail("state machine", "%s applied something at %d that nobody proposed: %v", s.id, e.Index, err)
	}
	if o.refusedID[c.ID] {
		o.w.fail("honest refusal", "%s applied %v of %q at %d, which had been refused", s.id, c.Op, c.Value, e.Index)
	}
	o.machines.appliedID[c.ID] = e.Index
	if at, twice := o.machines.model.tokens[string(c.Value)]; twice && len(c.Value) > 0 && got.Status == kv.StatusOK && !got.Replayed {
		o.w.fail("exactly once", "%q was applied at %d and again at %d", c.Value, at, e.Index)
	}
	switch {
	case got.Replayed && c.IdempotencyKey != "":
		o.w.counts.KeyedReplays++
	case got.Replayed:
		o.w.counts.Replays++
	case got.Status == kv.StatusIdempotencyMismatch:
		o.w.counts.KeyMismatches++
	case got.Status == kv.StatusConditionFailed:
		o.w.counts.ConditionsFailed++
	case got.Status == kv.StatusQuota:
		o.w.counts.OverQuota++
	case got.Status == kv.StatusStale:
		o.w.counts.StaleCalls++
	}
	if c.IdempotencyKey != "" && !got.Replayed {
		used := o.machines.model.after(c)
		if owner := o.machines.model.keyed[c.IdempotencyKey]; owner != nil && got.Status == kv.StatusIdempotencyMismatch {
			used = owner.time
		}
		o.machines.model.keyedAt[callOf(c)] = keyedMoment{used}
	}
	kept := len(o.machines.model.eldest)
	if coordinates(&c) {
		return o.coordinated(s, e.Index, c, got)
	}
	r := o.machines.model.run(e.Index, c)
	if len(o.machines.model.eldest) < kept {
		o.w.counts.KeysForgotten++
	}
	r.ID = c.ID
	return r
}

// coordinated is expected for a command of coordinators: what it means is judged elsewhere,
// and the model learns how far revisions have come.
func (o *oracles) coordinated(s *server, index uint64, c kv.Command, got kv.Result) kv.Result {
	m := o.machines.model
	m.clock.pass(c.ID, c.Time)
	m.forget()
	o.coordination.applied(index, &c, got, s.store, m.revision, m.clock.leases)
	m.revision = s.store.Revision()
	return got
}

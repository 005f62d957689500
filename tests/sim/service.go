package main

import (
	"bytes"

	"raftkv/kvserver/kv"
	"raftkv/raft/core"
)

// service is the state machine of a server and who waits for it.
type service struct {
	s         *server
	store     *kv.Store
	compacted uint64                    // index of the last snapshot taken in this life
	number    uint64                    // of the last request proposed in this life
	waiting   map[kv.RequestID]*attempt // looked up, never walked
	parked    []parkedRead
}

// parkedRead is a read whose index has not been applied here yet.
type parkedRead struct {
	ready func() bool
	serve func()
}

func (v *service) start(s *server, state core.State) {
	*v = service{s: s, store: kv.New(), waiting: map[kv.RequestID]*attempt{}}
	if state.Snapshot.Index > 0 {
		v.restore(&state.Snapshot)
		v.compacted = state.Snapshot.Index
	}
}

// apply lets the state machine work off a batch.
func (v *service) apply(batch *core.Batch) {
	s, w, life := v.s, v.s.w, v.s.life
	w.after(w.serverDice.between(0, w.options.ApplyDelay), then(func() {
		if s.alive(life) {
			s.input(func() { v.applyNow(batch) })
		}
	}))
}

func (v *service) applyNow(batch *core.Batch) {
	s, w := v.s, v.s.w
	if snapshot := batch.Snapshot; snapshot != nil {
		if snapshot.Index <= v.store.AppliedIndex() {
			w.fail("state machine", "%s was given a snapshot at %d and stands at %d", s.id, snapshot.Index, v.store.AppliedIndex())
		}
		w.counts.Installs++
		v.restore(snapshot)
		v.compacted = snapshot.Index
		w.event(s.index, evInstalled, snapshot.Index)
	}
	for _, e := range batch.Entries {
		v.applyEntry(e)
	}
	w.event(s.index, evApplied, batch.Last(), v.store.Revision())
	s.replica.Applied(batch.Last())
	v.compact()
	v.serveParked()
	s.turn()
}

func (v *service) applyEntry(e core.Entry) {
	w := v.s.w
	if e.Kind != core.KindCommand {
		v.store.Advance(e.Index)
		w.oracles.applied(v.s, e, kv.Result{})
		return
	}
	result := v.store.Apply(e.Index, e.Data)
	w.oracles.applied(v.s, e, result)
	if a, mine := v.waiting[result.ID]; mine {
		delete(v.waiting, result.ID)
		a.answer(outcome{result: result, index: e.Index, revision: v.store.Revision()})
	}
}

// restore replaces the state machine by a snapshot.
func (v *service) restore(snapshot *core.Snapshot) {
	store, err := kv.Restore(bytes.NewReader(snapshot.Data))
	if err != nil || store.AppliedIndex() != snapshot.Index {
		v.s.w.fail("state machine", "%s cannot restore the snapshot at %d: %v", v.s.id, snapshot.Index, err)
	}
	v.store = store
	v.s.w.oracles.restored(v.s)
}

// compact takes a snapshot when it is time for one. The log is told later, when
// the snapshot may be an old one.
func (v *service) compact() {
	s, w, index := v.s, v.s.w, v.store.AppliedIndex()
	if every := w.options.SnapshotEvery; every == 0 || index-v.compacted < every || !w.options.Labs {
		return
	}
	var data bytes.Buffer
	if _, err := v.store.WriteTo(&data); err != nil {
		w.fail("state machine", "%s cannot write a snapshot: %v", s.id, err)
	}
	v.compacted = index
	w.counts.Snapshots++
	w.event(s.index, evSnapshot, index, uint64(data.Len()))
	life, snapshot := s.life, core.Snapshot{Index: index, Data: data.Bytes()}
	w.after(w.serverDice.between(0, 2*w.options.SaveHigh), then(func() {
		if s.alive(life) {
			s.input(func() {
				s.replica.Compact(snapshot)
				s.turn()
			})
		}
	}))
}

func (v *service) serveParked() {
	if len(v.parked) == 0 {
		return
	}
	kept := v.parked[:0]
	for _, r := range v.parked {
		if r.ready() {
			r.serve()
		} else {
			kept = append(kept, r)
		}
	}
	clear(v.parked[len(kept):])
	v.parked = kept
}

package main

import (
	"bytes"

	"raftkv/kvserver/kv"
	"raftkv/kvserver/lease"
	"raftkv/raft/core"
)

// answerer waits for a command of its own.
type answerer interface{ answer(outcome) }

// newStore is a store before the first entry.
func (w *world) newStore() *kv.Store {
	if w.options.Coordinators > 0 && !w.options.upgraded() {
		return kv.NewAt(kv.LevelHistory)
	}
	return kv.New()
}

// service is the state machine of a server and the requests that wait for it.
type service struct {
	s         *server
	store     *kv.Store
	term      uint64                    // of the last entry applied; what a snapshot of the store is called
	compacted uint64                    // index of the last snapshot taken in this life
	taking    bool                      // a snapshot is taken and not written yet
	number    uint64                    // of the last request proposed in this life
	waiting   map[kv.RequestID]answerer // looked up, never walked
	parked    []parkedRead
	begun     int64 // what the clock showed when this life began
	pacer     lease.Pacer
	channel
}

// parkedRead is a read whose index has not been applied here yet.
type parkedRead struct {
	ready func() bool
	serve func()
}

func (v *service) start(s *server, state core.State) {
	*v = service{s: s, store: s.w.newStore(), waiting: map[kv.RequestID]answerer{}}
	v.begun = s.clock()
	if state.Snapshot.Index > 0 {
		v.restore(&state.Snapshot)
	}
}

func (v *service) applyEntry(e core.Entry) {
	w := v.s.w
	v.term = e.Term
	if e.Kind != core.KindCommand {
		v.advance(e)
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
	w := v.s.w
	store, err := v.open(snapshot)
	if err != nil || store.AppliedIndex() != snapshot.Index {
		w.fail("state machine", "%s cannot restore the snapshot at %d: %v", v.s.id, snapshot.Index, err)
	}
	if w.options.upgraded() && store.Level() > uint64(v.s.program.knows) {
		w.fail("levels", "%s, whose program knows level %d, restores a state of level %d", v.s.id, v.s.program.knows, store.Level())
	}
	v.store, v.term = store, snapshot.Term
	v.compacted = snapshot.Index
	w.oracles.restored(v.s)
}

// open reads a snapshot from where it is kept.
func (v *service) open(snapshot *core.Snapshot) (*kv.Store, error) {
	if v.s.w.options.Labs {
		return kv.Restore(bytes.NewReader(snapshot.Data))
	}
	r, err := v.s.disk.wal.OpenSnapshot(snapshot.Index)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return kv.Restore(r)
}

// compact takes a snapshot when it is time for one.
func (v *service) compact() {
	w := v.s.w
	if every := w.options.SnapshotEvery; every == 0 || v.store.AppliedIndex()-v.compacted < every || v.taking && w.serverDice.chance(0.9) {
		return
	}
	v.take()
}

// pollTicks is how many ticks pass between two looks at whether a follower needs
// a newer snapshot than there is.
const pollTicks = 16

// poll takes a snapshot if a follower needs one.
func (v *service) poll() {
	if v.taking || v.s.replica.Observe().Role != core.Leader {
		return
	}
	if status := v.s.replica.Status(); status.SnapshotWanted && isNewer(v.store.AppliedIndex(), status) {
		v.s.w.counts.SnapshotsWanted++
		v.take()
	}
}

// isNewer reports whether a snapshot at index would be of use: it is newer than the
// newest, or takes the place of one whose file is damaged.
func isNewer(index uint64, status core.Status) bool {
	return index > status.SnapshotIndex || index == status.SnapshotIndex && status.SnapshotLost
}

// take takes a snapshot. It is written later, and the log is told later still,
// when it may be an old one.
func (v *service) take() {
	s, w, index := v.s, v.s.w, v.store.AppliedIndex()
	if !isNewer(index, s.replica.Status()) {
		return // a newer snapshot came from the leader
	}
	if term, known := s.replica.Term(index); known && term != v.term {
		w.fail("state machine", "%s applied %d of term %d, and its log has term %d there", s.id, index, v.term, term)
	} else if !known {
		w.counts.SnapshotsBehindTail++
	}
	v.compacted, v.taking = index, true
	life, view := s.life, v.store.Freeze()
	snapshot := core.Snapshot{Index: index, Term: v.term, UID: s.replica.UIDAt(index), Members: s.replica.ConfigurationAt(index)}
	s.disk.begun = &unwritten{snapshot, view}
	s.replica.Taking(index)
	w.after(w.serverDice.between(0, w.options.SnapshotDelay), then(func() {
		if !s.alive(life) {
			return
		}
		v.taking = false
		if !v.write(&snapshot, view) {
			s.replica.Taking(0)
			return
		}
		w.counts.Snapshots++
		w.event(s.index, evSnapshot, index, snapshot.Term)
		w.after(w.serverDice.between(0, w.options.SnapshotDelay), then(func() {
			if s.alive(life) {
				s.input(func() {
					s.replica.Compact(snapshot)
					s.replica.Taking(0)
					s.turn()
				})
			}
		}))
	}))
}

// write makes a snapshot durable and reports whether it was of use.
func (v *service) write(snapshot *core.Snapshot, view *kv.View) bool {
	s := v.s
	if !s.w.options.Labs {
		return s.disk.writeSnapshot(*snapshot, view)
	}
	var data bytes.Buffer
	if _, err := view.WriteTo(&data); err != nil {
		s.w.fail("state machine", "%s cannot write a snapshot: %v", s.id, err)
	}
	snapshot.Data = data.Bytes()
	return true
}

// proposeTick proposes a tick if it is time for one, as the leader does on a node.
func (v *service) proposeTick() {
	s := v.s
	if s.w.options.Coordinators == 0 || v.store.Level() < kv.LevelHistory {
		return
	}
	leads := s.replica.Observe().Role == core.Leader
	if propose, _ := v.pacer.Look(v.stamp(), leads, v.store.CanEnd()); propose {
		s.submit(kv.Command{Op: kv.OpTick}, &ticked{v, s.life})
	}
}

// ticked waits for the end of a tick.
type ticked struct {
	v    *service
	life int
}

func (t *ticked) answer(out outcome) {
	if t.v.s.alive(t.life) {
		t.v.pacer.Ended(out.err == nil && out.result.Deleted)
	}
}

// origin names this life in the commands that it proposes.
func (v *service) origin() uint64 { return uint64(v.s.index)<<32 | uint64(v.s.life) }

// stamp is what a command proposed now carries: how long this life has lasted, by
// the server's own clock.
func (v *service) stamp() uint64 {
	s := v.s
	return 1 + uint64((s.clock()-v.begun)*max(1, s.w.options.TimeFactor)/millisecond)
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

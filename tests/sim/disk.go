package main

import (
	"errors"

	"raftkv/kvserver/kv"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// disk is a server's disk with the log on it. In the labs' worlds the disk is a
// persister, which stores a whole state at once: then the model is the disk.
type disk struct {
	s      *server
	fs     *vfs.Crashable
	faults *vfs.Faulty
	wal    *wal.WAL

	writing   *core.Write    // handed over and not saved yet
	ready     bool           // the delay of writing is over; only a hang holds it up
	hangs     int            // faults that hang it
	slow      int64          // factor of slowness; 0 as 1
	incoming  *transfer      // the last that was begun
	begun     *unwritten     // the last snapshot taken in this life; it may be written by now
	full      int            // faults that leave no room on it
	plug      int            // the operations after which the machine dies; -1: it does not
	strike    *vfs.Fault     // fails an operation; Nth counts down
	failing   *vfs.Fault     // strikes the next save; Nth is counted from there
	spoils    *vfs.Fault     // strikes the next snapshot that is written or received, likewise
	booted    uint64         // the term that this life began in
	rejoining core.Rejoining // what a node keeps next to its log
	dir       *directory     // likewise
	rotten    bool           // a bit of it was changed since the last boot:
	rotFile   string         // in this file,
	rotAt     uint64         // there
	plugs     []int          // likewise in the next recoveries
}

// unwritten is a snapshot that is not on the disk yet.
type unwritten struct {
	core.Snapshot
	view *kv.View
}

// crash says how a server goes down.
type crash struct {
	power   bool      // the machine goes, not only the process
	model   vfs.Model // what its disk forgets then
	torn    int       // if a write is under way it gets that far, in operations; negative: not begun
	orderly bool      // the log is closed first
}

func (d *disk) init(s *server) {
	d.s, d.fs, d.dir = s, vfs.NewCrashable(), newDirectory(s.w.identityDice, false)
}

// boot opens the log and returns what it holds. Now and then the machine dies
// once more meanwhile.
func (d *disk) boot() (core.State, bool) {
	s, w := d.s, d.s.w
	var state core.State
	if w.options.Labs {
		if d.writing != nil && w.diskDice.chance(0.3) { // it was stored, and nobody heard of it
			s.model = s.model.with(d.writing)
			w.counts.KeptTails++
		}
		state = s.model.state
		state.Commit = 0 // the labs' commit index is volatile
	} else {
		var ok bool
		if state, ok = d.open(); !ok {
			return state, false
		}
		state.Rejoining = d.rejoining
		w.oracles.recovered(s, state)
	}
	d.booted = state.Term
	d.writing, d.ready, d.failing, d.spoils, d.begun, d.rotten = nil, false, nil, nil, nil, false
	return state, true
}

// open opens the log. It may find no room for a new one.
func (d *disk) open() (core.State, bool) {
	s, w := d.s, d.s.w
	for {
		d.faults = vfs.NewFaulty(d.fs)
		d.faults.Hook(d.before)
		dying := len(d.plugs) > 0 && !w.healed
		if d.plug = -1; dying {
			d.plug = d.plugs[0]
			d.plugs = d.plugs[1:]
		}
		log, state, err := wal.Open(wal.Options{
			FS: d.faults, Dir: "data/" + string(s.id), ClusterID: "sim", NodeID: string(s.id), SegmentBytes: w.options.SegmentBytes,
		})
		d.plug = -1
		switch {
		case err == nil:
			if log.Stats().PassedOver != nil {
				w.counts.SnapshotsDamaged++
			}
			d.wal = log
			return state, true
		case d.rotten && d.mended(err):
			continue
		case d.full > 0 && vfs.IsNoSpace(err):
			w.counts.NoRoom++
			return state, false
		case !dying || !errors.Is(err, vfs.ErrCrashed):
			w.fail("recovery", "%s cannot start: %v", s.id, err)
		}
		w.counts.RecoveryCrashes++
		w.event(s.index, evRecoveryCrash, uint64(s.life))
		d.lose(crash{power: w.diskDice.chance(0.5), model: drawModel(w.diskDice)})
	}
}

// replace puts an empty disk in the place of one that is lost. The server is down.
func (d *disk) replace() {
	d.s.lost, d.s.model = append(d.s.lost, d.s.model), diskModel{}
	d.fs, d.rejoining, d.dir = vfs.NewCrashable(), core.Rejoining{On: true}, newDirectory(d.s.w.identityDice, true)
	d.writing, d.ready, d.incoming, d.rotten, d.plugs = nil, false, nil, false, nil
}

func drawModel(d dice) vfs.Model { return vfs.Models[d.IntN(len(vfs.Models))] }

// lose leaves behind the disk that the next boot finds.
func (d *disk) lose(how crash) {
	if how.power {
		d.s.w.counts.PowerCuts++
		d.fs = d.fs.Crash(d.s.w.diskDice.Rand, how.model)
		return
	}
	d.fs = d.fs.Kill()
}

// crash ends the life of the disk's user, perhaps in the middle of a write.
func (d *disk) crash(how crash, dice dice) {
	if d.wal == nil {
		return
	}
	if d.writing != nil && how.torn >= 0 {
		d.s.w.counts.TornWrites++
		d.plug = how.torn
		d.s.learnUID(d.writing.GoalUID)
		_ = d.wal.Save(d.writing) // whatever it says, nobody hears it
	}
	if d.begun != nil && how.torn >= 0 && d.s.w.diskDice.chance(0.5) {
		d.s.w.counts.TornSnapshots++
		d.plug = how.torn * 2
		_ = d.wal.WriteSnapshot(d.begun.Snapshot, d.begun.writeTo)
	}
	if how.torn >= 0 && d.s.w.diskDice.chance(0.2) {
		d.plug = how.torn
		_ = d.wal.Prepare()
	}
	if how.orderly {
		d.s.w.counts.OrderlyStops++
		if err := d.wal.Close(); err != nil {
			d.s.w.fail("disk", "%s could not close its log: %v", d.s.id, err)
		}
	}
	d.wal = nil
	d.lose(how)
	if dice.chance(0.15) {
		d.plugs = append(d.plugs, dice.IntN(12))
	}
}

// save puts a write on the disk, which takes its time and may fail.
func (d *disk) save(write *core.Write) {
	s, w := d.s, d.s.w
	d.writing, d.ready = write, false
	snapshot := uint64(0)
	if write.Snapshot != nil {
		snapshot = write.Snapshot.Index
	}
	w.event(s.index, evSaving, write.Seq, write.Term, w.number(write.VotedFor), write.From, uint64(len(write.Entries)), snapshot)
	w.oracles.writing(s, write)
	delay := w.diskDice.between(w.options.SaveLow, w.options.SaveHigh) * max(1, d.slow)
	if s.index < w.options.SlowDisks {
		delay += w.options.SlowSync
		w.counts.SlowWrites++
	}
	w.after(delay, &saving{d, s.life})
}

// saving is a write whose time is over.
type saving struct {
	d    *disk
	life int
}

func (v *saving) happen() {
	if v.d.s.alive(v.life) {
		v.d.ready = true
		v.d.finish()
	}
}

// hang and release make the disk answer nothing for a while.
func (d *disk) hang() { d.hangs++ }

func (d *disk) release() {
	d.hangs--
	if d.s.up && d.writing != nil && d.ready {
		d.finish()
	}
}

// finish makes the write durable and tells the server.
func (d *disk) finish() {
	s, w, write := d.s, d.s.w, d.writing
	if d.hangs > 0 {
		w.counts.HungWrites++
		return
	}
	s.learnUID(write.GoalUID)
	if d.wal != nil && !d.put(write) {
		return
	}
	d.writing, d.ready = nil, false
	if d.rejoining.On && !write.Rejoining.On {
		w.counts.Rejoined++
	}
	goal := write.Rejoining.On && write.Rejoining.Term > 0 && d.rejoining.Term == 0
	d.rejoining = write.Rejoining
	w.oracles.saved(s, write)
	saved := func() {
		s.input(func() {
			w.event(s.index, evSaved, write.Seq)
			s.replica.Saved(write.Seq)
			s.turn()
		})
		d.settle()
	}
	if goal {
		s.announce(saved)
		return
	}
	saved()
}

// settle does what a disk does behind its last write, unless another one waits.
func (d *disk) settle() {
	if d.wal == nil || d.writing != nil {
		return
	}
	if err := d.wal.Settle(); err != nil {
		d.s.w.fail("disk", "%s could not settle its log: %v", d.s.id, err)
	}
}

// put saves a write in the log. If the disk fails the server ends itself and
// its supervisor starts it again.
func (d *disk) put(write *core.Write) bool {
	s, w := d.s, d.s.w
	if d.failing != nil {
		fault := *d.failing
		d.failing = nil
		fault.Nth += d.faults.Count(fault.Kind)
		d.faults.Inject(fault)
		return d.failToSave(write)
	}
	switch err := d.wal.Save(write); {
	case err == nil:
		d.prepareSoon()
		return true
	case d.full > 0 && vfs.IsNoSpace(err):
		w.counts.NoRoom++
		d.failStop()
	default:
		w.fail("disk", "%s could not save: %v", s.id, err)
	}
	return false
}

// failToSave saves a write while the disk fails. Nothing may be accepted after it,
// whatever the disk says by then.
func (d *disk) failToSave(write *core.Write) bool {
	s, w := d.s, d.s.w
	first, second := d.wal.Save(write), error(nil)
	if first != nil {
		w.counts.DiskErrors++
		w.event(s.index, evDiskError, write.Seq)
		second = d.wal.Save(write)
	}
	if second == nil {
		w.fail("fail-stop", "%s saved a write though its disk failed (%v)", s.id, first)
	}
	d.failStop()
	return false
}

// failStop is the end of a server whose disk failed. Its supervisor starts it
// again.
func (d *disk) failStop() {
	s, w := d.s, d.s.w
	how := crash{torn: -1}
	if w.diskDice.chance(0.3) {
		how = crash{power: true, model: drawModel(w.diskDice), torn: -1}
	}
	s.crash(how, w.diskDice)
	w.nemesis.restartSoon(s, w.diskDice.between(1, 1000)*millisecond)
}

// prepareSoon makes the log's next segment ready, between the saves.
func (d *disk) prepareSoon() {
	select {
	case <-d.wal.NeedsSpare():
	default:
		return
	}
	s, w, life := d.s, d.s.w, d.s.life
	w.after(w.diskDice.between(0, 20*w.options.SaveHigh), then(func() {
		if !s.alive(life) || d.wal == nil {
			return
		}
		switch spoilt, err := d.spoil(d.wal.Prepare); {
		case err == nil || spoilt:
		case d.full > 0 && vfs.IsNoSpace(err):
			w.counts.NoRoom++ // the present segment still takes writes
		default:
			w.fail("disk", "%s could not prepare a segment: %v", s.id, err)
		}
	}))
}

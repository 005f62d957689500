package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"raftkv/raft/core"
	"raftkv/raft/members"
	"raftkv/raft/vfs"
)

// takeLock locks the directory until the WAL is closed.
func (w *WAL) takeLock() error {
	path := filepath.Join(w.dir, lockName)
	lock, err := w.fs.Lock(path)
	if errors.Is(err, vfs.ErrLocked) {
		return fmt.Errorf("wal: the data directory %s is in use by another server: stop that one, or give this one a directory of its own: %w", w.dir, err)
	}
	if err != nil {
		return diskError("locking", path, err)
	}
	w.lock = lock
	return nil
}

// recovered is the content of the directory, judged and not yet changed.
type recovered struct {
	image  *image // nil when there is no log
	replay *replay
	// current is the snapshot that the state starts from. passed holds the ones
	// that it would have started from, were they not damaged.
	current candidate
	uid     core.UID        // the one that the current snapshot carries
	members members.Version // likewise
	passed  []passedOver
	files   map[position]int64 // sizes of the snapshots that stay
	litter  []string           // names of files that nothing needs
	retired []string           // names of segments that wait to be used again
}

// passedOver is a recorded snapshot that cannot be used.
type passedOver struct {
	position
	err *CorruptionError
}

// recover reads the log, repairs the remains of a crash, and makes the log ready
// for Save. Everything is read and judged before anything is written.
func (w *WAL) recover() (core.State, error) {
	found, err := w.read()
	if err != nil {
		return core.State{}, err
	}
	w.retired = found.retired
	if found.image == nil {
		return core.State{}, w.create(nil)
	}
	if err := w.repair(found); err != nil {
		return core.State{}, err
	}
	return core.State{
		Term: w.shape.term, VotedFor: w.shape.votedFor,
		Snapshot: core.Snapshot{Index: w.current.index, Term: w.current.term, UID: found.uid, Members: found.members},
		Entries:  found.replay.entries,
		Commit:   w.shape.commit,
	}, nil
}

// read reads the log and its snapshots without changing anything.
func (w *WAL) read() (*recovered, error) {
	l, err := list(w.fs, w.dir)
	if err != nil {
		return nil, err
	}
	snapshots := &snapshotFiles{w: w, there: l.snapshots, verdicts: map[position]verdict{}}
	if len(l.segments) == 0 {
		return &recovered{retired: l.retired}, snapshots.checkAlone(l.unfinished)
	}
	floor, err := snapshots.newest()
	if err != nil {
		return nil, err
	}
	for {
		found := &recovered{replay: &replay{floor: floor}, retired: l.retired}
		if found.image, err = scan(w.fs, w.dir, l.segments, w.checkOwner, found.replay.visit); err != nil {
			return nil, err
		}
		if err := snapshots.checkOwner(); err != nil {
			return nil, err
		}
		if err := found.choose(snapshots); err != nil {
			return nil, err
		}
		if found.current.index < floor { // a crash came before that one was recorded
			floor = found.current.index
			continue
		}
		found.trim()
		found.sort(l, snapshots)
		return found, nil
	}
}

// choose finds the newest snapshot that is whole and has the log behind it.
func (f *recovered) choose(snapshots *snapshotFiles) error {
	r := f.replay
	var c *candidate
	if n := len(r.candidates); n > 0 {
		c = r.candidates[n-1]
	}
	for ; r.usable(c); c = c.previous {
		err := snapshots.verify(c.position)
		var damage *CorruptionError
		if errors.As(err, &damage) {
			f.passed = append(f.passed, passedOver{c.position, damage})
			continue
		}
		v := snapshots.verdicts[c.position]
		f.current, f.uid, f.members = *c, v.uid, v.members
		return err
	}
	if len(f.passed) == 0 {
		return &CorruptionError{File: f.image.path, Reason: "the log behind every snapshot is missing"}
	}
	damage := *f.passed[0].err
	damage.Reason += "; there is no older one with the log behind it"
	return &damage
}

// passedError returns the errors of all snapshots that were passed over, nil for
// none.
func (f *recovered) passedError() (all error) {
	for _, p := range f.passed {
		all = errors.Join(all, p.err)
	}
	return all
}

// trim drops the entries that the snapshot stands for.
func (f *recovered) trim() {
	r := f.replay
	if first := max(r.start, r.floor+1); f.current.index >= first {
		r.entries = slices.Clone(r.entries[f.current.index+1-first:])
	}
}

// sort divides the files into those that stay and those that nothing needs. A
// damaged snapshot stays until the next one is recorded: it is evidence.
func (f *recovered) sort(l listing, snapshots *snapshotFiles) {
	f.files = map[position]int64{}
	for _, p := range l.snapshots {
		switch {
		case p == f.current.position, f.replay.usable(f.current.previous) && p == f.current.previous.position:
			f.files[p] = snapshots.verdicts[p].size
		case !slices.ContainsFunc(f.passed, func(o passedOver) bool { return o.position == p }):
			f.litter = append(f.litter, snapshotName(p))
		}
	}
	f.litter = append(f.litter, l.unfinished...)
	for _, generation := range f.image.strays {
		f.litter = append(f.litter, segmentName(generation))
	}
	// The current snapshot may be so old that only luck has kept the log behind
	// it. That log is needed now.
	keep := min(f.image.keep, firstNeeded(f.image.segments, f.current))
	for f.image.segments[0].generation < keep {
		f.litter = append(f.litter, segmentName(f.image.segments[0].generation))
		f.image.segments = f.image.segments[1:]
	}
}

// checkOwner refuses the segments of other servers.
func (w *WAL) checkOwner(h *segmentHeader, path string) error {
	if h.clusterID == w.clusterID && h.nodeID == w.nodeID {
		return nil
	}
	return &IdentityError{File: path, ClusterID: h.clusterID, NodeID: h.nodeID, WantClusterID: w.clusterID, WantNodeID: w.nodeID}
}

// create begins a new log, with a first batch if there is one. A crash on the
// way leaves no segment, and so no log.
func (w *WAL) create(first *core.Write) error {
	w.spareMu.Lock()
	defer w.spareMu.Unlock()
	// A new log counts its batches from 1, so what an older one left here would have
	// higher numbers; see segmentHeader.decode.
	if err := w.giveRoom(); err != nil {
		return err
	}
	if err := w.makeSpare(min(w.segmentBytes, firstSegmentBytes), always); err != nil {
		return err
	}
	if err := w.begin(segmentHeader{generation: 1, firstIndex: 1}, first); err != nil {
		return err
	}
	return w.confirm()
}

// repair opens the last segment for writing and finishes what a crash
// interrupted. Every step may be interrupted in turn and is then done again.
func (w *WAL) repair(all *recovered) error {
	found := all.image
	file, err := w.fs.Open(found.path)
	if err != nil {
		return diskError("opening", found.path, err)
	}
	w.number, w.shape = found.at.number, all.replay.shape
	w.active = &segment{segmentHeader: *found.header, path: found.path, file: file, end: found.at.offset, last: found.at.last}
	w.current, w.files = all.current, all.files
	w.segments = found.segments
	w.stats = Stats{RecoveredTo: found.at.number, Cut: found.cut}
	for _, p := range all.passed {
		w.spoilt = append(w.spoilt, p.position)
	}
	w.stats.PassedOver = all.passedError()

	if err := writeZeros(file, found.cut.Offset, found.cut.Offset+found.cut.Bytes, always); err != nil {
		return diskError("cutting the torn end of", found.path, err)
	}
	// A process that was killed may have left its last batch in the cache only.
	if err := w.sync(file, found.path); err != nil {
		return err
	}
	if err := w.syncDir(); err != nil {
		return err
	}
	if found.empty && found.previous != nil {
		if err := w.finishRoll(found); err != nil {
			return err
		}
	}
	if err := w.confirm(); err != nil {
		return err
	}
	return w.removeLitter(all)
}

// removeLitter removes the files that a crash left behind and nothing needs. The
// records that say so are durable by now.
func (w *WAL) removeLitter(found *recovered) error {
	if len(found.litter) == 0 {
		return nil
	}
	for _, name := range found.litter {
		if err := w.remove(name); err != nil {
			return err
		}
	}
	return w.syncDir()
}

// finishRoll writes the seal of the segment before the last again, because the
// crash may have come before it was durable.
func (w *WAL) finishRoll(found *image) error {
	file, err := w.fs.Open(found.previousPath)
	if err != nil {
		return diskError("opening", found.previousPath, err)
	}
	defer file.Close()
	before := &segment{segmentHeader: *found.previous, path: found.previousPath, file: file, end: found.header.previousEnd, last: found.header.previous}
	return w.seal(before)
}

// confirm makes the mark behind the last batch durable. Where the cache cannot be
// dropped, the last batch may be one that an earlier process failed to sync: in
// the cache, called clean, and not on the disk. The next power cut takes it.
// Behind a durable mark that loss is seen and refused, and not taken for a torn
// write. Writing the batch once more would take it to the disk, but a power cut
// meanwhile could damage a batch that was durable and acknowledged.
func (w *WAL) confirm() error {
	if err := w.active.writeMark(TypeMark, w.number); err != nil {
		return diskError("marking", w.active.path, err)
	}
	return w.sync(w.active.file, w.active.path)
}

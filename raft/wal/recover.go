package wal

import (
	"errors"
	"fmt"
	"path/filepath"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// takeLock locks the directory for the life of the WAL.
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

// recover reads the log, puts right what a crash left half done, and makes the
// log ready for Save. Everything is read and judged before anything is written.
func (w *WAL) recover() (core.State, error) {
	found, entries, err := w.read()
	if err != nil {
		return core.State{}, err
	}
	if found == nil {
		return core.State{}, w.create()
	}
	if err := w.repair(found); err != nil {
		return core.State{}, err
	}
	return core.State{Term: w.shape.term, VotedFor: w.shape.votedFor, Entries: entries}, nil
}

// read reads the log without changing it. The image is nil when there is none.
func (w *WAL) read() (*image, []core.Entry, error) {
	var entries []core.Entry
	found, err := scan(w.fs, w.dir, w.checkOwner, func(r Record) error {
		if r.Type != TypeBatch {
			return nil
		}
		run, err := r.Entries()
		if err == nil {
			err = w.shape.check(r.Term, r.VotedFor, r.From, run)
		}
		if err != nil {
			return &CorruptionError{File: r.File, Offset: r.Offset, Reason: fmt.Sprintf("batch %d is whole but cannot be: %v", r.Number, err)}
		}
		w.shape.apply(r.Term, r.VotedFor, r.From, run)
		if r.From > 0 {
			entries = append(entries[:r.From-1], run...)
		}
		return nil
	})
	return found, entries, err
}

// checkOwner refuses the segments of other servers.
func (w *WAL) checkOwner(h *segmentHeader, path string) error {
	if h.clusterID == w.clusterID && h.nodeID == w.nodeID {
		return nil
	}
	return &IdentityError{File: path, ClusterID: h.clusterID, NodeID: h.nodeID, WantClusterID: w.clusterID, WantNodeID: w.nodeID}
}

// create begins a new log. A crash on the way leaves no segment, and so no log.
func (w *WAL) create() error {
	w.spareMu.Lock()
	defer w.spareMu.Unlock()
	if err := w.makeSpare(min(w.segmentBytes, firstSegmentBytes), always); err != nil {
		return err
	}
	if err := w.begin(segmentHeader{generation: 1, firstIndex: 1}); err != nil {
		return err
	}
	return w.confirm()
}

// repair opens the last segment for writing and finishes what a crash
// interrupted. Every step may be interrupted in turn and is then done again.
func (w *WAL) repair(found *image) error {
	file, err := w.fs.Open(found.path)
	if err != nil {
		return diskError("opening", found.path, err)
	}
	w.number = found.at.number
	w.active = &segment{segmentHeader: *found.header, path: found.path, file: file, end: found.at.offset, last: found.at.last}
	w.stats = Stats{Segments: found.segments, Bytes: found.bytes, RecoveredTo: found.at.number, Cut: found.cut}

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
	return w.confirm()
}

// finishRoll writes the seal of the segment before the last again: the crash may
// have come before it was durable.
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
// the cache, called clean, and not on the disk. The next power cut takes it, and
// behind a durable mark that loss is seen and refused, not taken for a torn
// write. Writing the batch once more would take it to the disk, but a power cut
// meanwhile could damage one that was durable and acknowledged.
func (w *WAL) confirm() error {
	if err := w.active.writeMark(TypeMark, w.number); err != nil {
		return diskError("marking", w.active.path, err)
	}
	return w.sync(w.active.file, w.active.path)
}

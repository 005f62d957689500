package wal

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// spare is a file that waits to become the next segment: one of durable zeros, or a
// segment that the log does not need any more.
type spare struct {
	file     vfs.File
	path     string
	size     int64
	recycled bool
}

// room returns the size that a segment in the file has; see segmentHeader.recycled.
func (s *spare) room() int64 {
	if s.recycled {
		return s.size - recordAlign
	}
	return s.size
}

// Prepare takes away the files that a recorded snapshot made superfluous and makes
// the one spare segment ready, so that the next roll need not wait for it. It takes
// a segment that the log does not need any more, reads a spare that an earlier run
// left, or writes and syncs a whole segment. It returns at once when a spare is
// there. Call it from a goroutine of its own,
// once for every value that NeedsSpare yields.
//
// A full disk, or a lack of file descriptors, is an error here but not the end of
// the log: Save goes on until the present segment is used up. Every other failure
// of the disk ends the log.
func (w *WAL) Prepare() error {
	w.spareMu.Lock()
	defer w.spareMu.Unlock()
	if err := w.usable(); err != nil {
		return err
	}
	noRoom, err := w.trim(maxRetired)
	if err != nil {
		return w.fail(err)
	}
	if w.spare != nil {
		return noRoom
	}
	err = w.findSpare()
	if err == nil && w.spare == nil {
		err = w.makeSpare(w.segmentBytes, w.usable)
	}
	switch {
	case err == nil:
		return noRoom
	case errors.Is(err, ErrClosed) || vfs.IsNoSpace(err) || vfs.IsShortage(err):
		return err
	}
	return w.fail(err)
}

// NeedsSpare yields a value whenever Prepare should be called: after Open, after
// every roll and when a snapshot was recorded. Close closes the channel, so a
// loop over it ends.
func (w *WAL) NeedsSpare() <-chan struct{} { return w.needs }

// signalNeed wakes the goroutine that waits on NeedsSpare, once.
func (w *WAL) signalNeed() {
	select {
	case w.needs <- struct{}{}:
	default:
	}
}

// findSpare looks for a spare that need not be written. The caller must hold
// spareMu.
func (w *WAL) findSpare() error {
	if err := w.takeRetired(); err != nil || w.spare != nil {
		return err
	}
	return w.reuseSpare()
}

// reuseSpare takes the spare of an earlier run if it is whole: it has the size
// that is wanted now and holds nothing but zeros. The name alone proves nothing,
// because a crash may have come at any time.
func (w *WAL) reuseSpare() error {
	path := filepath.Join(w.dir, spareName)
	file, err := w.fs.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return diskError("opening", path, err)
	}
	file.DropCache() // the earlier run may have failed to sync it
	blank, err := isBlank(file, w.segmentBytes, w.usable)
	if err == nil && blank {
		err = w.sync(file, path)
	}
	if err != nil || !blank {
		file.Close()
		return err
	}
	w.setSpare(&spare{file: file, path: path, size: w.segmentBytes})
	return nil
}

// isBlank reports whether a file is size zeros. It calls goOn before each piece
// and stops at its error.
func isBlank(f vfs.File, size int64, goOn func() error) (bool, error) {
	if got, err := f.Size(); err != nil || got != size {
		return false, err
	}
	piece := make([]byte, len(zeros))
	for at := int64(0); at < size; at += int64(len(piece)) {
		if err := goOn(); err != nil {
			return false, err
		}
		b := piece[:min(int64(len(piece)), size-at)]
		if n, err := f.ReadAt(b, at); err != nil && (err != io.EOF || n < len(b)) {
			return false, err
		}
		if !bytes.Equal(b, zeros[:len(b)]) {
			return false, nil
		}
	}
	return true, nil
}

// makeSpare makes a file of zeros, in place of any spare there is. The caller
// must hold spareMu.
func (w *WAL) makeSpare(size int64, goOn func() error) error {
	path := filepath.Join(w.dir, spareName)
	if w.spare != nil {
		w.spare.file.Close()
		if w.spare.recycled {
			w.retired = append(w.retired, filepath.Base(w.spare.path))
		}
		w.setSpare(nil)
	}
	if err := w.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskError("removing", path, err)
	}
	file, err := w.fs.Create(path)
	if err != nil {
		return diskError("creating", path, err)
	}
	err = writeZeros(file, 0, size, goOn)
	if err != nil && !errors.Is(err, ErrClosed) {
		err = diskError("filling", path, err)
	}
	if err == nil {
		err = w.sync(file, path)
	}
	if err == nil {
		err = w.syncDir()
	}
	if err != nil {
		// A half-made spare is of no use, and its bytes may be the room that the disk
		// lacks. The next start checks whatever is left of it before it uses it.
		file.Close()
		w.fs.Remove(path)
		return err
	}
	w.setSpare(&spare{file: file, path: path, size: size})
	return nil
}

func (w *WAL) setSpare(s *spare) {
	w.spare = s
	w.mu.Lock()
	w.stats.SpareReady = s != nil
	w.mu.Unlock()
}

// roll ends the present segment and begins one that holds the record r. Each
// step is durable before the next:
//
//  0. zeros up to the old segment's end, if it is a recycled one;
//  1. the new segment's header, while the file is still named as the spare;
//  2. its name: from now on the old segment is complete by definition;
//  3. the old segment's seal: from now on the new one cannot get lost unseen.
func (w *WAL) roll(r recordHeader) error {
	w.spareMu.Lock()
	defer w.spareMu.Unlock()
	if err := w.usable(); err != nil { // Prepare may have failed while this waited for it
		return err
	}
	if err := w.checkNames(); err != nil {
		return err
	}
	if err := w.spareFor(r); err != nil {
		return err
	}
	old := w.active
	if err := w.clearRest(old); err != nil {
		return err
	}
	err := w.begin(segmentHeader{
		generation: old.generation + 1, previous: old.last, number: w.number, previousEnd: old.end, firstIndex: w.shape.last + 1,
	}, nil)
	if w.active != old {
		defer old.file.Close()
	}
	if err != nil {
		return err
	}
	if err := w.seal(old); err != nil {
		return err
	}
	w.mu.Lock()
	w.stats.Rolls++
	w.mu.Unlock()
	w.signalNeed()
	return nil
}

// spareFor makes sure that there is a spare with room for the record r. The caller
// must hold spareMu.
func (w *WAL) spareFor(r recordHeader) error {
	need := segmentHeaderBytes + recordHeaderBytes + padded(int64(r.length)) + recordHeaderBytes
	if w.spare == nil && need <= w.segmentBytes {
		if err := w.findSpare(); err != nil {
			return err
		}
	}
	if w.spare != nil && w.spare.room() >= need {
		return nil
	}
	if _, err := w.trim(0); err != nil { // the new segment may need the room
		return err
	}
	size := max(w.segmentBytes, roundUp(need))
	err := w.makeSpare(size, always)
	if vfs.IsNoSpace(err) && len(w.retired) > 0 {
		if err := w.giveRoom(); err != nil {
			return err
		}
		err = w.makeSpare(size, always)
	}
	return err
}

// begin turns the spare into the active segment with the given header and, if
// there is one, a first batch. The caller must hold spareMu.
func (w *WAL) begin(h segmentHeader, first *core.Write) error {
	spareAt, path, fileSize := w.spare.path, filepath.Join(w.dir, segmentName(h.generation)), w.spare.size
	s := &segment{segmentHeader: h, path: path, file: w.spare.file, end: segmentHeaderBytes}
	s.size, s.clusterID, s.nodeID = w.spare.room(), w.clusterID, w.nodeID
	header := s.encode()
	s.last = s.checksum
	if err := w.blank(s, fileSize); err != nil {
		return err
	}
	if err := writeFull(s.file, header, 0); err != nil {
		return diskError("writing the header of", spareAt, err)
	}
	if first != nil {
		batch, buffer := w.encode(first)
		if err := w.write(s, batch, buffer); err != nil {
			return err
		}
	}
	if err := w.sync(s.file, spareAt); err != nil {
		return err
	}
	if err := w.fs.Rename(spareAt, path); err != nil {
		return diskError("renaming the spare to", path, err)
	}
	w.active = s
	w.setSpare(nil)
	w.mu.Lock()
	w.segments = append(w.segments, segmentFile{s.generation, s.firstIndex, fileSize})
	if s.recycled() {
		w.stats.Recycled++
	}
	w.mu.Unlock()
	return w.syncDir()
}

// blank writes the zeros that a recycled segment must have before its first batch:
// behind its header, and from its size on.
func (w *WAL) blank(s *segment, fileSize int64) error {
	if !s.recycled() {
		return nil
	}
	err := writeFull(s.file, zeros[:segmentAlign], segmentHeaderBytes)
	if err == nil {
		err = writeFull(s.file, zeros[:segmentAlign], fileSize-segmentAlign)
	}
	if err != nil {
		return diskError("clearing", s.path, err)
	}
	return nil
}

// seal makes the seal behind the last batch of a full segment durable.
func (w *WAL) seal(s *segment) error {
	if err := s.writeMark(TypeSeal, w.number); err != nil {
		return diskError("sealing", s.path, err)
	}
	return w.sync(s.file, s.path)
}

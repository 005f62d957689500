package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"raftkv/raft/core"
	"raftkv/raft/snapshot"
	"raftkv/raft/vfs"
)

// WriteSnapshot writes the snapshot of the state machine at s to a file, so that
// a later Save may record it: a temporary file, its checksums, sync, rename, sync
// of the directory. The function write writes the payload. It runs at the same
// time as Save, and any pause it makes holds up no other call. One snapshot is
// written at a time.
//
// An error of write, or a full disk, leaves the log as it was: the snapshot may
// be tried again later. Every other failure of the disk ends the log.
// WriteSnapshot returns ErrObsolete if a newer snapshot was recorded meanwhile.
func (w *WAL) WriteSnapshot(s core.Snapshot, write func(io.Writer) error) error {
	w.writing.Lock()
	defer w.writing.Unlock()
	p := positionOf(s)
	if done, err := w.wants(p); done || err != nil {
		return err
	}
	path := filepath.Join(w.dir, writingName)
	if err := w.remove(writingName); err != nil {
		return w.fail(err)
	}
	f := &container{w: w, path: path}
	err := f.write(s, write)
	if err == nil {
		err = w.adopt(writingName, p, f.size)
	}
	return w.afterSnapshot(err, writingName)
}

// wants reports whether a snapshot is of use: done is true if it is there
// already.
func (w *WAL) wants(p position) (done bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch _, there := w.files[p]; {
	case w.closed:
		return false, ErrClosed
	case w.failed != nil:
		return false, w.failed
	case there:
		return true, nil
	case p.index <= w.current.index && p != w.current.position: // but the current one may be written anew, if its file was lost
		return false, fmt.Errorf("wal: the snapshot at index %d is not needed, there is one at index %d: %w", p.index, w.current.index, ErrObsolete)
	case p.term == 0:
		return false, fmt.Errorf("wal: there can be no snapshot at index %d of term 0", p.index)
	}
	return false, nil
}

// diskFailure marks an error of the disk that ends the log.
type diskFailure struct{ error }

func (f diskFailure) Unwrap() error { return f.error }

// afterSnapshot removes the remains of a snapshot that did not come about, and
// decides what its failure means for the log.
func (w *WAL) afterSnapshot(err error, name string) error {
	if err == nil {
		return nil
	}
	var disk diskFailure
	if errors.As(err, &disk) {
		return w.fail(disk.error)
	}
	left := w.remove(name)
	if vfs.IsNoSpace(err) {
		w.spareMu.Lock()
		left = errors.Join(left, w.giveRoom()) // the next try may need it
		w.spareMu.Unlock()
	}
	if left != nil && w.usable() == nil {
		return w.fail(left)
	}
	return err
}

// container is a snapshot file that is being written.
type container struct {
	w      *WAL
	path   string
	file   vfs.File
	size   int64
	synced int64
	err    error // the first error of the disk
}

// syncEvery is the number of bytes of a snapshot after which they are synced. One
// sync of all bytes at the end would hold up the syncs of the log for as long as
// the disk takes to write them.
const syncEvery = 1 << 20

// write creates the file and writes all of it.
func (c *container) write(of core.Snapshot, payload func(io.Writer) error) error {
	file, err := c.w.fs.Create(c.path)
	if err != nil {
		return c.failed("creating", err)
	}
	c.file = file
	defer file.Close()
	configuration, err := of.Members.Encode()
	if err != nil {
		return fmt.Errorf("wal: writing the snapshot at index %d: %w", of.Index, err)
	}
	s, err := snapshot.NewWriter(c, snapshot.Header{ClusterID: c.w.clusterID, Index: of.Index, Term: of.Term, UID: of.UID, Configuration: string(configuration)})
	if err == nil {
		err = payload(s)
	}
	if err == nil {
		err = s.Close()
	}
	if c.err != nil {
		return c.err // whatever payload returned instead
	}
	if err != nil {
		return fmt.Errorf("wal: writing the snapshot at index %d: %w", of.Index, err)
	}
	return c.sync()
}

// Write implements io.Writer.
func (c *container) Write(p []byte) (int, error) {
	if c.err == nil {
		c.err = c.w.usable()
	}
	if c.err != nil {
		return 0, c.err
	}
	if err := writeFull(c.file, p, c.size); err != nil {
		c.err = c.failed("writing", err)
		return 0, c.err
	}
	c.size += int64(len(p))
	if c.size-c.synced >= syncEvery {
		c.err = c.sync()
	}
	return len(p), c.err
}

// sync makes the bytes written so far durable.
func (c *container) sync() error {
	if err := c.file.Sync(); err != nil {
		return c.failed("syncing", err)
	}
	c.synced = c.size
	c.w.countSync()
	return nil
}

// failed wraps an error of the disk. If the disk is full, or a file descriptor
// cannot be had, only the snapshot is lost.
func (c *container) failed(doing string, err error) error {
	switch {
	case vfs.IsNoSpace(err):
		return noRoom(doing, c.path, err)
	case vfs.IsShortage(err):
		return fmt.Errorf("wal: %s %s: the log goes on without this snapshot: %w", doing, c.path, err)
	}
	return diskFailure{diskError(doing, c.path, err)}
}

// noRoom is the error of a snapshot for which the disk has no room.
func noRoom(doing, path string, err error) error {
	return fmt.Errorf("wal: %s %s: the disk is full: the log goes on without this snapshot; free some space before it is tried again: %w", doing, path, err)
}

// adopt gives a durable file its name as a snapshot, durably.
func (w *WAL) adopt(name string, p position, size int64) error {
	w.removing.Lock()
	defer w.removing.Unlock()
	if err := w.usable(); err != nil {
		return err
	}
	path := w.snapshotPath(p)
	w.mu.Lock()
	obsolete := p.index <= w.current.index && p != w.current.position
	w.garbage = without(w.garbage, snapshotName(p)) // a damaged one may have had the name
	w.mu.Unlock()
	if obsolete {
		return fmt.Errorf("wal: the snapshot at index %d: %w", p.index, ErrObsolete)
	}
	if err := w.fs.Rename(filepath.Join(w.dir, name), path); err != nil {
		if vfs.IsNoSpace(err) {
			return noRoom("renaming the snapshot to", path, err)
		}
		return diskFailure{diskError("renaming the snapshot to", path, err)}
	}
	if err := w.syncDir(); err != nil {
		return diskFailure{err} // for lack of room, too: the name may or may not be durable
	}
	w.mu.Lock()
	w.files[p] = size
	w.mu.Unlock()
	return nil
}

// checkSnapshot returns the reason why a batch may not record this snapshot, or
// nil. A file that was found damaged since it was written is no such reason: see
// lostUnrecorded.
func (w *WAL) checkSnapshot(s core.Snapshot) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.Index <= w.current.index {
		return fmt.Errorf("its snapshot at index %d is not newer than the one at index %d", s.Index, w.current.index)
	}
	if _, there := w.files[positionOf(s)]; !there && !slices.Contains(w.spoilt, positionOf(s)) {
		return fmt.Errorf("its snapshot at index %d of term %d has no file", s.Index, s.Term)
	}
	return nil
}

// lostUnrecorded returns an error if a batch records a snapshot whose file was
// found damaged while the batch waited for the disk, and the snapshot replaces the
// log: then nothing would be left to begin with. If it does not replace the log,
// the batch may record it: a start passes it over and begins with the one before
// it, whose log stays.
func (w *WAL) lostUnrecorded(b *core.Write) error {
	if b.Snapshot == nil || !w.recordOf(b).replaces {
		return nil
	}
	p := positionOf(*b.Snapshot)
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, there := w.files[p]; there || !slices.Contains(w.spoilt, p) {
		return nil
	}
	return diskError("recording", w.snapshotPath(p), errors.New("the snapshot was found damaged after it had been received; start the node again, it then receives another"))
}

// recordOf returns the record that a batch makes of its snapshot, without the
// generation.
func (w *WAL) recordOf(b *core.Write) snapshotRecord {
	if b.Snapshot == nil {
		return snapshotRecord{}
	}
	s := b.Snapshot
	holds, _ := w.shape.holds(s.Index, s.Term, b.From, b.Entries)
	r := snapshotRecord{position: positionOf(*s), keep: 1, replaces: !holds}
	if holds {
		r.previous = w.current.position
	}
	return r
}

// fillKeep completes an encoded record of a snapshot that goes to the segment of
// the given generation.
func (w *WAL) fillKeep(payload []byte, generation uint64) {
	r, _, _ := decodeSnapshotRecord(payload)
	keep := generation
	if !r.replaces {
		w.mu.Lock()
		keep = firstNeeded(w.segments, w.current)
		w.mu.Unlock()
	}
	binary.LittleEndian.PutUint64(payload[keepAt:], keep)
}

// firstNeeded returns the generation of the first segment that recovery from a
// snapshot needs: the record of it and all entries behind it are there or later.
func firstNeeded(segments []segmentFile, from candidate) uint64 {
	first := segments[0].generation
	for _, s := range segments {
		if s.generation <= from.generation && s.firstIndex <= from.index+1 {
			first = s.generation
		}
	}
	return first
}

// recorded notes that a snapshot is durably recorded. Files that were only needed
// without it become garbage.
func (w *WAL) recorded(r snapshotRecord) {
	w.mu.Lock()
	defer w.mu.Unlock()
	keep := w.active.generation
	if !r.replaces {
		keep = firstNeeded(w.segments, w.current)
	}
	previous := w.current
	previous.previous = nil // it is of no more use
	w.current = candidate{r.position, w.active.generation, &previous}
	for w.segments[0].generation < keep {
		if s := w.segments[0]; s.bytes == w.segmentBytes {
			w.retiring = append(w.retiring, segmentName(s.generation))
		} else {
			w.garbage = append(w.garbage, segmentName(s.generation))
		}
		w.segments = w.segments[1:]
	}
	for p := range w.files {
		if p.index <= w.current.index && p != w.current.position && p != previous.position {
			w.spoilt = append(w.spoilt, p)
			delete(w.files, p)
		}
	}
	var stay []position
	for _, p := range w.spoilt {
		if p == previous.position {
			stay = append(stay, p) // until there is another one to fall back on
		} else if _, again := w.files[p]; !again {
			w.garbage = append(w.garbage, snapshotName(p))
		}
	}
	w.spoilt = stay
	w.signalNeed()
}

// OpenSnapshot opens the payload of the snapshot at an index. It is verified
// while it is read: only io.EOF says that it was whole, and damage is a
// *CorruptionError. The caller closes it. The error satisfies fs.ErrNotExist if
// there is no such snapshot, or not any more.
func (w *WAL) OpenSnapshot(index uint64) (io.ReadCloser, error) {
	p := position{index: index}
	w.mu.Lock()
	for at := range w.files {
		if at.index == index && at.term > p.term {
			p = at
		}
	}
	w.mu.Unlock()
	if p.term == 0 {
		return nil, fmt.Errorf("wal: there is no snapshot at index %d: %w", index, fs.ErrNotExist)
	}
	r, file, _, err := w.openContainer(p)
	if err != nil {
		return nil, err
	}
	return &payloadReader{r: r, file: file, path: w.snapshotPath(p)}, nil
}

// payloadReader reads the payload of a snapshot file.
type payloadReader struct {
	r    *snapshot.Reader
	file io.Closer
	path string
}

// Read implements io.Reader.
func (p *payloadReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if err != nil && err != io.EOF {
		err = snapshotError(p.path, err)
	}
	return n, err
}

// Close implements io.Closer.
func (p *payloadReader) Close() error { return p.file.Close() }

// without returns names without one of them.
func without(names []string, name string) []string {
	kept := names[:0]
	for _, n := range names {
		if n != name {
			kept = append(kept, n)
		}
	}
	return kept
}

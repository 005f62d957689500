package wal

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// Sizes of segments, in bytes.
const (
	// DefaultSegmentBytes keeps two things short: the making of a spare (some 50
	// ms of disk time) and the check of an unused tail at start. A roll stays
	// rare.
	DefaultSegmentBytes = 16 << 20
	// MinSegmentBytes and MaxSegmentBytes bound Options.SegmentBytes.
	MinSegmentBytes = 8 << 10
	MaxSegmentBytes = 1 << 30

	// firstSegmentBytes bounds the segment that a new log starts with, because the
	// server waits to serve while it is made.
	firstSegmentBytes = 4 << 20
	// segmentAlign is also the size of the blocks in which a file is written. A write
	// of a part of a block may have to read the rest from the disk first.
	segmentAlign = 4096

	// maxBlank bounds the zeros that one batch brings; see segmentHeader.blankTo.
	maxBlank = segmentAlign + recordHeaderBytes
)

// maxKeptBuffer is the size of the largest buffer that one batch may leave
// allocated.
const maxKeptBuffer = 4 << 20

// Options name the log to open.
type Options struct {
	FS  vfs.FS // where Dir is; nil means vfs.OS
	Dir string // the log's own directory; created when missing

	// ClusterID and NodeID name the owner, 1 to core.MaxIDBytes bytes each. They
	// are written into every file, and a log of another owner is refused.
	ClusterID, NodeID string

	// SegmentBytes is the size of new segments, rounded up to 4 KiB; 0 means
	// DefaultSegmentBytes. It may change from one start to the next. A larger
	// batch gets a segment of its own size.
	SegmentBytes int64
}

// WAL is an open log. Save and Close belong to one goroutine at a time; all
// other methods may be called from any, at any time.
type WAL struct {
	fs           vfs.FS
	dir          string
	clusterID    string
	nodeID       string
	segmentBytes int64
	lock         io.Closer

	// Of the goroutine that calls Save.
	active *segment
	number uint64 // of the last batch on disk
	seq    uint64 // Seq of the last Write
	shape  shape
	buffer []byte // encoded batch, kept between calls

	// spareMu is held while the spare is made or used up. Save takes it only to
	// roll.
	spareMu sync.Mutex
	spare   *spare
	retired []string // names of segments that wait to be used again, durable under them
	needs   chan struct{}

	// One snapshot is written and one received at a time.
	writing   sync.Mutex
	receiving sync.Mutex
	partial   *partial // guarded by receiving; nil if there is none

	// removing is held while files are removed or a snapshot gets its name. It may
	// be taken while spareMu, writing or receiving is held.
	removing sync.Mutex

	// mu guards what follows and is never held during I/O.
	mu       sync.Mutex
	failed   error // the first error of the disk; the log writes nothing after it
	closed   bool
	stats    Stats
	segments []segmentFile      // on disk and needed, in order; the active one is the last
	current  candidate          // the one that a start begins with
	files    map[position]int64 // sizes of the snapshots that are durable under their names
	spoilt   []position         // snapshots that Open passed over or SnapshotFile found damaged
	garbage  []string           // names of files to remove
	retiring []string           // names of segments to use again, or to remove
}

// Open opens the log in o.Dir, creates it when there is none, and returns its
// content: the newest snapshot that is whole, without its Data, and the entries
// behind it. Everything in the State is durable when Open returns, and the
// remains of an interrupted write are gone; see Stats.Cut and Stats.PassedOver.
//
// Open returns a *CorruptionError when bytes are damaged that were durable once,
// and an *IdentityError when the log is another server's. It returns a
// *VersionError when a newer raftkv wrote the log, and an error with
// vfs.ErrLocked when it is in use. In all these cases nothing was changed.
func Open(o Options) (*WAL, core.State, error) {
	w, err := newWAL(o)
	if err != nil {
		return nil, core.State{}, err
	}
	if err := ensureDirectory(w.fs, w.dir); err != nil {
		return nil, core.State{}, diskError("creating", w.dir, err)
	}
	if err := w.takeLock(); err != nil {
		return nil, core.State{}, err
	}
	state, err := w.recover()
	if err != nil {
		w.release()
		return nil, core.State{}, err
	}
	w.signalNeed()
	return w, state, nil
}

func newWAL(o Options) (*WAL, error) {
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.SegmentBytes < MinSegmentBytes || o.SegmentBytes > MaxSegmentBytes {
		return nil, fmt.Errorf("wal: the segment size is %d bytes: choose %d to %d", o.SegmentBytes, MinSegmentBytes, MaxSegmentBytes)
	}
	if o.Dir == "" {
		return nil, errors.New("wal: no directory is given: name one for the log")
	}
	for _, owner := range [][2]string{{"cluster", o.ClusterID}, {"node", o.NodeID}} {
		if name, id := owner[0], owner[1]; len(id) == 0 || len(id) > core.MaxIDBytes {
			return nil, fmt.Errorf("wal: the %s id %q has %d bytes: give one of 1 to %d", name, id, len(id), core.MaxIDBytes)
		}
	}
	return &WAL{
		fs: o.FS, dir: o.Dir, clusterID: o.ClusterID, nodeID: o.NodeID,
		segmentBytes: roundUp(o.SegmentBytes), needs: make(chan struct{}, 1), files: map[position]int64{},
	}, nil
}

// roundUp rounds the size of a segment up to a multiple of segmentAlign, which
// file systems count in.
func roundUp(size int64) int64 { return (size + segmentAlign - 1) / segmentAlign * segmentAlign }

// Save makes one batch durable: term, vote, truncation and entries together, or
// none of it. When it returns nil, the batch and all before it survive anything
// that the disk survives. Save encodes the entries before it returns and does not
// keep them.
//
// After an error the next Open may or may not find the batch, and the log accepts
// nothing more: every later Save returns the same error. An entry that does not
// match its checksum is such an error too, a *core.DamageError. A batch that no
// Raft server could want to save is a bug of the caller and panics.
//
// A batch with a Snapshot records it: from now on a start begins there, and
// Prepare removes the files that were only needed without it. WriteSnapshot or
// FinishReceive must have made its file; the batch's Snapshot.Data is ignored.
// The snapshot before it stays, with the log behind it, unless the new one
// replaces the log.
func (w *WAL) Save(b *core.Write) error {
	if err := w.usable(); err != nil {
		return err
	}
	if err := core.Intact(b.Entries, "written"); err != nil {
		return w.fail(err)
	}
	if err := w.check(b); err != nil {
		// A server that is wrong about its own log is worse than one that is down.
		panic(fmt.Sprintf("wal: write %d is impossible: %v", b.Seq, err))
	}
	if err := w.lostUnrecorded(b); err != nil {
		return w.fail(err)
	}
	applied := w.step(b)
	if err := w.append(b); err != nil {
		return w.fail(err)
	}
	w.seq = b.Seq
	w.shape.apply(applied)
	if b.Snapshot != nil {
		w.recorded(applied.record)
	}
	return nil
}

// check returns the reason why no Raft server may save this batch now, or nil.
func (w *WAL) check(b *core.Write) error {
	if b.Seq != w.seq+1 {
		return fmt.Errorf("it follows write %d", w.seq)
	}
	if len(b.Entries) > math.MaxUint32 {
		return fmt.Errorf("%d entries at once", len(b.Entries))
	}
	if b.Snapshot != nil {
		if err := w.checkSnapshot(*b.Snapshot); err != nil {
			return err
		}
	}
	return w.shape.check(w.step(b))
}

// step returns the batch as the shape sees it.
func (w *WAL) step(b *core.Write) step {
	return step{term: b.Term, votedFor: b.VotedFor, record: w.recordOf(b), from: b.From, entries: b.Entries, commit: b.Commit}
}

// append writes a batch behind the last one and syncs it.
func (w *WAL) append(b *core.Write) error {
	h, buffer := w.encode(b)
	if !w.active.holds(h, w.active.end) {
		if err := w.roll(h); err != nil {
			return err
		}
	}
	s := w.active
	if err := w.write(s, h, buffer); err != nil {
		return err
	}
	if err := w.sync(s.file, s.path); err != nil {
		return err
	}
	w.mu.Lock()
	w.stats.Batches++
	w.stats.Entries += uint64(len(b.Entries))
	w.stats.AppendedBytes += uint64(len(buffer))
	w.mu.Unlock()
	return nil
}

// encode returns a batch as it is on disk, except for the fields that depend on
// its offset.
func (w *WAL) encode(b *core.Write) (recordHeader, []byte) {
	h := recordHeader{kind: TypeBatch, number: w.number + 1}
	buffer := append(w.buffer[:0], zeros[:recordHeaderBytes]...)
	if b.Snapshot != nil {
		h.kind = TypeSnapshot
		buffer = appendSnapshotRecord(buffer, w.recordOf(b))
	}
	buffer = appendBatch(buffer, b)
	h.length = uint64(len(buffer) - recordHeaderBytes)
	buffer = append(buffer, zeros[:padded(int64(len(buffer)))-int64(len(buffer))]...)
	buffer = slices.Grow(buffer, maxBlank)
	if w.buffer = buffer; cap(buffer) > maxKeptBuffer {
		w.buffer = nil
	}
	return h, buffer
}

// write writes an encoded batch behind the last one of a segment.
func (w *WAL) write(s *segment, h recordHeader, buffer []byte) error {
	if h.kind == TypeSnapshot {
		w.fillKeep(buffer[recordHeaderBytes:], s.generation)
	}
	h.previous = s.last
	h.payload = checksum(buffer[recordHeaderBytes:])
	h.encode(buffer, s.checksum, s.end)
	end := h.end(s.end)
	if blank := s.blankTo(end); blank > s.blankTo(s.end) {
		buffer = append(buffer, zeros[:blank-end]...)
	}
	if err := writeFull(s.file, buffer, s.end); err != nil {
		return diskError(fmt.Sprintf("writing %d bytes at byte %d of", len(buffer), s.end), s.path, err)
	}
	s.end, s.last, w.number = end, h.checksum, h.number
	s.marked = false
	return nil
}

// Settle writes the mark that says that the last batch was synced, unless it is
// there. The mark need not be durable. Where it survives, it distinguishes damage to
// this batch from a write that a crash interrupted. The next batch overwrites it and
// says the same, so it need not be written while another batch waits, and nobody
// need wait for it. Settle belongs to the goroutine that calls Save, which calls it
// when there is nothing to save. An error ends the log.
func (w *WAL) Settle() error {
	if err := w.usable(); err != nil {
		return err
	}
	if w.active.marked {
		return nil
	}
	if err := w.active.writeMark(TypeMark, w.number); err != nil {
		return w.fail(diskError("marking", w.active.path, err))
	}
	return nil
}

// sync syncs a file and counts it. There is no second try: after a failed sync
// the kernel may call data clean that never reached the disk.
func (w *WAL) sync(f vfs.File, path string) error {
	if err := f.Sync(); err != nil {
		return diskError("syncing", path, err)
	}
	w.countSync()
	return nil
}

func (w *WAL) countSync() {
	w.mu.Lock()
	w.stats.Syncs++
	w.mu.Unlock()
}

// syncDir makes the names in the directory durable.
func (w *WAL) syncDir() error {
	if err := w.fs.SyncDir(w.dir); err != nil {
		return diskError("syncing", w.dir, err)
	}
	return nil
}

// usable returns the reason why the log accepts nothing more, or nil.
func (w *WAL) usable() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	return w.failed
}

// fail ends the log and returns the error that ended it, which is err unless an
// earlier one did.
func (w *WAL) fail(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		w.failed = fmt.Errorf("%w (the log accepts nothing more; the next start will find out what is durable)", err)
	}
	return w.failed
}

// Close records that everything is durable, gives the directory back and closes
// the channel of NeedsSpare. It waits for a pending Prepare and WriteSnapshot,
// which give up early. Closing twice is allowed. After a failure of the disk
// nothing more is written.
func (w *WAL) Close() error {
	w.mu.Lock()
	closed, failed := w.closed, w.failed
	w.closed = true
	w.mu.Unlock()
	if closed {
		return nil
	}
	var err error
	if failed == nil {
		if err = w.active.writeMark(TypeMark, w.number); err != nil {
			err = diskError("marking", w.active.path, err)
		} else {
			err = w.sync(w.active.file, w.active.path)
		}
	}
	w.release()
	close(w.needs)
	return err
}

// release closes the files and gives the lock back. Errors do not matter here:
// everything that had to be durable was synced.
func (w *WAL) release() {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.receiving.Lock()
	defer w.receiving.Unlock()
	w.spareMu.Lock()
	defer w.spareMu.Unlock()
	if w.partial != nil {
		w.partial.file.Close()
		w.partial = nil
	}
	if w.active != nil {
		w.active.file.Close()
	}
	if w.spare != nil {
		w.spare.file.Close()
		w.spare = nil
	}
	w.lock.Close()
}

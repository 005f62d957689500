package wal

// Stats are counts since Open, unless a field says otherwise.
type Stats struct {
	Segments      int    // on disk, the spare not counted
	Bytes         int64  // the size of all of them
	SnapshotIndex uint64 // of the snapshot that a start would begin with, 0 for none
	SnapshotTerm  uint64 // of that entry
	SnapshotBytes int64  // the size of its file
	Batches       uint64 // saved
	Entries       uint64 // saved
	AppendedBytes uint64 // of batches, with headers and padding
	Syncs         uint64 // of files
	Rolls         uint64 // times a segment was used up
	Removed       uint64 // files that a snapshot made superfluous; segments to be used again are among them
	Recycled      uint64 // segments that were begun in the file of an old one
	SpareReady    bool   // the next roll need not wait
	RecoveredTo   uint64 // number of the last batch that Open found, counted since the log was created
	Cut           Cut    // the remains that Open cut off the end
	// PassedOver names the snapshots that Open found damaged, with file and
	// offset. An older one and the log behind it served instead, so nothing is
	// lost. But no snapshot is left to fall back on: check the disk. It is nil if
	// all were whole.
	PassedOver error
	Lost       uint64 // snapshots that SnapshotFile found damaged
}

func (w *WAL) countRemoved() {
	w.mu.Lock()
	w.stats.Removed++
	w.mu.Unlock()
}

// Stats returns the counts of this moment.
func (w *WAL) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Segments, s.Bytes = len(w.segments), 0
	for _, f := range w.segments {
		s.Bytes += f.bytes
	}
	s.SnapshotIndex, s.SnapshotTerm, s.SnapshotBytes = w.current.index, w.current.term, w.files[w.current.position]
	return s
}

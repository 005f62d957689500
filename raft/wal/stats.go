package wal

// Stats are counts since Open, unless said otherwise.
type Stats struct {
	Segments      int    // on disk, the spare not counted
	Bytes         int64  // the size of all of them
	Batches       uint64 // saved
	Entries       uint64 // saved
	AppendedBytes uint64 // of batches, with headers and padding
	Syncs         uint64 // of files
	Rolls         uint64 // times a segment was used up
	SpareReady    bool   // the next roll need not wait
	RecoveredTo   uint64 // number of the last batch that Open found, counted over the whole life of the log
	Cut           Cut    // what Open cut off the end
}

// Stats returns the counts of this moment.
func (w *WAL) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

package machine

import "time"

// Observer is told what a machine does, for measuring. Its methods are called by
// the machine's goroutines and must not block.
type Observer interface {
	// Applied says that a batch went into the store, and how many log entries it had.
	Applied(entries int, took time.Duration)
	// SnapshotWritten says that a snapshot is on the disk.
	SnapshotWritten(took time.Duration)
	// Restored says that the store was made from a snapshot.
	Restored(took time.Duration)
	// HandedOver says that a lock went to a request that waits here, and how long it took
	// from the arrival of the release.
	HandedOver(took time.Duration)
}

// unobserved measures nothing.
type unobserved struct{}

func (unobserved) Applied(int, time.Duration)    {}
func (unobserved) SnapshotWritten(time.Duration) {}
func (unobserved) Restored(time.Duration)        {}
func (unobserved) HandedOver(time.Duration)      {}

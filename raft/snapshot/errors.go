package snapshot

import "fmt"

// CorruptionError says that the bytes are not those of a whole snapshot:
// damaged, cut short, followed by something, or no snapshot at all.
type CorruptionError struct {
	Offset int64 // of the first bad block or byte, counted from the header's first
	Reason string
	// EndsEarly is set if all that is there is sound and the rest is missing, as
	// in a copy that was cut short.
	EndsEarly bool
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("snapshot: bad at byte %d: %s", e.Offset, e.Reason)
}

// VersionError says that the snapshot was written by a newer raftkv.
type VersionError struct {
	Version uint32 // of the snapshot
	Newest  uint32 // that this code reads
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("snapshot: it has format version %d, this raftkv reads versions up to %d: use the newer raftkv that wrote it", e.Version, e.Newest)
}

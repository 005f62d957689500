package snapshot

import "fmt"

// CorruptionError says that the bytes are not those of a whole snapshot: damaged,
// cut short, followed by other bytes, or no snapshot at all.
type CorruptionError struct {
	Offset int64 // of the first bad block or byte, counted from the header's first
	Reason string
	// EndsEarly is set if the bytes present are sound and the rest is missing, as
	// in a copy that was cut short.
	EndsEarly bool
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("snapshot: bad at byte %d: %s", e.Offset, e.Reason)
}

// VersionError says that the bytes are sound and hold something that this code
// does not know: another format version, another group, a kind of block or a
// field of a later version. It must not be skipped, because it may be a promise
// to a client.
type VersionError struct {
	What    string // "format version", "group", "block kind", or the name of another field
	Version uint32 // the number that was found
	Oldest  uint32 // that this code reads
	Newest  uint32 // that this code reads
}

// Subjects of a VersionError.
const (
	whatVersion = "format version"
	whatGroup   = "group"
	whatBlock   = "block kind"
)

func (e *VersionError) Error() string {
	known := fmt.Sprintf("%d to %d", e.Oldest, e.Newest)
	if e.Oldest == e.Newest {
		known = fmt.Sprintf("only %d", e.Newest)
	}
	if e.Version < e.Oldest {
		return fmt.Sprintf("snapshot: %s %d was in use before the first release; this raftkv reads %s: take a new snapshot with a released raftkv", e.What, e.Version, known)
	}
	return fmt.Sprintf("snapshot: %s %d is not known to this raftkv, which reads %s: use the newer raftkv that wrote the snapshot", e.What, e.Version, known)
}

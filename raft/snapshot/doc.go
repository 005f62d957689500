// Package snapshot is the container that a snapshot of the state machine
// travels in: the same bytes on disk, on the wire and as a backup file.
//
// The mental model is a parcel with a label, numbered sheets and a packing list.
// The header names the cluster and the position in the log. The payload is cut
// into blocks. Each has a checksum that starts from its offset and from the
// header's checksum, so a block can only be read where it was written. The
// trailer records the total length and binds the blocks together. Without the
// trailer the parcel is not complete: a copy that was cut short can never be
// taken for a smaller snapshot.
//
// A reader returns io.EOF only behind a valid trailer, and never hands out a byte
// of a block whose checksum it has not compared. docs/storage.md draws the bytes.
//
// The package knows nothing of files, of the payload's meaning, or of Raft. It
// starts no goroutine and takes at most one block of memory per Reader or Writer,
// whatever the input says.
package snapshot

package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"raftkv/raft/core"
	"raftkv/raft/members"
)

// A snapshot can be larger than any frame and take minutes to send, so it gets
// a connection of its own, on which nothing else travels:
//
//	sender                          receiver
//	transfer hello  ──────────────►
//	                ◄────────────── transfer hello
//	offer           ──────────────►                   BeginReceive
//	                ◄────────────── bytes it already has
//	chunk, chunk, … ──────────────►                   ReceiveAt, …
//	                                                  FinishReceive, then the Handler
//	                ◄────────────── answer
//
// A connection serves one offer and ends. Received bytes are kept, so after a cut
// the next offer of the same snapshot goes on where this one ended.

// Snapshots keeps a server's snapshots. SnapshotFile may be called at any time and
// for several peers at once. The other three methods belong to one transfer at a
// time and are called by one goroutine. A snapshot is named by its Index and Term,
// and carries the UID; Data is not used.
type Snapshots interface {
	// SnapshotFile returns the bytes of a snapshot as they travel. They must not change
	// until the Closer is closed, once they are no longer needed.
	SnapshotFile(s core.Snapshot) (*io.SectionReader, io.Closer, error)
	// BeginReceive makes room for a snapshot of size bytes and returns the number of
	// bytes that are already there from an earlier attempt with the same snapshot, size
	// and id: 0 to size. Bytes of any other attempt are thrown away. The id tells apart
	// files that claim to be the same snapshot. The size is the peer's claim.
	BeginReceive(s core.Snapshot, size int64, id [32]byte) (have int64, err error)
	// ReceiveAt stores bytes from offset on, which is the end of those before.
	ReceiveAt(p []byte, offset int64) error
	// FinishReceive checks that the received bytes are that snapshot, whole and
	// undamaged, and makes it durable. Otherwise it throws them away.
	FinishReceive() error
	// SnapshotMembers returns the configuration that the snapshot carries which was
	// received last; zero if it carries none or is not needed any more.
	SnapshotMembers(s core.Snapshot) (members.Version, error)
}

// snapshotChunkBytes is the number of bytes of a snapshot that travel in one frame.
const snapshotChunkBytes = pieceBytes

// chunkRoom is room for everything in a chunk's body except the data. This takes
// fewer than 25 bytes, so chunkRoom is generous.
const chunkRoom = 64

// snapshotIDBytes is the length of an offer's id.
const snapshotIDBytes = 32

// snapshotOffer announces an InstallSnapshot and the size of its snapshot.
type snapshotOffer struct {
	Term          uint64
	LeaderID      core.ID
	SnapshotIndex uint64
	SnapshotTerm  uint64
	Size          uint64
	UID           packedBytes // of the cluster, as the snapshot carries it; zeros if it carries none
	ID            packedBytes // tells this file from others of the same index and term
}

// snapshotOfferReply holds the offset from which on the snapshot is wanted.
type snapshotOfferReply struct{ Have uint64 }

// snapshotChunk is a piece of the snapshot. The checksum is that of chunkSum.
type snapshotChunk struct {
	Offset   uint64
	Checksum uint64
	Data     packedBytes
}

// snapshotFailed tells the sender why the receiver gives up.
type snapshotFailed struct{ Reason failure }

// failure is the reason for which a receiver gives up. Values travel: new ones may
// be added, and none changes.
type failure string

const (
	failureUnwanted failure = "unwanted" // it takes no snapshots
	failureStorage  failure = "storage"  // its disk does not take it, or the received bytes are not that snapshot
)

var (
	snapshotOfferShape      = shape{uintElement, idElement, uintElement, uintElement, uintElement, packedElement, packedElement}
	snapshotOfferReplyShape = shape{uintElement}
	snapshotChunkShape      = shape{uintElement, uintElement, packedElement}
	snapshotFailedShape     = shape{idElement}
)

// transferFailedError means that the receiver gave up.
type transferFailedError struct{ reason failure }

func (e *transferFailedError) Error() string {
	return fmt.Sprintf("the peer gives up: %q; its log says more", e.reason)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunkSum is the checksum of a chunk: CRC-32C over its offset, as 8 bytes
// little-endian, and its data. The offset is included because data in the wrong
// place is as bad as wrong data.
func chunkSum(offset uint64, data []byte) uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], offset)
	return uint64(crc32.Update(crc32.Checksum(b[:], castagnoli), castagnoli, data))
}

// offer decodes an offer. Its id is of the right length and its size fits in an
// int64.
func (d *decoder) offer(body []byte) (snapshotOffer, error) {
	var o snapshotOffer
	if err := d.decode(body, snapshotOfferShape, &o); err != nil {
		return o, err
	}
	if len(o.UID) != len(core.UID{}) {
		return o, malformed("the uid of a cluster has %d bytes, not %d", len(o.UID), len(core.UID{}))
	}
	if len(o.ID) != snapshotIDBytes {
		return o, malformed("the id of a snapshot has %d bytes, not %d", len(o.ID), snapshotIDBytes)
	}
	if o.Size == 0 || o.Size > 1<<62 || o.SnapshotIndex == 0 {
		return o, malformed("an offer of a snapshot of %d bytes at index %d, which no snapshot has", o.Size, o.SnapshotIndex)
	}
	return o, nil
}

// chunk decodes a chunk and checks its checksum. The data aliases the body.
func (d *decoder) chunk(body []byte) (snapshotChunk, error) {
	var c snapshotChunk
	if err := d.decode(body, snapshotChunkShape, &c); err != nil {
		return c, err
	}
	if len(c.Data) == 0 || len(c.Data) > snapshotChunkBytes {
		return c, malformed("a chunk of %d bytes; it must have 1 to %d", len(c.Data), snapshotChunkBytes)
	}
	if sum := chunkSum(c.Offset, c.Data); sum != c.Checksum {
		return c, malformed("the chunk at %d has checksum %08x and should have %08x", c.Offset, sum, c.Checksum)
	}
	return c, nil
}

// chunk appends the frame of a chunk to dst.
func (e *encoder) chunk(dst []byte, offset int64, data []byte) []byte {
	c := snapshotChunk{Offset: uint64(offset), Checksum: chunkSum(uint64(offset), data), Data: data}
	return e.frame(dst, kindSnapshotChunk, &c, headerBytes+maxChunkBody)
}

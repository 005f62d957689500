package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"raftkv/raft/core"
)

// A snapshot can be larger than any frame and take minutes to send, so it gets
// a connection of its own, on which nothing else travels:
//
//	sender                          receiver
//	transfer hello  ──────────────►
//	                ◄────────────── transfer hello
//	offer           ──────────────►                   BeginReceive
//	                ◄────────────── so much I have
//	chunk, chunk, … ──────────────►                   ReceiveAt, …
//	                                                  FinishReceive, then the Handler
//	                ◄────────────── answer
//
// A connection serves one offer and ends. What was received stays, so after a
// cut the next offer of the same snapshot goes on where this one ended.

// Snapshots is where a server keeps its snapshots. SnapshotFile may be called at
// any time and for several peers at once; the other three belong to one transfer
// at a time and are called by one goroutine. A snapshot is named by its Index
// and Term, and carries the UID; Data plays no part.
type Snapshots interface {
	// SnapshotFile returns the bytes of a snapshot as they travel, and what to
	// close when they are no longer needed. They must not change meanwhile.
	SnapshotFile(s core.Snapshot) (*io.SectionReader, io.Closer, error)
	// BeginReceive makes room for a snapshot of size bytes and returns how many
	// of them are there already: those of an earlier attempt with the same
	// snapshot, size and id, all of them if it is there whole, otherwise none.
	// What was there of any other attempt is thrown away. The id tells files
	// apart that claim to be the same snapshot. The size is what the peer says.
	BeginReceive(s core.Snapshot, size int64, id [32]byte) (have int64, err error)
	// ReceiveAt stores the bytes from offset on, which is where those before
	// ended.
	ReceiveAt(p []byte, offset int64) error
	// FinishReceive checks that what was received is that snapshot, whole and
	// undamaged, and makes it durable. If it is not, it is thrown away.
	FinishReceive() error
}

// snapshotChunkBytes is how much of a snapshot travels in one frame.
const snapshotChunkBytes = pieceBytes

// chunkRoom is room for everything in a chunk's body but the data, generously:
// it takes fewer than 25 bytes.
const chunkRoom = 64

// snapshotIDBytes is the length of an offer's id.
const snapshotIDBytes = 32

// snapshotOffer says what is about to be sent: an InstallSnapshot and how many
// bytes its snapshot has.
type snapshotOffer struct {
	Term          uint64
	LeaderID      core.ID
	SnapshotIndex uint64
	SnapshotTerm  uint64
	Size          uint64
	UID           packedBytes // of the cluster, as the snapshot carries it; zeros if it carries none
	ID            packedBytes // tells this file from others of the same index and term
}

// snapshotOfferReply says from which offset on the snapshot is wanted.
type snapshotOfferReply struct{ Have uint64 }

// snapshotChunk is a piece of the snapshot. The checksum is that of chunkSum.
type snapshotChunk struct {
	Offset   uint64
	Checksum uint64
	Data     packedBytes
}

// snapshotFailed says why the receiver gives up.
type snapshotFailed struct{ Reason failure }

// failure is why a receiver gives up. Values travel and are only ever added to.
type failure string

const (
	failureUnwanted failure = "unwanted" // it takes no snapshots
	failureStorage  failure = "storage"  // its disk does not take it, or what arrived is not that snapshot
)

var (
	snapshotOfferShape      = shape{uintElement, idElement, uintElement, uintElement, uintElement, packedElement, packedElement}
	snapshotOfferReplyShape = shape{uintElement}
	snapshotChunkShape      = shape{uintElement, uintElement, packedElement}
	snapshotFailedShape     = shape{idElement}
)

// transferFailedError says that the receiver gave up.
type transferFailedError struct{ reason failure }

func (e *transferFailedError) Error() string {
	return fmt.Sprintf("the peer gives up: %q; its log says more", e.reason)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunkSum is the checksum of a chunk: CRC-32C over its offset, as 8 bytes
// little-endian, and its data. The offset is in it because data in the wrong
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
		return o, malformed("no snapshot has %d bytes or index %d", o.Size, o.SnapshotIndex)
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
		return c, malformed("a chunk of %d bytes", len(c.Data))
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

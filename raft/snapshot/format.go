package snapshot

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// formatVersion is the version of the format that this code writes, and the
// newest it reads. oldestVersion is the oldest it reads: version 1 had no group
// and no uid, and no release wrote it.
const (
	formatVersion = 2
	oldestVersion = 2
)

// magic starts every snapshot.
const magic = "raftkv\x00S"

// maxClusterIDBytes bounds the length of a cluster id.
const maxClusterIDBytes = 64

// headerBytes is the length of the header:
//
//	  0 8   magic
//	  8 u32 format version
//	 12 u32 checksum of the 12 bytes before: these 16 bytes are the same in every version
//	 16 u32 checksum of the rest of the header, the container's identity
//	 20 u32 length of the cluster id
//	 24 u64 index
//	 32 u64 term
//	 40 64  cluster id, padded with zeros
//	104 u32 group
//	108 16  uid of the cluster, zeros if it is not known
//	124     zeros
const (
	headerBytes   = 128
	preambleBytes = 16
	clusterIDAt   = 40
	clusterIDTo   = clusterIDAt + maxClusterIDBytes
	groupAt       = clusterIDTo
	uidAt         = groupAt + 4
	uidTo         = uidAt + 16
)

// onlyGroup is the group of every snapshot of this version, because a server has
// one log. The field is reserved for servers that have several.
const onlyGroup = 1

// Header names the state that a snapshot holds: its cluster and its position in
// the log.
type Header struct {
	ClusterID string // 1 to 64 bytes
	Index     uint64 // of the last log entry whose effect is in the snapshot
	Term      uint64 // of that entry
	// Group is the log that the snapshot is of: 1, the only group of this version.
	// A Writer takes 0 for 1; a Reader returns 1 and refuses every other number.
	Group uint32
	// UID distinguishes clusters of one name; see core.UID. Zero: not known.
	UID [16]byte
	// Configuration is the cluster's record of its members, of which this package knows
	// no more than its bytes; empty if there is none. It stands in a block of its own
	// before the payload, so a Reader knows it only once that was read; see
	// Reader.ReadConfiguration. At most MaxConfigurationBytes.
	Configuration string
}

// encode returns the header's bytes and the container's identity.
func (h Header) encode() (b []byte, identity uint32) {
	b = make([]byte, headerBytes)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint32(b[12:], checksum(b[:12]))
	binary.LittleEndian.PutUint32(b[20:], uint32(len(h.ClusterID)))
	binary.LittleEndian.PutUint64(b[24:], h.Index)
	binary.LittleEndian.PutUint64(b[32:], h.Term)
	copy(b[clusterIDAt:clusterIDTo], h.ClusterID)
	binary.LittleEndian.PutUint32(b[groupAt:], h.Group)
	copy(b[uidAt:uidTo], h.UID[:])
	identity = checksum(b[20:])
	binary.LittleEndian.PutUint32(b[16:], identity)
	return b, identity
}

// decodePreamble judges the bytes that every version has.
func decodePreamble(b []byte) error {
	if string(b[:8]) != magic {
		return &CorruptionError{Reason: "it does not start as a snapshot of raftkv does"}
	}
	if binary.LittleEndian.Uint32(b[12:]) != checksum(b[:12]) {
		return &CorruptionError{Offset: 8, Reason: "the checksum of the format version does not match"}
	}
	switch v := binary.LittleEndian.Uint32(b[8:]); {
	case v == 0:
		return &CorruptionError{Offset: 8, Reason: "format version 0 does not exist"}
	case v < oldestVersion || v > formatVersion:
		return &VersionError{What: whatVersion, Version: v, Oldest: oldestVersion, Newest: formatVersion}
	}
	return nil
}

// decodeHeader reads a header whose preamble was judged.
func decodeHeader(b []byte) (h Header, identity uint32, err error) {
	identity = binary.LittleEndian.Uint32(b[16:])
	if identity != checksum(b[20:headerBytes]) {
		return Header{}, 0, &CorruptionError{Offset: 16, Reason: "the checksum of the header does not match"}
	}
	length := binary.LittleEndian.Uint32(b[20:])
	if length == 0 || length > maxClusterIDBytes {
		return Header{}, 0, &CorruptionError{Offset: 20, Reason: fmt.Sprintf("a cluster id of %d bytes", length)}
	}
	h = Header{
		ClusterID: string(b[clusterIDAt : clusterIDAt+length]),
		Index:     binary.LittleEndian.Uint64(b[24:]),
		Term:      binary.LittleEndian.Uint64(b[32:]),
		Group:     binary.LittleEndian.Uint32(b[groupAt:]),
		UID:       [16]byte(b[uidAt:uidTo]),
	}
	if at, value := firstNonZero(b, int(clusterIDAt+length), clusterIDTo); value != 0 {
		return Header{}, 0, &CorruptionError{Offset: int64(at), Reason: fmt.Sprintf("the byte %d behind the cluster id, where zeros must be", value)}
	}
	if h.Group != onlyGroup {
		return Header{}, 0, &VersionError{What: whatGroup, Version: h.Group, Oldest: onlyGroup, Newest: onlyGroup}
	}
	if at, value := firstNonZero(b, uidTo, headerBytes); value != 0 {
		// The bytes are reserved for the fields of a later version.
		return Header{}, 0, &VersionError{What: fmt.Sprintf("byte %d of the header", at), Version: uint32(value)}
	}
	return h, identity, nil
}

// firstNonZero returns the first byte of b[from:to] that is not zero, and its
// index; value is 0 if there is none.
func firstNonZero(b []byte, from, to int) (at int, value byte) {
	for at = from; at < to; at++ {
		if b[at] != 0 {
			return at, b[at]
		}
	}
	return to, 0
}

// MaxBlockBytes bounds the payload of one block.
const MaxBlockBytes = 256 << 10

// MaxConfigurationBytes bounds a configuration.
const MaxConfigurationBytes = 16<<10 + 8

// blockHeaderBytes is the length of the header before each block's payload:
//
//	 0 u32 checksum of the rest, started from the container's identity XOR the offset
//	 4 u32 checksum of the payload
//	 8 u32 kind: 1 block, 2 trailer, 3 configuration of the cluster, which is the first if there is one
//	12 u32 length of the payload
const blockHeaderBytes = 16

const (
	kindBlock         = 1
	kindTrailer       = 2
	kindConfiguration = 3
)

// blockHeader is the decoded header of a block or of the trailer.
type blockHeader struct {
	checksum uint32
	payload  uint32
	kind     uint32
	length   uint32
}

// encode writes the header to b and sets h.checksum.
func (h *blockHeader) encode(b []byte, identity uint32, offset int64) {
	b = b[:blockHeaderBytes]
	binary.LittleEndian.PutUint32(b[4:], h.payload)
	binary.LittleEndian.PutUint32(b[8:], h.kind)
	binary.LittleEndian.PutUint32(b[12:], h.length)
	h.checksum = placedChecksum(b[4:], identity, offset)
	binary.LittleEndian.PutUint32(b, h.checksum)
}

// decodeBlockHeader reads a header. It returns false unless these bytes are a
// block header written to this offset of this container.
func decodeBlockHeader(b []byte, identity uint32, offset int64) (blockHeader, bool) {
	b = b[:blockHeaderBytes]
	h := blockHeader{
		checksum: binary.LittleEndian.Uint32(b),
		payload:  binary.LittleEndian.Uint32(b[4:]),
		kind:     binary.LittleEndian.Uint32(b[8:]),
		length:   binary.LittleEndian.Uint32(b[12:]),
	}
	return h, h.checksum == placedChecksum(b[4:], identity, offset)
}

// trailerBytes is the length of the trailer's payload:
//
//	 0 u64 length of the payload of all blocks together, without the configuration
//	 8 u32 checksum of the header checksums of all blocks, in order
//	12     zeros
const trailerBytes = 16

// trailer binds the blocks together. Two containers may have the same header,
// when two servers took the same snapshot; a mix of their blocks has the sum of
// neither.
type trailer struct {
	length uint64
	blocks uint32
}

func (t trailer) encode() []byte {
	b := make([]byte, trailerBytes)
	binary.LittleEndian.PutUint64(b, t.length)
	binary.LittleEndian.PutUint32(b[8:], t.blocks)
	return b
}

// add takes one block into account.
func (t *trailer) add(h blockHeader) {
	if h.kind == kindBlock {
		t.length += uint64(h.length)
	}
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], h.checksum)
	t.blocks = crc32.Update(t.blocks, castagnoli, b[:])
}

// Size returns the length of the container of a payload without a configuration, both in
// bytes.
func Size(payload int64) int64 {
	blocks := (payload + MaxBlockBytes - 1) / MaxBlockBytes
	return headerBytes + payload + blocks*blockHeaderBytes + blockHeaderBytes + trailerBytes
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// placedChecksum starts from the container and the offset instead of zero. Two
// starts never give the same checksum for the same bytes, so a block that was
// moved within a container is always found out.
func placedChecksum(b []byte, identity uint32, offset int64) uint32 {
	return crc32.Update(identity^uint32(offset)^uint32(offset>>32), castagnoli, b)
}

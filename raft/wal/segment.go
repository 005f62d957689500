package wal

import (
	"encoding/binary"
	"math"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// formatVersion is the version of the format that this code writes. It is the
// only one that this code reads: version 1 was in use before the first release
// only.
const formatVersion = 2

// segmentMagic starts every segment.
const segmentMagic = "raftkv\x00W"

// segmentHeaderBytes is the length of the header at the start of a segment. It
// fills a block of its own, so that no write to a batch ever touches it.
//
//	  0 8   magic
//	  8 u32 format version
//	 12 u32 checksum of the 12 bytes before: these 16 bytes are the same in every version
//	 16 u32 checksum of the rest of the header
//	 20 u32 checksum of the last batch of the segment before, or of that segment's header if it has none; 0 in the first
//	 24 u64 generation, counted from 1
//	 32 u64 size of the file; 8 bytes less if the file had been another segment before: see recycled
//	 40 u64 number of the last batch before this segment
//	 48 u64 offset behind the last batch of the segment before; 0 in the first
//	 56 u64 index behind the last entry before this segment
//	 64 u32 length of the cluster id, then u32 length of the node id
//	 72 64  cluster id, padded with zeros
//	136 64  node id, padded with zeros
//	200     zeros
const segmentHeaderBytes = 4096

const (
	preambleBytes  = 16
	clusterIDAt    = 72
	nodeIDAt       = clusterIDAt + core.MaxIDBytes
	headerFieldsTo = nodeIDAt + core.MaxIDBytes
)

// segmentHeader is the decoded header of a segment.
type segmentHeader struct {
	checksum    uint32
	previous    uint32 // checksum of the record before the first
	generation  uint64
	size        int64
	number      uint64 // of the last batch before
	previousEnd int64
	firstIndex  uint64
	clusterID   string
	nodeID      string
}

// holds reports whether a record at offset fits into the segment and leaves room
// for the mark or seal behind it. A mark or seal needs none behind itself.
func (h *segmentHeader) holds(r recordHeader, offset int64) bool {
	room := h.size - offset - recordHeaderBytes
	if r.kind.isBatch() {
		room -= recordHeaderBytes
	}
	return room >= 0 && r.length <= uint64(room) && padded(int64(r.length)) <= room
}

// recycled reports whether the file had been another segment before this one. Then
// what stands behind the end of the log is what stood there in its earlier lives,
// and not zeros. The size says it, because a file always has whole blocks: a
// recycled segment leaves its last eight bytes alone.
func (h *segmentHeader) recycled() bool { return h.size%segmentAlign != 0 }

// blankTo returns the offset up to which there are zeros behind a log that ends at
// end. In a recycled segment that is the end of the block that has the place of the
// mark: each batch brings the zeros behind it, in the same write. So that place
// never shows a record of an earlier life, and no write covers a part of a block
// that would have to be read from the disk first.
func (h *segmentHeader) blankTo(end int64) int64 {
	if !h.recycled() {
		return math.MaxInt64
	}
	return min(roundUp(end+recordHeaderBytes), h.size)
}

// decode reads the header of a record as decodeRecordHeader does, and never takes a
// record from an earlier life of the file. Two facts exclude those. A record's
// checksum starts from the checksum of its segment's header, and no two headers are
// alike; that could fail once in 2^32. And batches are counted over the whole log: a
// segment is recycled when a later batch has made it superfluous, so each record in
// it has a lower number than the last batch before the new segment. That cannot fail.
func (h *segmentHeader) decode(b []byte, offset int64) (recordHeader, bool) {
	if h.recycled() && !h.counts(binary.LittleEndian.Uint64(b[24:])) {
		return recordHeader{}, false
	}
	return decodeRecordHeader(b, h.checksum, offset)
}

// counts reports whether a record in this life of the segment may have a number. A
// batch takes more bytes than the header of its record.
func (h *segmentHeader) counts(number uint64) bool {
	return number >= h.number && number-h.number < uint64(h.size)/recordHeaderBytes
}

// encode returns the header's bytes and sets h.checksum.
func (h *segmentHeader) encode() []byte {
	b := make([]byte, segmentHeaderBytes)
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint32(b[12:], checksum(b[:12]))
	binary.LittleEndian.PutUint32(b[20:], h.previous)
	binary.LittleEndian.PutUint64(b[24:], h.generation)
	binary.LittleEndian.PutUint64(b[32:], uint64(h.size))
	binary.LittleEndian.PutUint64(b[40:], h.number)
	binary.LittleEndian.PutUint64(b[48:], uint64(h.previousEnd))
	binary.LittleEndian.PutUint64(b[56:], h.firstIndex)
	binary.LittleEndian.PutUint32(b[64:], uint32(len(h.clusterID)))
	binary.LittleEndian.PutUint32(b[68:], uint32(len(h.nodeID)))
	copy(b[clusterIDAt:nodeIDAt], h.clusterID)
	copy(b[nodeIDAt:headerFieldsTo], h.nodeID)
	h.checksum = checksum(b[20:])
	binary.LittleEndian.PutUint32(b[16:], h.checksum)
	return b
}

// decodeSegmentHeader reads the header of the segment file at path.
func decodeSegmentHeader(b []byte, path string) (*segmentHeader, error) {
	damaged := func(offset int64, reason string) error {
		return &CorruptionError{File: path, Offset: offset, Reason: reason}
	}
	if string(b[:8]) != segmentMagic || binary.LittleEndian.Uint32(b[12:]) != checksum(b[:12]) {
		return nil, damaged(0, "it does not start as a segment of a log does")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != 0 && v != formatVersion {
		return nil, &VersionError{File: path, Version: v, Newest: formatVersion}
	} else if v == 0 {
		return nil, damaged(8, "format version 0 does not exist")
	}
	h := &segmentHeader{
		checksum:    binary.LittleEndian.Uint32(b[16:]),
		previous:    binary.LittleEndian.Uint32(b[20:]),
		generation:  binary.LittleEndian.Uint64(b[24:]),
		size:        int64(binary.LittleEndian.Uint64(b[32:])),
		number:      binary.LittleEndian.Uint64(b[40:]),
		previousEnd: int64(binary.LittleEndian.Uint64(b[48:])),
		firstIndex:  binary.LittleEndian.Uint64(b[56:]),
	}
	if h.checksum != checksum(b[20:segmentHeaderBytes]) {
		return nil, damaged(16, "the checksum of the segment's header does not match")
	}
	cluster, node := binary.LittleEndian.Uint32(b[64:]), binary.LittleEndian.Uint32(b[68:])
	if cluster > core.MaxIDBytes || node > core.MaxIDBytes || h.size < segmentHeaderBytes+recordHeaderBytes || h.previousEnd < 0 || h.firstIndex == 0 {
		return nil, damaged(20, "the segment's header is whole but makes no sense")
	}
	for _, reserved := range [][]byte{b[clusterIDAt+cluster : nodeIDAt], b[nodeIDAt+node : headerFieldsTo], b[headerFieldsTo:segmentHeaderBytes]} {
		for _, c := range reserved {
			if c != 0 {
				return nil, &UnknownError{File: path, Offset: clusterIDAt, What: "a header with more fields"}
			}
		}
	}
	h.clusterID = string(b[clusterIDAt : clusterIDAt+cluster])
	h.nodeID = string(b[nodeIDAt : nodeIDAt+node])
	return h, nil
}

// segment is the segment that is being written.
type segment struct {
	segmentHeader
	path string
	file vfs.File
	end  int64  // where the next batch goes
	last uint32 // checksum of the last batch, or of the header while there is none

	marked bool                    // the mark or seal behind the last batch is written
	mark   [recordHeaderBytes]byte // memory for writeMark
}

// writeMark writes a mark or seal behind the last batch. The caller decides
// whether it must be synced.
func (s *segment) writeMark(kind Type, number uint64) error {
	h := recordHeader{previous: s.last, kind: kind, number: number}
	h.encode(s.mark[:], s.checksum, s.end)
	if err := writeFull(s.file, s.mark[:], s.end); err != nil {
		return err
	}
	s.marked = true
	return nil
}

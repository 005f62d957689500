package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Type is the type of a record. Values are on disk and only ever added to.
type Type uint8

const (
	// TypeBatch holds one core.Write.
	TypeBatch Type = 1
	// TypeMark says that everything before it was synced. It has no payload and
	// is overwritten by the next batch.
	TypeMark Type = 2
	// TypeSeal is the mark of a full segment: it also says that the next segment
	// exists.
	TypeSeal Type = 3
	// TypeSnapshot is a batch that also records a snapshot.
	TypeSnapshot Type = 4
)

// isBatch reports whether records of this type count as batches.
func (t Type) isBatch() bool { return t == TypeBatch || t == TypeSnapshot }

func (t Type) String() string {
	switch t {
	case TypeSegment:
		return "segment"
	case TypeBatch:
		return "batch"
	case TypeMark:
		return "mark"
	case TypeSeal:
		return "seal"
	case TypeSnapshot:
		return "snapshot"
	case TypeTorn:
		return "torn"
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// Records start at multiples of recordAlign.
const recordAlign = 8

// recordHeaderBytes is the length of the header of every record:
//
//	 0 u32 checksum of the rest, started from the segment's checksum XOR the offset
//	 4 u32 checksum of the previous batch, or of the segment's header
//	 8 u32 checksum of the padded payload
//	12 u8  type
//	13     zeros
//	16 u64 length of the payload without its padding
//	24 u64 number of the batch, or of the last batch before a mark or seal
const recordHeaderBytes = 32

// recordHeader is the decoded header of a record.
type recordHeader struct {
	checksum uint32
	previous uint32
	payload  uint32
	kind     Type
	length   uint64
	number   uint64
	reserved uint32 // the three bytes behind the type: zero in this version
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// padded rounds a length up to where the next record may start.
func padded(n int64) int64 { return (n + recordAlign - 1) &^ (recordAlign - 1) }

// end returns the offset behind a record that starts at offset. The record must
// fit; see segmentHeader.holds.
func (h recordHeader) end(offset int64) int64 {
	return offset + recordHeaderBytes + padded(int64(h.length))
}

// unknown names the thing in the header of a whole record that this build does
// not know; "" if it knows all.
func (h recordHeader) unknown() string {
	switch {
	case h.kind < TypeBatch || h.kind > TypeSnapshot:
		return fmt.Sprintf("a record of type %d", uint8(h.kind))
	case h.reserved != 0:
		return fmt.Sprintf("a record with flags %#x", h.reserved)
	}
	return ""
}

// encode writes the header to b and sets h.checksum. The same fields at another
// offset or in another segment give another checksum: a record is valid only
// where it was written.
func (h *recordHeader) encode(b []byte, segment uint32, offset int64) {
	b = b[:recordHeaderBytes]
	binary.LittleEndian.PutUint32(b[4:], h.previous)
	binary.LittleEndian.PutUint32(b[8:], h.payload)
	binary.LittleEndian.PutUint32(b[12:], uint32(h.kind)|h.reserved<<8)
	binary.LittleEndian.PutUint64(b[16:], h.length)
	binary.LittleEndian.PutUint64(b[24:], h.number)
	h.checksum = headerChecksum(b, segment, offset)
	binary.LittleEndian.PutUint32(b, h.checksum)
}

// looksLikeRecord reports whether bytes may be the header of a record, of this
// version or a later one that sets reserved bits. It costs less than the
// checksum.
func looksLikeRecord(b []byte) bool { return b[12] != 0 }

// decodeRecordHeader reads a header. It returns false unless these bytes are a
// record header written to this offset of this segment. The caller must check the
// link to the record before, the payload, the type and the reserved bytes.
func decodeRecordHeader(b []byte, segment uint32, offset int64) (recordHeader, bool) {
	b = b[:recordHeaderBytes]
	word := binary.LittleEndian.Uint32(b[12:])
	if word == 0 && string(b) == string(zeros[:recordHeaderBytes]) {
		return recordHeader{}, false
	}
	h := recordHeader{
		checksum: binary.LittleEndian.Uint32(b),
		previous: binary.LittleEndian.Uint32(b[4:]),
		payload:  binary.LittleEndian.Uint32(b[8:]),
		kind:     Type(word & 0xff),
		reserved: word >> 8,
		length:   binary.LittleEndian.Uint64(b[16:]),
		number:   binary.LittleEndian.Uint64(b[24:]),
	}
	return h, h.checksum == headerChecksum(b, segment, offset)
}

// headerChecksum starts from the segment and the offset instead of zero. Two
// starts never give the same checksum for the same bytes, so a record that was
// moved within its segment is always found out.
func headerChecksum(b []byte, segment uint32, offset int64) uint32 {
	start := segment ^ uint32(offset) ^ uint32(offset>>32)
	return crc32.Update(start, castagnoli, b[4:recordHeaderBytes])
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

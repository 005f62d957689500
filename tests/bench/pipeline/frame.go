package pipeline

import "encoding/binary"

// A record begins with the length of its payload in four bytes and the number of its
// request in eight, both little-endian. An acknowledgement is the number alone.
const (
	headerBytes = 12
	ackBytes    = 8
	// maxPayload bounds a record; a reader's buffer holds at least one.
	maxPayload = 128 << 10
)

// appendRecord appends a record whose payload is a key and a value.
func appendRecord(b []byte, number uint64, key string, value []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(key)+len(value)))
	b = binary.LittleEndian.AppendUint64(b, number)
	b = append(b, key...)
	return append(b, value...)
}

// recordBytes returns the length of the record that begins with this header.
func recordBytes(header []byte) int {
	return headerBytes + int(binary.LittleEndian.Uint32(header))
}

// recordNumber returns the number in a record's header.
func recordNumber(header []byte) uint64 {
	return binary.LittleEndian.Uint64(header[4:])
}

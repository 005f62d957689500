package members

import (
	"encoding/binary"
	"fmt"
)

// Version is an edition with its number: the index of the entry that brought it. The
// zero Version stands for the static list that a cluster has before its first record.
type Version struct {
	Index  uint64
	Record *Record // nil only in the zero Version; not to be changed
}

// MaxVersionBytes bounds the encoding of a Version.
const MaxVersionBytes = 8 + MaxBytes

// Encode returns the encoding of a version, by which snapshots carry it: the index,
// 8 bytes little-endian, and the record's. The zero Version has no bytes. Errors as of
// Record.Encode.
func (v Version) Encode() ([]byte, error) {
	if v.Record == nil {
		return nil, nil
	}
	record, err := v.Record.Encode()
	if err != nil {
		return nil, err
	}
	return append(binary.LittleEndian.AppendUint64(nil, v.Index), record...), nil
}

// DecodeVersion reads what Version.Encode wrote. Errors as of Decode.
func DecodeVersion(b []byte) (Version, error) {
	if len(b) == 0 {
		return Version{}, nil
	}
	if len(b) < 8 {
		return Version{}, fmt.Errorf("members: a record with its index has at least 8 bytes, not %d", len(b))
	}
	index := binary.LittleEndian.Uint64(b)
	if index == 0 {
		return Version{}, fmt.Errorf("members: a record with the index 0: the first entry of a log has index 1")
	}
	record, err := Decode(b[8:])
	if err != nil {
		return Version{}, err
	}
	return Version{Index: index, Record: record}, nil
}

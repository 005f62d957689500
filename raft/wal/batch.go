package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"raftkv/raft/core"
)

// batchFixedBytes is the length of the fixed part of a batch's payload:
//
//	 0 u64 term
//	 8 u64 from: entries at and above it are replaced; 0 leaves the log alone
//	16 u64 commit: entries up to it are known to be committed
//	24 u32 count of entries
//	28 u8  length of the vote
//	29     zeros
//	32     vote, then the entries as core.EncodeEntries has them
const batchFixedBytes = 32

// snapshotRecordBytes is the length of the part that a batch has before all this
// when it records a snapshot:
//
//	 0 u64 index of the snapshot
//	 8 u64 term of that entry
//	16 u64 generation of the first segment that is still needed
//	24 u64 index of the snapshot before it, on which recovery falls back; 0 if
//	       that is the beginning of the log, or if there is none
//	32 u64 term of that entry
//	40 u8  1 if the snapshot replaces the log, 0 if the log holds what it stands for
//	41     zeros
const snapshotRecordBytes = 48

// keepAt is the offset of that generation in it.
const keepAt = 16

// snapshotRecord is a batch's record of a snapshot. The zero value is "nothing".
type snapshotRecord struct {
	position
	// keep is the generation of the first segment that is still needed: those
	// before it may be gone.
	keep uint64
	// previous is the snapshot that stays in addition to this one, with the log
	// behind it; zero is the beginning of the log.
	previous position
	// replaces says that the log did not hold the snapshot's last entry, or
	// another one in its place: all entries from before are void, and there is
	// nothing to fall back on.
	replaces bool
}

// batch is a decoded payload whose entries are still encoded.
type batch struct {
	record   snapshotRecord
	term     uint64
	votedFor core.ID
	from     uint64
	commit   uint64
	count    int
	entries  []byte
}

// appendBatch appends the payload of a write to dst, without padding.
func appendBatch(dst []byte, w *core.Write) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, w.Term)
	dst = binary.LittleEndian.AppendUint64(dst, w.From)
	dst = binary.LittleEndian.AppendUint64(dst, w.Commit)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(w.Entries)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(w.VotedFor)))
	dst = append(dst, w.VotedFor...)
	return core.EncodeEntries(dst, w.Entries)
}

// appendSnapshotRecord appends a batch's record of a snapshot.
func appendSnapshotRecord(dst []byte, r snapshotRecord) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, r.index)
	dst = binary.LittleEndian.AppendUint64(dst, r.term)
	dst = binary.LittleEndian.AppendUint64(dst, r.keep)
	dst = binary.LittleEndian.AppendUint64(dst, r.previous.index)
	dst = binary.LittleEndian.AppendUint64(dst, r.previous.term)
	replaces := uint64(0)
	if r.replaces {
		replaces = 1
	}
	return binary.LittleEndian.AppendUint64(dst, replaces)
}

// decodeSnapshotRecord reads a batch's record of a snapshot, and returns the
// bytes that follow it.
func decodeSnapshotRecord(b []byte) (r snapshotRecord, rest []byte, err error) {
	if len(b) < snapshotRecordBytes {
		return snapshotRecord{}, nil, errors.New("a record of a snapshot shorter than its fixed part")
	}
	r = snapshotRecord{
		position: position{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])},
		keep:     binary.LittleEndian.Uint64(b[keepAt:]),
		previous: position{binary.LittleEndian.Uint64(b[24:]), binary.LittleEndian.Uint64(b[32:])},
	}
	replaces := binary.LittleEndian.Uint64(b[40:])
	if replaces > 1 {
		return snapshotRecord{}, nil, unknown("flags %#x in the record of a snapshot", replaces)
	}
	if r.index == 0 || r.index == math.MaxUint64 || r.term == 0 || r.keep == 0 || r.previous.index >= r.index {
		return snapshotRecord{}, nil, fmt.Errorf("a snapshot at index %d of term %d", r.index, r.term)
	}
	r.replaces = replaces == 1
	return r, b[snapshotRecordBytes:], nil
}

// decodePayload reads the payload of a batch of either type. The entries alias b.
func decodePayload(kind Type, b []byte) (batch, error) {
	var r snapshotRecord
	if kind == TypeSnapshot {
		var err error
		if r, b, err = decodeSnapshotRecord(b); err != nil {
			return batch{}, err
		}
	}
	d, err := decodeBatch(b)
	d.record = r
	if err == nil && r.replaces && d.from != r.index+1 {
		err = fmt.Errorf("a snapshot at index %d replaces the log, which goes on at index %d", r.index, d.from)
	}
	return d, err
}

// decodeBatch reads the payload of a batch that records no snapshot, or what
// follows the record in one that does. The entries alias b.
func decodeBatch(b []byte) (batch, error) {
	if len(b) < batchFixedBytes {
		return batch{}, errors.New("a batch shorter than its fixed part")
	}
	vote := binary.LittleEndian.Uint32(b[28:])
	if vote > math.MaxUint8 {
		return batch{}, unknown("flags %#x in a batch", vote>>8)
	}
	if vote > core.MaxIDBytes || int(vote) > len(b)-batchFixedBytes {
		return batch{}, fmt.Errorf("a vote of %d bytes", vote)
	}
	d := batch{
		term:     binary.LittleEndian.Uint64(b),
		from:     binary.LittleEndian.Uint64(b[8:]),
		commit:   binary.LittleEndian.Uint64(b[16:]),
		count:    int(binary.LittleEndian.Uint32(b[24:])),
		votedFor: core.ID(b[batchFixedBytes : batchFixedBytes+vote]),
		entries:  b[batchFixedBytes+vote:],
	}
	if d.from == 0 && (d.count != 0 || len(d.entries) != 0) {
		return batch{}, errors.New("entries without an index")
	}
	return d, nil
}

// decodeEntries decodes the entries. Their Data alias the payload.
func (d batch) decodeEntries() ([]core.Entry, error) {
	return core.DecodeEntries(d.entries, d.from, d.count)
}

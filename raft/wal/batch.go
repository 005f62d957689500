package wal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"raftkv/raft/core"
)

// batchFixedBytes is the length of the fixed part of a batch's payload:
//
//	 0 u64 term
//	 8 u64 from: entries at and above it are replaced; 0 leaves the log alone
//	16 u32 count of entries
//	20 u8  length of the vote
//	21     zeros
//	24     vote, then the entries as core.EncodeEntries has them
const batchFixedBytes = 24

// batch is a decoded payload whose entries are still encoded.
type batch struct {
	term     uint64
	votedFor core.ID
	from     uint64
	count    int
	entries  []byte
}

// appendBatch appends the payload of a write to dst, without padding.
func appendBatch(dst []byte, w *core.Write) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, w.Term)
	dst = binary.LittleEndian.AppendUint64(dst, w.From)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(w.Entries)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(w.VotedFor)))
	dst = append(dst, w.VotedFor...)
	return core.EncodeEntries(dst, w.Entries)
}

// decodeBatch reads a payload. The entries alias b.
func decodeBatch(b []byte) (batch, error) {
	if len(b) < batchFixedBytes {
		return batch{}, errors.New("a batch shorter than its fixed part")
	}
	vote := binary.LittleEndian.Uint32(b[20:])
	if vote > core.MaxIDBytes || int(vote) > len(b)-batchFixedBytes {
		return batch{}, fmt.Errorf("a vote of %d bytes", vote)
	}
	d := batch{
		term:     binary.LittleEndian.Uint64(b),
		from:     binary.LittleEndian.Uint64(b[8:]),
		count:    int(binary.LittleEndian.Uint32(b[16:])),
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

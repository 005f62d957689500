package wal

import (
	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// Types of a Record that do not exist on disk.
const (
	// TypeSegment stands for the header of a segment file.
	TypeSegment Type = 254
	// TypeTorn stands for the remains of a batch that a crash interrupted. The
	// next Open will cut them off.
	TypeTorn Type = 255
)

// Record is one record of a log as Inspect shows it.
type Record struct {
	File   string
	Offset int64 // in the file
	Bytes  int64 // with header and padding
	Type   Type
	// Number counts the batches of the log from 1. A mark, a seal and a segment
	// have the number of the last batch before them.
	Number   uint64
	Checksum uint32 // as stored in the record's header

	Generation uint64 // of the segment, counted from 1; also the file's name

	// Of a segment.
	SegmentBytes      int64  // the size it was made with
	FirstIndex        uint64 // the index behind the last entry before the segment
	ClusterID, NodeID string

	// Of a batch; see core.Write. Snapshot is of TypeSnapshot only, as are the
	// two that follow it.
	Term     uint64
	VotedFor core.ID
	From     uint64
	Commit   uint64
	Count    int // of entries
	Snapshot core.Snapshot
	Keep     uint64        // generation of the first segment that was still needed
	Previous core.Snapshot // stays in addition to it; zero for the beginning of the log
	Replaces bool          // the log from before was void, and there is no previous
	batch    batch

	// Of a torn batch: a description of its remains.
	Reason string
}

// Entries decodes the entries of a batch. Their data alias the record.
func (r Record) Entries() ([]core.Entry, error) { return r.batch.decodeEntries() }

// Inspect reads the log in dir from its beginning and calls fn for every record.
// It changes nothing and takes no lock; the end of a log that is in use may look
// torn. It returns the first error of fn, or the error with which Open would
// refuse the log because of its records. It accepts the log of any owner. It
// decodes entries only in Record.Entries; Open also checks their content.
func Inspect(fsys vfs.FS, dir string, fn func(Record) error) error {
	_, err := scanAll(fsys, dir, func(*segmentHeader, string) error { return nil }, fn)
	return err
}

// headerRecord returns the segment's header as a Record.
func (r *segmentReader) headerRecord() Record {
	h := r.header
	return Record{
		File: r.path, Bytes: segmentHeaderBytes, Type: TypeSegment, Number: h.number, Checksum: h.checksum,
		Generation: h.generation, SegmentBytes: h.size, FirstIndex: h.firstIndex, ClusterID: h.clusterID, NodeID: h.nodeID,
	}
}

// record returns a mark or seal as a Record.
func (r *segmentReader) record(h recordHeader, offset int64) Record {
	return Record{File: r.path, Offset: offset, Bytes: recordHeaderBytes, Type: h.kind, Number: h.number, Checksum: h.checksum, Generation: r.header.generation}
}

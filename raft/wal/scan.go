package wal

import (
	"fmt"
	"path/filepath"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// image is the content of a directory, with the work to be done before it may be
// written to. Nothing is changed while it is made.
type image struct {
	segments []segmentFile // the ones that were read, in order
	strays   []uint64      // generations below an intended gap: half removed
	keep     uint64        // generation of the first segment that must be there, as the last record says
	header   *segmentHeader
	path     string // of the last segment
	at       cursor // behind its last batch
	empty    bool   // it has no batch
	cut      Cut

	// The segment before the last, which may lack its seal while the last is
	// empty: then the step from the one to the other was interrupted.
	previous     *segmentHeader
	previousPath string
}

// segmentFile is a segment on disk.
type segmentFile struct {
	generation uint64
	firstIndex uint64 // the index behind the last entry before it
	bytes      int64
}

// scanner walks through all segments of a directory.
type scanner struct {
	fs    vfs.FS
	dir   string
	visit func(Record) error

	window    []byte
	image     image
	lastIndex uint64
	// unsealed is set while the seal of the segment before is not there. That is
	// an error as soon as the present segment has a batch.
	unsealed error
}

// scanAll scans the log in dir; see scan.
func scanAll(fsys vfs.FS, dir string, check func(*segmentHeader, string) error, visit func(Record) error) (*image, error) {
	l, err := list(fsys, dir)
	if err != nil {
		return nil, err
	}
	return scan(fsys, dir, l.segments, check, visit)
}

// scan reads the segments of the given generations in dir and calls visit for
// each record, in order. It returns nil when there are none. Bytes that no crash
// can leave behind are a CorruptionError; errors of visit are returned as they
// are. check sees each segment's header before anything else in it.
//
// Segments that a snapshot made superfluous may be missing, each on its own: the
// power may have failed while they were removed. So only the unbroken run of
// generations up to the last counts. The log itself records whether that run
// starts early enough.
func scan(fsys vfs.FS, dir string, generations []uint64, check func(*segmentHeader, string) error, visit func(Record) error) (*image, error) {
	if len(generations) == 0 {
		return nil, nil
	}
	s := &scanner{fs: fsys, dir: dir, visit: visit}
	s.image.keep = 1
	start := len(generations) - 1
	for start > 0 && generations[start-1] == generations[start]-1 {
		start--
	}
	s.image.strays, generations = generations[:start], generations[start:]
	// All headers are read first: the content that a segment must have is recorded
	// in the next one.
	headers := make([]*segmentHeader, len(generations), len(generations)+1)
	for i, generation := range generations {
		r, err := s.open(generation)
		if err != nil {
			return nil, err
		}
		headers[i] = r.header
		r.file.Close()
		if r.header.generation != generation {
			return nil, r.damaged(0, fmt.Sprintf("the file says that it is segment %s: it was renamed or copied over", segmentName(r.header.generation)))
		}
		if err := check(r.header, r.path); err != nil {
			return nil, err
		}
	}
	headers = append(headers, nil)
	for i, generation := range generations {
		r, err := s.open(generation)
		if err != nil {
			return nil, err
		}
		if headers[i+1] == nil {
			r.dropCache()
		}
		err = s.segment(r, headers[i+1])
		r.file.Close()
		if err != nil {
			return nil, err
		}
	}
	if first := generations[0]; first > s.image.keep {
		return nil, &CorruptionError{File: s.path(first - 1), Reason: fmt.Sprintf("the segment is missing, while %s is there and no snapshot made it superfluous", segmentName(first))}
	}
	return &s.image, nil
}

// open opens a segment with the one window that all readers share.
func (s *scanner) open(generation uint64) (*segmentReader, error) {
	r, err := openSegment(s.fs, s.path(generation), s.window)
	if err == nil {
		s.window = r.window
	}
	return r, err
}

// segment reads one segment; following is the header of the next, nil for the
// last.
func (s *scanner) segment(r *segmentReader, following *segmentHeader) error {
	if err := s.follows(r); err != nil {
		return err
	}
	s.image.previous, s.image.previousPath = s.image.header, s.image.path
	s.image.header, s.image.path = r.header, r.path
	s.image.segments = append(s.image.segments, segmentFile{r.header.generation, r.header.firstIndex, r.fileSize})
	s.image.empty = true
	s.image.at = cursor{offset: segmentHeaderBytes, last: r.header.checksum, number: r.header.number}
	if err := s.visit(r.headerRecord()); err != nil {
		return err
	}
	for {
		h, payload, what, err := r.next(s.image.at)
		if err != nil {
			return err
		}
		if what != foundBatch {
			return s.endOfSegment(r, h, what, following)
		}
		if err := s.batch(r, h, payload); err != nil {
			return err
		}
	}
}

// follows checks that the segment is the one that belongs behind the last.
func (s *scanner) follows(r *segmentReader) error {
	h, before := r.header, s.image.header
	switch {
	case before == nil && h.generation > 1:
		s.lastIndex = h.firstIndex - 1 // what was before is gone, on purpose or not
	case before == nil && (h.previous != 0 || h.number != 0 || h.previousEnd != 0 || h.firstIndex != 1):
		return r.damaged(0, "the first segment says that there is one before it")
	case before != nil && (h.previous != s.image.at.last || h.number != s.image.at.number || h.previousEnd != s.image.at.offset):
		return r.damaged(0, fmt.Sprintf("the segment does not follow %s, which ends with batch %d", s.image.path, s.image.at.number))
	case h.firstIndex != s.lastIndex+1:
		return r.damaged(0, fmt.Sprintf("the segment continues at index %d a log that ends with index %d", h.firstIndex, s.lastIndex))
	}
	return nil
}

// batch takes over one whole batch.
func (s *scanner) batch(r *segmentReader, h recordHeader, payload []byte) error {
	if s.unsealed != nil {
		return s.unsealed
	}
	offset := s.image.at.offset
	d, err := decodePayload(h.kind, payload)
	if err != nil {
		return judged(err, r.path, offset, "batch %d is whole but makes no sense: %v", h.number, err)
	}
	if d.record.replaces {
		s.lastIndex = d.record.index
	}
	if d.record.keep > r.header.generation {
		return r.damaged(offset, fmt.Sprintf("batch %d says that no segment before %s is needed, though it stands before it itself", h.number, segmentName(d.record.keep)))
	}
	if d.record.index != 0 {
		s.image.keep = d.record.keep
	}
	if d.from > s.lastIndex+1 {
		return r.damaged(offset, fmt.Sprintf("batch %d starts at index %d, behind a log that ends with index %d", h.number, d.from, s.lastIndex))
	}
	if d.from > 0 {
		s.lastIndex = d.from - 1 + uint64(d.count)
	}
	s.image.at = cursor{offset: h.end(offset), last: h.checksum, number: h.number}
	s.image.empty = false
	return s.visit(Record{
		File: r.path, Offset: offset, Bytes: h.end(offset) - offset, Type: h.kind, Number: h.number, Checksum: h.checksum, Generation: r.header.generation,
		Term: d.term, VotedFor: d.votedFor, From: d.from, Commit: d.commit, Count: d.count, batch: d,
		Snapshot: core.Snapshot{Index: d.record.index, Term: d.record.term}, Keep: d.record.keep, Replaces: d.record.replaces,
		Previous: core.Snapshot{Index: d.record.previous.index, Term: d.record.previous.term},
	})
}

// endOfSegment judges the bytes behind the last whole batch of a segment.
func (s *scanner) endOfSegment(r *segmentReader, h recordHeader, what found, following *segmentHeader) error {
	if r.fileSize > r.header.size {
		if err := r.zeroFrom(r.header.size, "the file is longer than it was made"); err != nil {
			return err
		}
		r.fileSize = r.header.size
	}
	if what == foundMark || what == foundSeal {
		if err := s.visit(r.record(h, s.image.at.offset)); err != nil {
			return err
		}
	}
	if following == nil {
		return s.tail(r, h, what)
	}
	return s.sealed(r, what, following)
}

// sealed judges the end of a segment that has another one behind it: everything
// in it is durable, so every missing or surplus byte is damage.
func (s *scanner) sealed(r *segmentReader, what found, following *segmentHeader) error {
	at := s.image.at
	if s.unsealed != nil {
		return s.unsealed
	}
	if at.offset < following.previousEnd {
		return r.damaged(at.offset, fmt.Sprintf("batch %d is damaged or missing: the next segment was begun behind byte %d and batch %d",
			at.number+1, following.previousEnd, following.number))
	}
	if what == foundBadPayload {
		return r.damaged(at.offset, "another batch was begun where the next segment says that this one ends")
	}
	if what != foundSeal {
		s.unsealed = r.damaged(at.offset, "the seal of the full segment is damaged or missing")
	}
	return r.zeroFrom(min(at.offset+recordHeaderBytes, r.header.size), "bytes that no record explains, in a segment that is full")
}

// zeroFrom checks that the file holds nothing but zeros from offset on.
func (r *segmentReader) zeroFrom(offset int64, reason string) error {
	l, err := r.leftoversFrom(offset, r.fileSize)
	if err == nil && !l.none() {
		err = r.damaged(l.first, reason)
	}
	return err
}

func (s *scanner) path(generation uint64) string {
	return filepath.Join(s.dir, segmentName(generation))
}

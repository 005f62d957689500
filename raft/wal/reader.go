package wal

import (
	"bytes"
	"fmt"
	"io"
	"math"

	"raftkv/raft/vfs"
)

// windowBytes is the size of the window through which a segment is read. It is
// small because it is the only memory that does not follow from the size of the
// input.
const windowBytes = 32 << 10

// segmentReader reads one segment. Bytes beyond the end of a file that is too
// short read as zeros, as a hole does: they were never written.
type segmentReader struct {
	file     vfs.File
	path     string
	fileSize int64
	header   *segmentHeader

	window   []byte // the file's bytes from windowAt on
	windowAt int64
}

// openSegment opens the segment at path and reads its header. The caller closes
// the file. window is the memory of an earlier reader, to be used again.
func openSegment(fsys vfs.FS, path string, window []byte) (*segmentReader, error) {
	file, err := fsys.Open(path)
	if err != nil {
		return nil, diskError("opening", path, err)
	}
	r := &segmentReader{file: file, path: path, window: window[:0]}
	if err := r.readHeader(); err != nil {
		file.Close()
		return nil, err
	}
	return r, nil
}

func (r *segmentReader) readHeader() error {
	size, err := r.file.Size()
	if err != nil {
		return diskError("asking for the size of", r.path, err)
	}
	r.fileSize = size
	if size < segmentHeaderBytes {
		return r.damaged(size, "it is shorter than the header of a segment, which is made durable before the file gets its name")
	}
	b, err := r.view(0, segmentHeaderBytes)
	if err != nil {
		return err
	}
	r.header, err = decodeSegmentHeader(b, r.path)
	return err
}

// view returns n bytes, at most windowBytes, from offset on. They are valid
// until the next call.
func (r *segmentReader) view(offset int64, n int) ([]byte, error) {
	if offset >= r.windowAt && offset+int64(n) <= r.windowAt+int64(len(r.window)) {
		start := offset - r.windowAt
		return r.window[start : start+int64(n)], nil
	}
	if cap(r.window) < n {
		r.window = make([]byte, max(int64(n), min(windowBytes, r.fileSize)))
	}
	r.window, r.windowAt = r.window[:cap(r.window)], offset
	if err := r.read(r.window, offset); err != nil {
		r.window = r.window[:0]
		return nil, err
	}
	return r.window[:n], nil
}

// dropCache makes all later reads come from the disk. If a sync failed and the
// process was started again on the same machine, the cache shows the last batch
// although the disk never got it.
func (r *segmentReader) dropCache() {
	r.file.DropCache()
	r.window = r.window[:0]
}

// read fills b from offset on.
func (r *segmentReader) read(b []byte, offset int64) error {
	there := min(int64(len(b)), max(0, r.fileSize-offset))
	clear(b[there:])
	if there == 0 {
		return nil
	}
	if n, err := r.file.ReadAt(b[:there], offset); err != nil && (err != io.EOF || int64(n) < there) {
		return diskError(fmt.Sprintf("reading at byte %d of", offset), r.path, err)
	}
	return nil
}

// cursor is a point between two records.
type cursor struct {
	offset int64
	last   uint32 // checksum of the last batch before, or of the segment's header
	number uint64 // of the last batch before
}

// found is the kind of thing that stands at a cursor.
type found uint8

const (
	foundNothing found = iota // no record of this offset: zeros, or bytes without meaning
	foundBatch                // a whole batch that follows the one before
	foundMark
	foundSeal
	foundBadPayload // the header of the batch that must follow, with other bytes behind it
)

// next reads the record at a cursor. The caller may keep the payload of a batch.
// A valid record that cannot stand there is a CorruptionError.
func (r *segmentReader) next(at cursor) (h recordHeader, payload []byte, what found, err error) {
	if at.offset > r.header.size-recordHeaderBytes {
		return h, nil, foundNothing, nil
	}
	b, err := r.view(at.offset, recordHeaderBytes)
	if err != nil {
		return h, nil, foundNothing, err
	}
	h, ok := r.header.decode(b, at.offset)
	if !ok {
		return h, nil, foundNothing, nil
	}
	if what := h.unknown(); what != "" {
		return h, nil, foundNothing, &UnknownError{File: r.path, Offset: at.offset, What: what}
	}
	if h.previous != at.last {
		return h, nil, foundNothing, r.damaged(at.offset, "a whole record that does not follow the record before it")
	}
	if !r.header.holds(h, at.offset) {
		return h, nil, foundNothing, r.damaged(at.offset, fmt.Sprintf("a record of %d bytes does not fit into the segment", h.length))
	}
	switch h.kind {
	case TypeBatch, TypeSnapshot:
		if h.number != at.number+1 {
			return h, nil, foundNothing, r.damaged(at.offset, fmt.Sprintf("batch %d stands where batch %d belongs", h.number, at.number+1))
		}
		payload, ok, err = r.payload(h, at.offset)
		if err != nil || !ok {
			return h, nil, foundBadPayload, err
		}
		return h, payload, foundBatch, nil
	case TypeMark, TypeSeal:
		if h.number != at.number || h.length != 0 {
			return h, nil, foundNothing, r.damaged(at.offset, fmt.Sprintf("a %v of batch %d stands behind batch %d", h.kind, h.number, at.number))
		}
		if h.kind == TypeMark {
			return h, nil, foundMark, nil
		}
		return h, nil, foundSeal, nil
	}
	panic(fmt.Sprintf("wal: a record of type %d came through", h.kind)) // h.unknown names it
}

// payload reads the payload of the record at offset and reports whether it is the
// one that was written. The caller must have checked that the header's record
// fits into the segment. No memory is taken for bytes that the file cannot hold.
func (r *segmentReader) payload(h recordHeader, offset int64) ([]byte, bool, error) {
	if h.end(offset) > r.fileSize+recordAlign-1 { // the padding may be missing
		return nil, false, nil
	}
	b := make([]byte, padded(int64(h.length)))
	if len(b) <= windowBytes {
		view, err := r.view(offset+recordHeaderBytes, len(b))
		if err != nil {
			return nil, false, err
		}
		copy(b, view)
	} else if err := r.read(b, offset+recordHeaderBytes); err != nil {
		return nil, false, err
	}
	return b[:h.length:h.length], checksum(b) == h.payload, nil
}

// leftovers are the bytes behind the last record that are not zero and should be.
type leftovers struct {
	first, end int64 // the range of them; first is math.MaxInt64 when there are none
	record     int64 // offset of the first valid record in the rest of the file, -1 for none
}

func (l leftovers) none() bool { return l.first == math.MaxInt64 }

// leftoversFrom searches the rest of the file, from a multiple of recordAlign on,
// for records, and up to blank for bytes that are not zero.
func (r *segmentReader) leftoversFrom(offset, blank int64) (leftovers, error) {
	l := leftovers{first: math.MaxInt64, record: -1}
	const step = windowBytes - recordHeaderBytes // records may start anywhere in it
	for ; offset < r.fileSize; offset += step {
		n := int(min(windowBytes, padded(r.fileSize-offset)))
		b, err := r.view(offset, n)
		if err != nil {
			return l, err
		}
		if bytes.Equal(b, zeros[:n]) {
			continue
		}
		for i, c := range b[:max(0, min(int64(n), blank-offset))] {
			if c != 0 {
				l.first = min(l.first, offset+int64(i))
				l.end = max(l.end, offset+int64(i)+1)
			}
		}
		for i := 0; l.record < 0 && i+recordHeaderBytes <= n; i += recordAlign {
			if !looksLikeRecord(b[i:]) {
				continue
			}
			at := offset + int64(i)
			if h, ok := r.header.decode(b[i:], at); ok && r.header.holds(h, at) {
				l.record = at
			}
		}
	}
	return l, nil
}

func (r *segmentReader) damaged(offset int64, reason string) error {
	return &CorruptionError{File: r.path, Offset: offset, Reason: reason}
}

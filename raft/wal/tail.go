package wal

import "fmt"

// Cut describes the remains that recovery cut off the end of the log: those of
// the one write that was pending when the machine stopped. Nothing in it was ever
// acknowledged, unless somebody cut or cleared the end of the file behind the
// log's back. That cannot always be told from a torn write.
type Cut struct {
	File   string // "" if nothing had to be cut
	Offset int64  // of the first byte that was overwritten with zeros
	Bytes  int64  // number of bytes that were
	Reason string // a description of the remains
}

// tail judges the end of the last segment, where a crash may have left a torn
// batch. Only the batch that must come next can be torn, because the one before
// was synced before it was begun. So a valid record further on, a mark included,
// is proof that this batch was durable once and is damaged now.
func (s *scanner) tail(r *segmentReader, h recordHeader, what found) error {
	at := s.image.at
	if what == foundSeal {
		return &CorruptionError{File: s.path(r.header.generation + 1), Reason: fmt.Sprintf("the segment is missing: %s is sealed, so there was one behind it", r.path)}
	}
	behind := at.offset // where the bytes start that nothing explains
	switch what {
	case foundMark:
		behind += recordHeaderBytes
	case foundBadPayload:
		behind = h.end(at.offset)
	}
	blank := r.header.blankTo(at.offset)
	if what == foundBadPayload && behind > blank-recordHeaderBytes {
		blank = behind // its own write brought the zeros behind it, and may be torn there
	}
	rest, err := r.leftoversFrom(behind, blank)
	if err != nil {
		return err
	}
	if rest.record >= 0 {
		return r.damaged(at.offset, fmt.Sprintf("batch %d is damaged or missing: a later record at byte %d proves that it was durable", at.number+1, rest.record))
	}
	if what == foundBadPayload && !rest.none() {
		// The write ended before these bytes, so something was written after it.
		return r.damaged(at.offset, fmt.Sprintf("batch %d is damaged: the bytes at %d behind it prove that it was durable", at.number+1, rest.first))
	}
	switch {
	case r.fileSize < r.header.size && what != foundMark:
		// No crash does this, because the length is durable before the first
		// record. Only a mark would prove that nothing of the log is gone: the next
		// batch would stand in its place.
		return r.damaged(r.fileSize, fmt.Sprintf("the file was made with %d bytes and ends here: somebody, or the repair of a file system, cut it", r.header.size))
	case r.fileSize < r.header.size:
		return s.torn(r, r.header.size, fmt.Sprintf("the file ends at byte %d; it was made with %d", r.fileSize, r.header.size))
	case what == foundBadPayload:
		return s.torn(r, h.end(at.offset), fmt.Sprintf("the header of batch %d without all of its content", at.number+1))
	case !rest.none() && what == foundMark:
		return s.torn(r, rest.end, fmt.Sprintf("parts of batch %d without its beginning", at.number+1))
	case !rest.none():
		return s.torn(r, rest.end, "bytes that are no record")
	}
	return nil
}

// torn notes that the log has to be cut at the cursor; end is the offset behind
// the last byte that may not be zero. In a recycled segment the zeros of the last
// batch are put back, and what is behind them may be anything.
func (s *scanner) torn(r *segmentReader, end int64, reason string) error {
	offset := s.image.at.offset
	if r.header.recycled() && r.fileSize >= r.header.size {
		end = r.header.blankTo(offset)
	}
	s.image.cut = Cut{File: r.path, Offset: offset, Bytes: end - offset, Reason: reason}
	return s.visit(Record{File: r.path, Offset: offset, Bytes: end - offset, Type: TypeTorn, Number: s.image.at.number + 1, Reason: reason})
}

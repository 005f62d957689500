package snapshot

import (
	"fmt"
	"io"
)

// Reader reads one snapshot and checks it on the way. It is for one goroutine.
type Reader struct {
	r        io.Reader
	header   Header
	identity uint32
	offset   int64 // of the next block
	buffer   []byte
	rest     []byte // of the present block, not yet handed out
	sum      trailer
	err      error // the end: io.EOF, or the first error
}

// NewReader reads the header of a snapshot, which must be all that r holds. It
// returns a *VersionError for a format, a group or a field that this code does
// not know, and a *CorruptionError for bytes that are no header. Errors of r are
// returned unchanged.
func NewReader(r io.Reader) (*Reader, error) {
	b := make([]byte, headerBytes)
	s := &Reader{r: r}
	if err := s.fill(b[:preambleBytes], 0, "in its header"); err != nil {
		return nil, err
	}
	if err := decodePreamble(b); err != nil {
		return nil, err
	}
	if err := s.fill(b[preambleBytes:], preambleBytes, "in its header"); err != nil {
		return nil, err
	}
	var err error
	s.header, s.identity, err = decodeHeader(b)
	s.offset = headerBytes
	return s, err
}

// Header returns the snapshot's header. It has the configuration once the payload has
// begun to be read, or ReadConfiguration was called.
func (s *Reader) Header() Header { return s.header }

// ReadConfiguration reads the snapshot up to its payload and returns the configuration
// that it carries, "" for none. Errors as of Read.
func (s *Reader) ReadConfiguration() (string, error) {
	if s.offset == headerBytes && s.err == nil {
		s.err = s.next()
	}
	if s.err != nil && s.err != io.EOF {
		return "", s.err
	}
	return s.header.Configuration, nil
}

// Read reads the payload. It returns io.EOF only when all of it was read, is
// sound and ends with its trailer, and nothing follows. Otherwise it returns a
// *CorruptionError, a *VersionError for a kind of block that this code does not
// know, or the error of the underlying reader. The bytes it hands out have been
// compared with their checksum, but only io.EOF proves that none is missing.
func (s *Reader) Read(p []byte) (int, error) {
	for len(s.rest) == 0 && s.err == nil && len(p) > 0 {
		s.err = s.next()
	}
	if len(s.rest) == 0 && len(p) > 0 {
		return 0, s.err
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// WriteTo writes the rest of the payload to w, block by block, without a copy.
func (s *Reader) WriteTo(w io.Writer) (written int64, err error) {
	for {
		if len(s.rest) > 0 {
			n, err := w.Write(s.rest)
			written += int64(n)
			s.rest = s.rest[n:]
			if err != nil {
				return written, err
			}
			continue
		}
		if s.err == nil {
			s.err = s.next()
		} else if s.err == io.EOF {
			return written, nil
		} else {
			return written, s.err
		}
	}
}

// next reads the next block into s.rest, or the configuration into the header, or the
// trailer, which ends the payload with io.EOF.
func (s *Reader) next() error {
	s.buffer = grown(s.buffer, blockHeaderBytes)
	if err := s.fill(s.buffer[:blockHeaderBytes], s.offset, "before its trailer"); err != nil {
		return err
	}
	h, ok := decodeBlockHeader(s.buffer, s.identity, s.offset)
	if !ok {
		return s.damaged("bytes that are no block of this snapshot")
	}
	switch {
	case h.kind == kindBlock && h.length > 0 && h.length <= MaxBlockBytes:
	case h.kind == kindTrailer && h.length == trailerBytes:
	case h.kind == kindConfiguration && s.offset == headerBytes && h.length > 0 && h.length <= MaxConfigurationBytes:
	case h.kind < kindBlock || h.kind > kindConfiguration:
		return &VersionError{What: whatBlock, Version: h.kind, Oldest: kindBlock, Newest: kindConfiguration}
	default:
		return s.damaged(fmt.Sprintf("a block of kind %d with %d bytes", h.kind, h.length))
	}
	s.buffer = grown(s.buffer, int(h.length))
	payload := s.buffer[:h.length]
	if err := s.fill(payload, s.offset+blockHeaderBytes, "in a block"); err != nil {
		return err
	}
	if checksum(payload) != h.payload {
		return s.damaged("the checksum of the block does not match")
	}
	if h.kind == kindTrailer {
		return s.end(payload)
	}
	s.sum.add(h)
	s.offset += blockHeaderBytes + int64(h.length)
	if h.kind == kindConfiguration {
		s.header.Configuration = string(payload)
		return nil
	}
	s.rest = payload
	return nil
}

// grown returns a buffer of at least n bytes, which is b if it is large enough.
func grown(b []byte, n int) []byte {
	if n <= len(b) {
		return b
	}
	return make([]byte, n)
}

// end compares the trailer with the blocks that were read and checks that nothing
// follows it.
func (s *Reader) end(payload []byte) error {
	if string(payload) != string(s.sum.encode()) {
		return s.damaged(fmt.Sprintf("the trailer does not belong to the %d bytes before it", s.sum.length))
	}
	s.offset += blockHeaderBytes + trailerBytes
	n, err := io.ReadFull(s.r, s.buffer[:1])
	switch {
	case n > 0:
		return s.damaged("something follows the end of the snapshot")
	case err == io.EOF:
		return io.EOF
	}
	return fmt.Errorf("snapshot: reading behind its end at byte %d: %w", s.offset, err)
}

// fill reads all of b, which stands at offset.
func (s *Reader) fill(b []byte, offset int64, where string) error {
	n, err := io.ReadFull(s.r, b)
	switch {
	case err == nil:
		return nil
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return &CorruptionError{Offset: offset + int64(n), Reason: "it ends early, " + where + ": the rest is missing", EndsEarly: true}
	}
	return fmt.Errorf("snapshot: reading at byte %d: %w", offset+int64(n), err)
}

func (s *Reader) damaged(reason string) error {
	return &CorruptionError{Offset: s.offset, Reason: reason}
}

// Verify reads a whole snapshot and returns its header, or the error that a
// Reader would return; see Reader.
func Verify(r io.Reader) (Header, error) {
	s, err := NewReader(r)
	if err != nil {
		return Header{}, err
	}
	for err == nil {
		err = s.next()
	}
	if err == io.EOF {
		err = nil
	}
	return s.header, err
}

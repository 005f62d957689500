package wire

import (
	"bufio"
	"errors"
	"io"
	"net"
	"time"
)

const (
	// smallBytes is the length of the longest body for which memory is taken at once.
	smallBytes = 32 << 10
	// chunkBytes is the shortest step in which memory for a longer body is taken.
	chunkBytes = 16 << 10
	// maxChunks and retainedBytes bound the memory that is kept for the next frame.
	maxChunks     = 16
	retainedBytes = 1 << 20
	// pieceBytes is the number of bytes that must be read or written within the stall
	// time. With one deadline for a whole frame, a large one would never pass a slow
	// link.
	pieceBytes = 64 << 10
)

// frameReader cuts the bytes of one connection into frames. It belongs to one
// goroutine at a time.
type frameReader struct {
	r      *bufio.Reader
	held   int      // bytes of the buffer that the last body occupies
	chunks [][]byte // for the bodies of large frames, kept for the next one

	// conn is given a deadline for each piece of a large body; nil: none is
	// set, because the source is not a connection.
	conn  net.Conn
	stall time.Duration
}

// newFrameReader reads from r through a buffer of the given size, which must
// hold the longest frame that is not an AppendEntries.
func newFrameReader(r io.Reader, size int) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, size)}
}

// next returns the next frame's kind and body. The body of an AppendEntries is
// fresh memory, because the decoded entries live in it from then on; any other
// body is valid until the next call. After a time-out, next may be called
// again and has lost nothing unless a large frame had begun; after any other
// error it may not. The error is io.EOF only between two frames.
func (f *frameReader) next(allowed limits) (kind, []byte, error) {
	if _, err := f.r.Discard(f.held); err != nil {
		panic("wire: the buffer lost a body that was in it: " + err.Error())
	}
	f.held = 0
	first, err := f.r.Peek(1)
	if err != nil {
		return 0, nil, err
	}
	k := kind(first[0])
	if err := allowed.check(k); err != nil {
		return 0, nil, err
	}
	header, err := f.r.Peek(k.headerBytes())
	if err != nil {
		return 0, nil, insideFrame(err, true)
	}
	length, err := allowed.bodyLength(header)
	if err != nil {
		return 0, nil, err
	}
	if k == kindAppendEntries {
		return f.largeFrame(header, length)
	}
	frame, err := f.r.Peek(len(header) + length)
	if err != nil {
		return 0, nil, insideFrame(err, true)
	}
	f.held = len(frame)
	header, body := frame[:k.headerBytes()], frame[k.headerBytes():]
	if k.greeting() {
		return k, body, nil // it carries its checksum in the body
	}
	return k, body, checkSum(header, body)
}

// largeFrame reads the rest of an AppendEntries, whose header is in the buffer.
func (f *frameReader) largeFrame(peeked []byte, length int) (kind, []byte, error) {
	header := [headerBytes]byte(peeked)
	if _, err := f.r.Discard(headerBytes); err != nil {
		panic("wire: the buffer lost a header that was in it: " + err.Error())
	}
	body, err := f.ownBody(length)
	if err == nil {
		err = checkSum(header[:], body)
	}
	return kindAppendEntries, body, err
}

// ownBody reads a body into memory of its own. Because of the header alone it takes
// at most smallBytes. The memory for a longer body grows with the bytes that have
// arrived, in chunks that are joined in the end.
func (f *frameReader) ownBody(length int) ([]byte, error) {
	if length <= smallBytes {
		body := make([]byte, length)
		return body, f.fill(body)
	}
	for i, arrived := 0, 0; arrived < length; i++ {
		if i == len(f.chunks) {
			f.chunks = append(f.chunks, make([]byte, min(max(chunkBytes, arrived), length-arrived)))
		}
		n := min(len(f.chunks[i]), length-arrived)
		if err := f.fill(f.chunks[i][:n]); err != nil {
			return nil, err
		}
		arrived += n
	}
	body := make([]byte, 0, length)
	for i := 0; len(body) < length; i++ {
		body = append(body, f.chunks[i][:min(len(f.chunks[i]), length-len(body))]...)
	}
	if length > retainedBytes || len(f.chunks) > maxChunks {
		f.chunks = nil
	}
	return body, nil
}

// fill reads exactly b. A peer that has begun a frame and then stops is given
// up after the stall time, so that it cannot hold our memory for ever.
func (f *frameReader) fill(b []byte) error {
	waits := f.conn != nil && f.r.Buffered() < len(b)
	for len(b) > 0 {
		if waits {
			if err := f.conn.SetReadDeadline(time.Now().Add(f.stall)); err != nil {
				return err
			}
		}
		n := min(len(b), pieceBytes)
		if _, err := io.ReadFull(f.r, b[:n]); err != nil {
			return insideFrame(err, true)
		}
		b = b[n:]
	}
	if waits {
		return f.conn.SetReadDeadline(time.Time{})
	}
	return nil
}

// insideFrame turns io.EOF inside a frame into io.ErrUnexpectedEOF, so that io.EOF
// means an end between two frames.
func insideFrame(err error, inside bool) error {
	if inside && errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

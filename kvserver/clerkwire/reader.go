package clerkwire

import (
	"bufio"
	"errors"
	"io"
	"net"
	"slices"
	"time"
)

const (
	// bufferBytes is the size of a FrameReader's buffer. Bodies that fit in it with
	// their header are not copied.
	bufferBytes = 32 << 10
	// pieceBytes is the most memory that is taken before its bytes have come, and the
	// number of bytes that must be read or written within StallTimeout.
	pieceBytes = 64 << 10
	// SmallBytes is the length of the longest body for which a FrameReader needs no
	// memory in addition to its buffer.
	SmallBytes = bufferBytes - headerBytes
	// retainedBytes is the most memory that is kept for the next large frame.
	retainedBytes = 256 << 10
	// StallTimeout is the time in which the other side must send each piece of a frame
	// that it has begun, and take each piece that is sent to it.
	StallTimeout = 30 * time.Second
)

// FrameReader cuts the bytes of one connection into frames. It belongs to one
// goroutine.
type FrameReader struct {
	conn   net.Conn
	r      *bufio.Reader
	limits Limits
	held   int    // bytes of the buffer that the last frame occupies
	armed  bool   // a read deadline is set
	large  []byte // body of the last large frame
}

// NewFrameReader returns a reader of the frames that limits permits. Bytes that are
// left in early, which may be nil, are read before those of conn.
func NewFrameReader(conn net.Conn, early *bufio.Reader, limits Limits) *FrameReader {
	var from io.Reader = conn
	if early != nil && early.Buffered() > 0 {
		from = io.MultiReader(io.LimitReader(early, int64(early.Buffered())), conn)
	}
	return &FrameReader{conn: conn, r: bufio.NewReaderSize(from, bufferBytes), limits: limits}
}

// Waiting reports whether the whole next frame has come, so that reading it would
// not wait.
func (f *FrameReader) Waiting() bool {
	there := f.r.Buffered() - f.held
	if there < headerBytes {
		return false
	}
	b, err := f.r.Peek(f.held + headerBytes)
	if err != nil {
		return false
	}
	h, err := f.limits.parse(b[f.held:])
	return err != nil || there >= headerBytes+h.Length
}

// Next waits for a frame and returns its header; Body or Skip must follow. The
// error is io.EOF only between two frames.
func (f *FrameReader) Next() (Header, error) {
	f.release()
	if _, err := f.r.Peek(1); err != nil {
		return Header{}, err
	}
	if f.r.Buffered() < headerBytes {
		f.hurry()
	}
	b, err := f.r.Peek(headerBytes)
	if err != nil {
		return Header{}, insideFrame(err)
	}
	h, err := f.limits.parse(b)
	if err != nil {
		return Header{}, err
	}
	f.held = headerBytes
	return h, nil
}

// release steps over the last frame.
func (f *FrameReader) release() {
	if _, err := f.r.Discard(f.held); err != nil {
		panic("clerkwire: the buffer lost a frame that was in it: " + err.Error())
	}
	f.held = 0
	if cap(f.large) > retainedBytes {
		f.large = nil
	}
}

// Body reads the body of the frame whose header Next returned. It is valid
// until the next call of Next. A peer that stops inside of a frame is given up
// after StallTimeout, so that it cannot hold memory for ever.
func (f *FrameReader) Body(h Header) ([]byte, error) {
	if whole := headerBytes + h.Length; whole <= bufferBytes {
		if f.r.Buffered() < whole {
			f.hurry()
		}
		b, err := f.r.Peek(whole)
		if err != nil {
			return nil, insideFrame(err)
		}
		f.held = whole
		f.rest()
		return b[headerBytes:], nil
	}
	f.release()
	body := f.large[:0]
	for len(body) < h.Length {
		// Room for the bytes still to come, but at most for as many as have come.
		n := min(h.Length-len(body), max(pieceBytes, len(body)))
		if cap(body)-len(body) < n {
			body = slices.Grow(body, n)
		}
		piece := body[len(body) : len(body)+min(n, pieceBytes)]
		if err := f.fill(piece); err != nil {
			return nil, err
		}
		body = body[:len(body)+len(piece)]
	}
	f.large = body
	f.rest()
	return body, nil
}

// Skip steps over the body of the frame whose header Next returned, without
// taking memory for it.
func (f *FrameReader) Skip(h Header) error {
	f.release()
	for left := h.Length; left > 0; {
		f.hurry()
		n, err := f.r.Discard(min(left, pieceBytes))
		if err != nil {
			return insideFrame(err)
		}
		left -= n
	}
	f.rest()
	return nil
}

func (f *FrameReader) fill(piece []byte) error {
	f.hurry()
	if _, err := io.ReadFull(f.r, piece); err != nil {
		return insideFrame(err)
	}
	return nil
}

// rest removes the deadline after a frame has been read: between two frames there is
// none. If it cannot be removed, the next read fails and returns the error.
func (f *FrameReader) rest() {
	if f.armed {
		f.armed = false
		_ = f.conn.SetReadDeadline(time.Time{})
	}
}

// hurry sets the deadline by which the next piece of a frame must have come.
func (f *FrameReader) hurry() {
	f.armed = true
	_ = f.conn.SetReadDeadline(time.Now().Add(StallTimeout))
}

// insideFrame turns io.EOF inside a frame into io.ErrUnexpectedEOF, so that io.EOF
// means an end between two frames.
func insideFrame(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

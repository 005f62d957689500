package kv

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// snapshotBuffer is the number of bytes that are written at once.
const snapshotBuffer = 64 << 10

// snapshotWriter remembers the first error, so that later calls need no check. If
// to is nil it only counts.
type snapshotWriter struct {
	to      *bufio.Writer
	written int64
	scratch [binary.MaxVarintLen64]byte
	err     error
}

func (e *snapshotWriter) raw(b []byte) {
	if e.to == nil {
		e.written += int64(len(b))
	} else if e.err == nil {
		var n int
		n, e.err = e.to.Write(b)
		e.written += int64(n)
	}
}

func (e *snapshotWriter) text(s string) {
	if e.to == nil {
		e.written += int64(len(s))
	} else if e.err == nil {
		var n int
		n, e.err = e.to.WriteString(s)
		e.written += int64(n)
	}
}

func (e *snapshotWriter) numbers(numbers ...uint64) {
	for _, n := range numbers {
		e.raw(e.scratch[:binary.PutUvarint(e.scratch[:], n)])
	}
}

// snapshotReader also remembers the first error; after it, everything reads as
// zero.
type snapshotReader struct {
	from *bufio.Reader
	each Each
	left int64 // bytes of the section that is being read
	err  error
}

// unlimited is left outside of sections.
const unlimited = math.MaxInt64

// maxSectionBytes bounds a section; a larger one cannot be a state of this store.
// The length is only announced: memory is taken for the bytes that arrive.
const maxSectionBytes = 1 << 50

func (d *snapshotReader) bad(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrBadSnapshot, fmt.Sprintf(format, args...))
	}
}

// unknown records a thing that a later version may know.
func (d *snapshotReader) unknown(what *UnknownError) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %w", ErrBadSnapshot, what)
	}
}

// skip passes over n bytes that were looked at.
func (d *snapshotReader) skip(n int) {
	d.left -= int64(n)
	_, err := d.from.Discard(n)
	d.failed(err)
}

// more reports whether there is more of the section.
func (d *snapshotReader) more() bool { return d.err == nil && d.left > 0 }

// readByte reads the next byte of the section.
func (d *snapshotReader) readByte() (byte, error) {
	if d.left <= 0 {
		return 0, errSectionEnds
	}
	d.left--
	return d.from.ReadByte()
}

// errSectionEnds says that a field runs beyond the end of its section.
var errSectionEnds = errors.New("it runs beyond the end of its section")

func (d *snapshotReader) number() uint64 {
	if d.err != nil {
		return 0
	}
	n := uint64(0)
	for shift := 0; ; shift += 7 {
		b, err := d.readByte()
		switch {
		case err != nil:
			d.failed(err)
			return 0
		case shift == 63 && b > 1:
			d.bad("a number of more than 64 bits")
			return 0
		case b == 0 && shift > 0:
			d.bad("a number with needless bytes") // equal states have equal bytes
			return 0
		}
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
}

// zero reads a number that is reserved for a later version.
func (d *snapshotReader) zero(what string) {
	if n := d.number(); d.err == nil && n != 0 {
		d.unknown(&UnknownError{What: what, Number: n})
	}
}

// failed records an error of reading. A snapshot that ends early is bad.
func (d *snapshotReader) failed(err error) {
	switch {
	case err == nil:
	case errors.Is(err, errSectionEnds):
		d.bad("%v", err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		d.bad("it ends early")
	case d.err == nil:
		d.err = err
	}
}

// end records an error if anything follows.
func (d *snapshotReader) end() {
	if d.err != nil {
		return
	}
	if _, err := d.from.ReadByte(); err == nil {
		d.bad("something follows its end")
	} else if err != io.EOF {
		d.err = err
	}
}

// raw reads n bytes, at most MaxValueBytes.
func (d *snapshotReader) raw(n int) []byte {
	if d.err != nil {
		return nil
	}
	if int64(n) > d.left {
		d.failed(errSectionEnds)
		return nil
	}
	d.left -= int64(n)
	const step = 64 << 10
	b := make([]byte, 0, min(n, step))
	for len(b) < n && d.err == nil {
		start := len(b)
		b = append(b, make([]byte, min(n-start, max(step, start)))...)
		_, err := io.ReadFull(d.from, b[start:])
		d.failed(err)
	}
	return b
}

func (d *snapshotReader) bytes(what string, minLength, maxLength uint64) []byte {
	n := d.number()
	if d.err == nil && (n < minLength || n > maxLength) {
		d.bad("a %s of %d bytes", what, n)
	}
	return d.raw(int(n))
}

package msgpack

import (
	"errors"
	"fmt"
	"math"
)

// ErrMalformed is wrapped by every error of a Reader. The errors name the
// expected item, never the content of the bytes.
var ErrMalformed = errors.New("malformed message")

// Reader reads a body from the front. After the first item that is not the one
// asked for, every method returns zero; Close and Fault say what was wrong. A
// Reader belongs to one goroutine.
type Reader struct {
	rest  []byte
	fault string
}

// NewReader returns a Reader of body, which must not change while it is read.
func NewReader(body []byte) Reader { return Reader{rest: body} }

// Close returns nil if every item was there and nothing is left.
func (r *Reader) Close() error {
	if len(r.rest) != 0 {
		r.Reject("bytes after the end")
	}
	if r.fault != "" {
		return fmt.Errorf("%w: %s", ErrMalformed, r.fault)
	}
	return nil
}

// Fault returns the first thing that was wrong, or "" if nothing was so far.
func (r *Reader) Fault() string { return r.fault }

// Left returns the number of bytes that have not been read; 0 after a fault.
func (r *Reader) Left() int { return len(r.rest) }

// Reject makes the body malformed for a reason of the caller's. The first reason
// counts.
func (r *Reader) Reject(reason string) {
	if r.fault == "" {
		r.fault = reason
	}
	r.rest = nil
}

// Fields steps over the header of an array that must have n items.
func (r *Reader) Fields(n int) {
	if len(r.rest) > 0 && n <= 15 && r.rest[0] == 0x90|byte(n) {
		r.rest = r.rest[1:] // nearly always
		return
	}
	if r.ArrayHeader() != n {
		r.Reject("an array of another length")
	}
}

// Array steps over the header of an array of at most limit items and returns the
// number of items. Each item takes at least one byte, so an array of more items
// than there are bytes is refused.
func (r *Reader) Array(limit int) int {
	n := r.ArrayHeader()
	if n > limit || n > len(r.rest) {
		r.Reject("an array is too long or cut off")
		return 0
	}
	return n
}

// ArrayHeader steps over the header of an array and returns the number of items
// that it announces, 0 to 65535, whether they are there or not. It serves callers
// that read only the first few items; others call Array.
func (r *Reader) ArrayHeader() int {
	if len(r.rest) == 0 {
		r.Reject("an array is missing")
		return 0
	}
	switch first := r.rest[0]; {
	case first&0xf0 == 0x90:
		r.rest = r.rest[1:]
		return int(first & 0x0f)
	case first == 0xdc:
		if v, ok := r.bigEndian(2); ok && v > 15 {
			return int(v)
		}
		r.Reject("the header of an array is cut off or longer than needed")
		return 0
	}
	r.Reject("an item that is no array")
	return 0
}

// Uint reads an unsigned number.
func (r *Reader) Uint() uint64 {
	if len(r.rest) == 0 {
		r.Reject("a number is missing")
		return 0
	}
	first := r.rest[0]
	if first <= 0x7f {
		r.rest = r.rest[1:]
		return uint64(first)
	}
	width, smallest := 0, uint64(0) // smallest is the least value that needs the width
	switch first {
	case 0xcc:
		width, smallest = 1, 0x80
	case 0xcd:
		width, smallest = 2, math.MaxUint8+1
	case 0xce:
		width, smallest = 4, math.MaxUint16+1
	case 0xcf:
		width, smallest = 8, math.MaxUint32+1
	default:
		r.Reject("an item that is no unsigned number")
		return 0
	}
	v, ok := r.bigEndian(width)
	if !ok || v < smallest {
		r.Reject("a number that is cut off or longer than needed")
		return 0
	}
	return v
}

// Bool reads a truth value.
func (r *Reader) Bool() bool {
	if len(r.rest) == 0 || r.rest[0]&^1 != 0xc2 {
		r.Reject("a truth value is missing")
		return false
	}
	v := r.rest[0] == 0xc3
	r.rest = r.rest[1:]
	return v
}

// String reads a string of at most limit bytes. The string is a copy.
func (r *Reader) String(limit int) string { return string(r.Text(limit)) }

// Text reads a string of at most limit bytes. The bytes alias the body.
func (r *Reader) Text(limit int) []byte {
	if len(r.rest) > 0 && r.rest[0]&0xe0 == 0xa0 {
		n := uint64(r.rest[0] & 0x1f)
		r.rest = r.rest[1:]
		return r.take(n, limit)
	}
	return r.take(r.length(0xd9, 32), limit)
}

// Bytes reads a byte string of at most limit bytes. The bytes alias the body.
func (r *Reader) Bytes(limit int) []byte { return r.take(r.length(0xc4, 0), limit) }

// Extension reads an extension of the given type, of any length that is there.
// The bytes alias the body.
func (r *Reader) Extension(typ byte) []byte {
	n := r.extensionLength()
	if len(r.rest) == 0 || r.rest[0] != typ {
		r.Reject("an extension of another type")
		return nil
	}
	r.rest = r.rest[1:]
	return r.take(n, math.MaxInt)
}

// extensionLength steps over the length of an extension. The lengths 1, 2, 4, 8
// and 16 have forms of one byte, which are then the only permitted ones.
func (r *Reader) extensionLength() uint64 {
	if len(r.rest) > 0 && r.rest[0] >= 0xd4 && r.rest[0] <= 0xd8 {
		n := uint64(1) << (r.rest[0] - 0xd4)
		r.rest = r.rest[1:]
		return n
	}
	n := r.length(0xc7, 0)
	switch n {
	case 1, 2, 4, 8, 16:
		r.Reject("a length that is longer than needed")
		return 0
	}
	return n
}

// length steps over a length in the form of appendLength. It must be smallest or
// more.
func (r *Reader) length(first byte, smallest uint64) uint64 {
	if len(r.rest) == 0 {
		r.Reject("a string is missing")
		return 0
	}
	width := 1
	switch r.rest[0] {
	case first:
	case first + 1:
		width, smallest = 2, math.MaxUint8+1
	case first + 2:
		width, smallest = 4, math.MaxUint16+1
	default:
		r.Reject("an item that is no string of the right kind")
		return 0
	}
	n, ok := r.bigEndian(width)
	if !ok || n < smallest {
		r.Reject("a length that is cut off or longer than needed")
		return 0
	}
	return n
}

// take steps over n bytes, at most limit, and returns them.
func (r *Reader) take(n uint64, limit int) []byte {
	if r.fault != "" {
		return nil
	}
	if n > uint64(limit) || n > uint64(len(r.rest)) {
		r.Reject("a string that is too long or cut off")
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// bigEndian steps over one byte, which the caller has looked at, and a number of
// width bytes after it.
func (r *Reader) bigEndian(width int) (v uint64, ok bool) {
	if len(r.rest) < 1+width {
		return 0, false
	}
	for _, b := range r.rest[1 : 1+width] {
		v = v<<8 | uint64(b)
	}
	r.rest = r.rest[1+width:]
	return v, true
}

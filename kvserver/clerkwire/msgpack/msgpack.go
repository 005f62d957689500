// Package msgpack writes and reads the few forms of msgpack that our protocols
// are made of: arrays, unsigned numbers, truth values, strings and byte
// strings, each in the shortest form and no other.
//
// # Mental model
//
// Appenders add one item to a slice. A [Reader] walks over a body once, takes
// the values as it goes and remembers the first thing that was wrong. What it
// accepts holds no length that is not there, no item in a longer form than
// needed and nothing behind the end, so equal messages have equal bytes and
// nothing is allocated on the word of a length.
//
// A general library decodes by reflection, leniently, and needs a pass over the
// bytes before it to be safe on a port that is open to strangers. For messages
// of ten small fields that costs more than everything else that is done with
// them. Tests hold the bytes against such a library.
//
// # What it does not know
//
// What the items mean. It imports nothing of this module and holds no state.
package msgpack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// AppendArray adds the header of an array of n items, 0 to 65535.
func AppendArray(dst []byte, n int) []byte {
	if n <= 15 {
		return append(dst, 0x90|byte(n))
	}
	if n > math.MaxUint16 {
		panic(fmt.Sprintf("msgpack: an array of %d items; the longest has %d", n, math.MaxUint16))
	}
	return binary.BigEndian.AppendUint16(append(dst, 0xdc), uint16(n))
}

// AppendUint adds an unsigned number.
func AppendUint(dst []byte, v uint64) []byte {
	switch {
	case v <= 0x7f:
		return append(dst, byte(v))
	case v <= math.MaxUint8:
		return append(dst, 0xcc, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xcf), v)
}

// AppendBool adds a truth value.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 0xc3)
	}
	return append(dst, 0xc2)
}

// AppendString adds a string.
func AppendString(dst []byte, s string) []byte {
	if len(s) <= 31 {
		dst = append(dst, 0xa0|byte(len(s)))
	} else {
		dst = appendLength(dst, 0xd9, len(s))
	}
	return append(dst, s...)
}

// AppendBytes adds a byte string.
func AppendBytes[B ~[]byte | ~string](dst []byte, b B) []byte {
	return append(appendLength(dst, 0xc4, len(b)), b...)
}

// appendLength adds a length in one, two or four bytes, announced by first or
// one of the two above it.
func appendLength(dst []byte, first byte, n int) []byte {
	switch {
	case n <= math.MaxUint8:
		return append(dst, first, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, first+1), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, first+2), uint32(n))
	}
	panic(fmt.Sprintf("msgpack: %d bytes in one item", n))
}

// ErrMalformed is wrapped by every error of a Reader. The errors say what was
// expected and never what the bytes hold.
var ErrMalformed = errors.New("malformed message")

// Reader reads a body from the front. After the first item that is not what was
// asked for it reads zeros; Close tells.
type Reader struct {
	rest []byte
	bad  string
}

// NewReader reads body, which must not change meanwhile.
func NewReader(body []byte) Reader { return Reader{rest: body} }

// Close returns nil if everything that was read was there and nothing is left.
func (r *Reader) Close() error {
	if len(r.rest) != 0 {
		r.Reject("bytes behind the end")
	}
	if r.bad != "" {
		return fmt.Errorf("%w: %s", ErrMalformed, r.bad)
	}
	return nil
}

// Reject makes the body malformed for a reason of the caller's.
func (r *Reader) Reject(reason string) {
	if r.bad == "" {
		r.bad = reason
	}
	r.rest = nil
}

// Fields steps over the header of an array that must have n items.
func (r *Reader) Fields(n int) {
	if got := r.Array(n); got != n {
		r.Reject("an array of another length")
	}
}

// Array steps over the header of an array of at most limit items and returns
// how many there are. Each takes at least a byte, so more than there are bytes
// are refused, too.
func (r *Reader) Array(limit int) int {
	if len(r.rest) == 0 {
		r.Reject("an array is missing")
		return 0
	}
	n, ok := 0, true
	switch first := r.rest[0]; {
	case first&0xf0 == 0x90:
		n, r.rest = int(first&0x0f), r.rest[1:]
	case first == 0xdc:
		var v uint64
		v, ok = r.bigEndian(2)
		n, ok = int(v), ok && v > 15
	default:
		ok = false
	}
	if !ok || n > limit || n > len(r.rest) {
		r.Reject("an array is missing, too long or cut off")
		return 0
	}
	return n
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
	width, least := 0, uint64(0) // least is the smallest value that needs the width
	switch first {
	case 0xcc:
		width, least = 1, 0x80
	case 0xcd:
		width, least = 2, math.MaxUint8+1
	case 0xce:
		width, least = 4, math.MaxUint16+1
	case 0xcf:
		width, least = 8, math.MaxUint32+1
	default:
		r.Reject("an item that is no unsigned number")
		return 0
	}
	v, ok := r.bigEndian(width)
	if !ok || v < least {
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

// String reads a string of at most limit bytes. It is copied.
func (r *Reader) String(limit int) string {
	if len(r.rest) > 0 && r.rest[0]&0xe0 == 0xa0 {
		n := uint64(r.rest[0] & 0x1f)
		r.rest = r.rest[1:]
		return string(r.take(n, limit))
	}
	return string(r.take(r.length(0xd9, 32), limit))
}

// Bytes reads a byte string of at most limit bytes. It aliases the body.
func (r *Reader) Bytes(limit int) []byte { return r.take(r.length(0xc4, 0), limit) }

// length steps over a length as appendLength wrote it; it must be least or more.
func (r *Reader) length(first byte, least uint64) uint64 {
	if len(r.rest) == 0 {
		r.Reject("a string is missing")
		return 0
	}
	width := 1
	switch r.rest[0] {
	case first:
	case first + 1:
		width, least = 2, math.MaxUint8+1
	case first + 2:
		width, least = 4, math.MaxUint16+1
	default:
		r.Reject("an item that is no string of the right kind")
		return 0
	}
	n, ok := r.bigEndian(width)
	if !ok || n < least {
		r.Reject("a length that is cut off or longer than needed")
		return 0
	}
	return n
}

func (r *Reader) take(n uint64, limit int) []byte {
	if r.bad != "" {
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

// bigEndian steps over one byte that was looked at and a number behind it.
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

package wire

import (
	"encoding/binary"
	"math"

	"raftkv/raft/core"
)

// The msgpack library is made to be lenient: it takes a number for a truth
// value, an array for a byte string, nil for anything, ignores what is left
// over and skips what it does not expect, however deep and however long that
// says it is. So every body is first compared with the one shape that its kind
// has, byte by byte and without decoding anything. What passes holds no length
// that is not there and is exactly what the library itself would write, and
// only that is given to the library to decode.

// element is what one place of a body's array must hold.
type element uint8

const (
	uintElement    element = iota // unsigned, in the shortest form
	boolElement                   // true or false
	idElement                     // string of at most core.MaxIDBytes
	clusterElement                // string of at most maxClusterIDBytes
	textElement                   // string of at most maxClientAddrBytes
	detailElement                 // string of at most maxDetailBytes
	packedElement                 // extension packedExtension
)

// shape is a body: an array of these elements, and nothing behind it.
type shape []element

// check returns nil if body has the shape s.
func (s shape) check(body []byte) error {
	c := cursor{rest: body}
	if n, ok := c.arrayHeader(); !ok || n != len(s) {
		return malformed("the body is not an array of %d", len(s))
	}
	for i, e := range s {
		if !c.element(e) {
			return malformed("field %d of %d is cut off or of the wrong type", i+1, len(s))
		}
	}
	if len(c.rest) != 0 {
		return malformed("%d bytes behind the body", len(c.rest))
	}
	return nil
}

// cursor walks over a body. Each method steps over one item and says whether
// it was there; after one that was not, the cursor is of no more use.
type cursor struct{ rest []byte }

// arrayHeader steps over the header of an array of fewer than 65,536 elements,
// in the shorter of its two forms.
func (c *cursor) arrayHeader() (n int, ok bool) {
	if len(c.rest) > 0 && c.rest[0] == 0xdc {
		long, ok := c.bigEndian(2)
		return int(long), ok && long >= 16
	}
	if len(c.rest) == 0 || c.rest[0]&0xf0 != 0x90 {
		return 0, false
	}
	n = int(c.rest[0] & 0x0f)
	c.rest = c.rest[1:]
	return n, true
}

func (c *cursor) element(e element) bool {
	ok := false
	switch e {
	case uintElement:
		_, ok = c.uint()
	case boolElement:
		ok = c.bool()
	case idElement:
		_, ok = c.str(core.MaxIDBytes)
	case clusterElement:
		_, ok = c.str(maxClusterIDBytes)
	case textElement:
		_, ok = c.str(maxClientAddrBytes)
	case detailElement:
		_, ok = c.str(maxDetailBytes)
	case packedElement:
		ok = c.extension(packedExtension)
	}
	return ok
}

// uint steps over an unsigned number in the shortest of its five forms.
func (c *cursor) uint() (v uint64, ok bool) {
	if len(c.rest) == 0 {
		return 0, false
	}
	first := c.rest[0]
	if first <= 0x7f {
		c.rest = c.rest[1:]
		return uint64(first), true
	}
	var width int
	var least uint64 // the smallest value that needs this width
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
		return 0, false
	}
	v, ok = c.bigEndian(width)
	return v, ok && v >= least
}

func (c *cursor) bool() bool {
	if len(c.rest) == 0 || c.rest[0] != 0xc2 && c.rest[0] != 0xc3 {
		return false
	}
	c.rest = c.rest[1:]
	return true
}

// str steps over a string of at most limit bytes, which may be 31 or more.
func (c *cursor) str(limit int) (s []byte, ok bool) {
	if len(c.rest) == 0 {
		return nil, false
	}
	if first := c.rest[0]; first&0xe0 == 0xa0 {
		c.rest = c.rest[1:]
		return c.take(uint64(first & 0x1f))
	}
	n, ok := c.length([3]byte{0xd9, 0xda, 0xdb}, 32)
	if !ok || n > uint64(limit) {
		return nil, false
	}
	return c.take(n)
}

// extension steps over an extension of the given type.
func (c *cursor) extension(typ byte) bool {
	if len(c.rest) == 0 {
		return false
	}
	var n uint64
	switch c.rest[0] {
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // of 1, 2, 4, 8, 16 bytes
		n = 1 << (c.rest[0] - 0xd4)
		c.rest = c.rest[1:]
	default:
		var ok bool
		n, ok = c.length([3]byte{0xc7, 0xc8, 0xc9}, 0)
		if !ok || n == 1 || n == 2 || n == 4 || n == 8 || n == 16 {
			return false
		}
	}
	if len(c.rest) == 0 || c.rest[0] != typ {
		return false
	}
	c.rest = c.rest[1:]
	_, ok := c.take(n)
	return ok
}

// length steps over a length that is announced by one of three bytes, for one,
// two and four bytes of length, in the shortest form and not below least.
func (c *cursor) length(announce [3]byte, least uint64) (n uint64, ok bool) {
	if len(c.rest) == 0 {
		return 0, false
	}
	switch c.rest[0] {
	case announce[0]:
		n, ok = c.bigEndian(1)
	case announce[1]:
		n, ok = c.bigEndian(2)
		least = math.MaxUint8 + 1
	case announce[2]:
		n, ok = c.bigEndian(4)
		least = math.MaxUint16 + 1
	}
	return n, ok && n >= least
}

// bigEndian steps over one byte that was looked at and a number behind it.
func (c *cursor) bigEndian(width int) (v uint64, ok bool) {
	if len(c.rest) < 1+width {
		return 0, false
	}
	var b [8]byte
	copy(b[8-width:], c.rest[1:1+width])
	c.rest = c.rest[1+width:]
	return binary.BigEndian.Uint64(b[:]), true
}

func (c *cursor) take(n uint64) (b []byte, ok bool) {
	if n > uint64(len(c.rest)) {
		return nil, false
	}
	b, c.rest = c.rest[:n], c.rest[n:]
	return b, true
}

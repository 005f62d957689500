package wire

import (
	"raftkv/internal/msgpack"
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
	packedElement                 // extension packedExtension
)

// shape is a body: an array of these elements, and nothing behind it.
type shape []element

// check returns nil if body has the shape s.
func (s shape) check(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(len(s))
	for _, e := range s {
		e.step(&r)
	}
	if err := r.Close(); err != nil {
		return malformed("%v", err)
	}
	return nil
}

// step steps over one element.
func (e element) step(r *msgpack.Reader) {
	switch e {
	case uintElement:
		r.Uint()
	case boolElement:
		r.Bool()
	case idElement:
		r.Text(core.MaxIDBytes)
	case clusterElement:
		r.Text(maxClusterIDBytes)
	case textElement:
		r.Text(maxClientAddrBytes)
	case packedElement:
		r.Extension(packedExtension)
	}
}

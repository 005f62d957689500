package wire

import (
	"raftkv/raft/core"
	"raftkv/raft/msgpack"
)

// The library that decodes bodies is made to be lenient: it takes a number for a
// truth value, an array for a byte string and nil for anything, ignores what is
// left over, and skips what it does not expect, however deep and however long that
// claims to be. So every body is first compared with the one shape that its kind
// has, byte by byte and without decoding anything. A body that passes holds no
// length that exceeds the bytes behind it and is exactly what the library itself
// would write. Only such a body is given to the library.

// element is the kind of item that stands at one place of a body's array.
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

// shape describes a body: an array of these elements, and nothing after it.
type shape []element

// check returns nil if body has the shape s.
func (s shape) check(body []byte) error {
	r := msgpack.NewReader(body)
	if r.Fields(len(s)); r.Fault() != "" {
		return malformed("the body is not an array of %d", len(s))
	}
	for i, e := range s {
		e.skip(&r)
		if r.Fault() != "" {
			return malformed("field %d of %d is cut off or of the wrong type", i+1, len(s))
		}
	}
	if r.Left() != 0 {
		return malformed("%d bytes behind the body", r.Left())
	}
	return nil
}

// skip steps over one element. If it is not there, r has a fault.
func (e element) skip(r *msgpack.Reader) {
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
	case detailElement:
		r.Text(maxDetailBytes)
	case packedElement:
		r.Extension(packedExtension)
	}
}

// helloVersion returns the version of the protocol that the sender of a hello
// speaks, without anything else of it: these two fields come first in every
// version. It reports false if the body is not the hello of a raftkv peer.
func helloVersion(body []byte) (v uint64, ok bool) {
	r := msgpack.NewReader(body)
	r.ArrayHeader()
	word, v := r.Text(maxClientAddrBytes), r.Uint()
	return v, r.Fault() == "" && string(word) == magic && v != 0
}

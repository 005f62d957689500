package wire

import (
	"fmt"
	"math/bits"

	"raftkv/raft/core"
)

// appendEntries is AppendEntries in the form in which it travels: the entries are
// one byte string, encoded as on disk. That is several times cheaper than an array
// of arrays.
type appendEntries struct {
	Term         uint64
	LeaderID     core.ID
	PrevLogIndex uint64
	PrevLogTerm  uint64
	LeaderCommit uint64
	Count        uint64 // entries in Entries
	Entries      packedBytes
	Padding      packedBytes // zeros; see paddingFor
}

var appendEntriesShape = shape{
	uintElement, idElement, uintElement, uintElement, uintElement,
	uintElement, packedElement, packedElement,
}

// packedBytes are bytes that mean nothing to msgpack, such as a run of entries
// in the encoding of core.EncodeEntries.
type packedBytes []byte

// packedExtension is the type of the msgpack extension that carries packed bytes.
// An extension is the one kind of byte string that the library decodes without
// copying it.
const packedExtension = 1

// packedCodec converts packed bytes to an extension and back, for the library.
// Decoded ones alias the body from which they were decoded.
type packedCodec struct{}

func (packedCodec) WriteExt(v any) []byte {
	switch packed := v.(type) {
	case packedBytes:
		return packed
	case *packedBytes:
		return *packed
	}
	panic(fmt.Sprintf("wire: %T is not packed bytes", v))
}

func (packedCodec) ReadExt(dst any, src []byte) {
	*dst.(*packedBytes) = packedBytes(src[:len(src):len(src)])
}

// An encoded entry can be as short as seven bytes and takes 48 in memory, so a
// frame of nothing but such entries would make its receiver take seven times as much
// memory as was sent. Therefore freeEntries entries are free, and each further one
// must come with bytesPerEntry bytes. A sender whose entries are shorter than that on
// average adds padding. Real commands are longer, so padding is very rare.
const (
	freeEntries   = 512
	bytesPerEntry = 24
)

// paddingFor returns the number of bytes of padding that count entries need, which
// are encoded in entryBytes bytes.
func paddingFor(count, entryBytes int) int {
	return max(0, (count-freeEntries)*bytesPerEntry-entryBytes)
}

// unpack returns the message of a received body. Its entries alias the body.
func (m *appendEntries) unpack() (*core.AppendEntries, error) {
	if m.Count > MaxFrameBytes {
		return nil, malformed("%d entries cannot fit in any frame", m.Count)
	}
	if want := paddingFor(int(m.Count), len(m.Entries)); len(m.Padding) != want {
		return nil, malformed("%d bytes of padding where %d belong", len(m.Padding), want)
	}
	for _, b := range m.Padding {
		if b != 0 {
			return nil, malformed("the padding holds a byte that is not 0")
		}
	}
	entries, err := core.DecodeEntries(m.Entries, m.PrevLogIndex+1, int(m.Count))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	request := &core.AppendEntries{
		Term:         m.Term,
		LeaderID:     m.LeaderID,
		PrevLogIndex: m.PrevLogIndex,
		PrevLogTerm:  m.PrevLogTerm,
		Entries:      entries,
		LeaderCommit: m.LeaderCommit,
	}
	if err := request.Valid(); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return request, nil
}

// encodedLen returns the exact length of core.EncodeEntries(nil, entries).
func encodedLen(entries []core.Entry) int {
	n := 0
	for i := range entries {
		data := len(entries[i].Data)
		n += uvarintLen(entries[i].Term) + 1 + 4 + uvarintLen(uint64(data)) + data
	}
	return n
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// frameBound returns an upper bound of the length of a request's frame. It is close
// enough to count against limits, and computed without encoding anything.
func frameBound(request core.Request) int {
	m, ok := request.(*core.AppendEntries)
	if !ok {
		return headerBytes + maxSmallBody
	}
	n := encodedLen(m.Entries)
	return entryRoom + n + paddingFor(len(m.Entries), n)
}

package recorder

import (
	"encoding/binary"
	"slices"
)

// Event is one thing that happened on a node. What Peer, Term, Index, A and B hold is
// said with each kind. The zero Event stands for none.
type Event struct {
	Seq   uint64 // 1, 2, 3, … over all boots of a node
	Mono  int64  // nanoseconds since the process began, by its monotonic clock
	Wall  int64  // milliseconds since the epoch, by the machine's clock, which may be wrong
	Term  uint64
	Index uint64
	A, B  int64
	Count uint32 // of equal events within a second, which this one stands for; 0 and 1 are one
	Group uint32 // of Raft; there is group 1 today
	Kind  Kind
	Why   Why
	Peer  uint8 // position in Section.Names, counted from 1; 0: nobody
}

// eventBytes is the length of an encoded event.
const eventBytes = 72

// append appends the encoding of e to b. Numbers are little-endian.
func (e *Event) append(b []byte) []byte {
	for _, n := range [7]uint64{e.Seq, uint64(e.Mono), uint64(e.Wall), e.Term, e.Index, uint64(e.A), uint64(e.B)} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = binary.LittleEndian.AppendUint32(b, e.Count)
	b = binary.LittleEndian.AppendUint32(b, e.Group)
	b = binary.LittleEndian.AppendUint16(b, uint16(e.Kind))
	b = binary.LittleEndian.AppendUint16(b, uint16(e.Why))
	return append(b, e.Peer, 0, 0, 0)
}

// decodeEvent decodes the first eventBytes of b, which must be there.
func decodeEvent(b []byte) Event {
	number := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	return Event{
		Seq: number(0), Mono: int64(number(1)), Wall: int64(number(2)), Term: number(3), Index: number(4), A: int64(number(5)), B: int64(number(6)),
		Count: binary.LittleEndian.Uint32(b[56:]), Group: binary.LittleEndian.Uint32(b[60:]),
		Kind: Kind(binary.LittleEndian.Uint16(b[64:])), Why: Why(binary.LittleEndian.Uint16(b[66:])), Peer: b[68],
	}
}

// Section is what holds for all events of one boot of a node.
type Section struct {
	Node  string   // its name
	Boot  uint64   // counts the starts of its data directory
	Tick  int64    // nanoseconds of a tick of its consensus
	From  uint64   // the Seq of its first event
	Names []string // of the nodes that Event.Peer means
	Build string   // names the build
	// NowMono is Event.Mono of the moment at which the events were asked for, in a ring
	// of the present boot; 0 otherwise. Files do not hold it.
	NowMono int64
}

// Name returns the name of the node at a position, "" for nobody and for a position
// that the section does not know.
func (s *Section) Name(peer uint8) string {
	if peer == 0 || int(peer) > len(s.Names) {
		return ""
	}
	return s.Names[peer-1]
}

// continues reports whether a section is of the same boot, with the same names or more:
// some are added while it runs.
func (s *Section) continues(later *Section) bool {
	n := len(s.Names)
	return s.Boot == later.Boot && len(later.Names) >= n && slices.Equal(s.Names, later.Names[:n])
}

// position returns the position of a node, 0 if it has none.
func (s *Section) position(name string) uint8 {
	for i, n := range s.Names {
		if n == name {
			return uint8(i + 1)
		}
	}
	return 0
}

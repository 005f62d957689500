package core

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
)

// Goal: an entry's checksum is the CRC-32C that its comment says. Method: compare
// with package crc32 over the same bytes in one piece, for data of many lengths.
func TestTheChecksumIsCRC32COfTheWholeEntry(t *testing.T) {
	for length := range 200 {
		data := make([]byte, length)
		for i := range data {
			data[i] = byte(i*length + 7)
		}
		index, term, kind := uint64(length)<<40|3, uint64(length)*0x123456789, Kind(length%3)
		whole := binary.LittleEndian.AppendUint64(nil, index)
		whole = binary.LittleEndian.AppendUint64(whole, term)
		whole = append(append(whole, byte(kind)), data...)
		if e := NewEntry(index, term, kind, data); e.Sum != crc32.Checksum(whole, crc32.MakeTable(crc32.Castagnoli)) || !e.Intact() {
			t.Fatalf("with %d bytes of data the checksum is %08x", length, e.Sum)
		}
	}
}

// Goal: comparing an entry allocates nothing: it is done several times for each.
// Method: count allocations of Intact for entries with and without data.
func TestComparingAllocatesNothing(t *testing.T) {
	entries := []Entry{NewEntry(1, 1, KindNoop, nil), NewEntry(2, 1, KindCommand, make([]byte, 300))}
	if n := testing.AllocsPerRun(100, func() { mustBeIntact(entries, "sent") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Goal: no flipped bit in an encoded entry is believed, and neither is an entry at
// another index. Method: every bit of two entries, and the run one index further.
func TestNoFlippedBitOfAnEncodedEntryIsBelieved(t *testing.T) {
	good := EncodeEntries(nil, []Entry{NewEntry(7, 3, KindCommand, []byte("value")), NewEntry(8, 3, KindNoop, nil)})
	for bit := range 8 * len(good) {
		b := append([]byte(nil), good...)
		b[bit/8] ^= 1 << (bit % 8)
		if entries, err := DecodeEntries(b, 7, 2); err == nil {
			t.Errorf("with bit %d flipped it was decoded as %+v", bit, entries)
		}
	}
	if _, err := DecodeEntries(good, 8, 2); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("the entries of index 7 at index 8: %v", err)
	}
}

// Goal: what a build does not know is refused by its number: kinds, and no-ops
// with more in them than a uid. Method: entries with valid checksums of every kind
// there is not, and no-ops with data of other lengths or the zero uid.
func TestUnknownKindsAreRefusedByNumber(t *testing.T) {
	refused := func(e Entry, want string) {
		t.Helper()
		var unknown *UnknownKindError
		_, err := DecodeEntries(AppendEntry(nil, e), e.Index, 1)
		if !errors.As(err, &unknown) || unknown.Index != e.Index || !strings.Contains(err.Error(), want) {
			t.Errorf("%v with %d bytes: %v, want one that names %q", e.Kind, len(e.Data), err, want)
		}
	}
	refused(NewEntry(9, 2, KindConfiguration, nil), "kind 2 with 0 bytes of data (members: this is no record: it ends early)")
	refused(NewEntry(9, 2, KindConfiguration, []byte{2}), "kind 2 with 1 bytes of data (members: the version of a record 2 is not known")
	for kind := KindConfiguration + 1; kind != 0; kind++ {
		refused(NewEntry(9, 2, kind, []byte("x")), fmt.Sprintf("log entry 9 has kind %d, ", uint8(kind)))
	}
	for _, length := range []int{1, 15, 16, 17, 32} { // 16 zeros are no uid either
		refused(NewEntry(9, 2, KindNoop, make([]byte, length)), fmt.Sprintf("kind 1 with %d bytes of data", length))
	}
}

// Goal: a server that finds a damaged entry in its memory ends before the entry
// gets any further, with a sentence that names it. Method: for each way on (to a
// peer, to the disk, to the state machine), change one bit of what the log holds
// just before, in the data, the term or the kind, and ask for the work.
func TestDamageInMemoryEndsTheServer(t *testing.T) {
	flips := map[string]func(*Entry){
		"data": func(e *Entry) { e.Data[0] ^= 4 },
		"kind": func(e *Entry) { e.Kind ^= 1 },
		"sum":  func(e *Entry) { e.Sum ^= 1 << 31 },
	}
	for what, flip := range flips {
		for stage, prepare := range map[string]func(s *trio){
			// A leader sends before it writes, so what is written alone is a follower's.
			"sent": func(s *trio) { _, _, _ = s.servers[0].Propose([]byte("a")) },
			"written": func(s *trio) {
				_, _, _ = s.servers[0].Propose([]byte("a"))
				s.take(0)
				r := s.servers[1]
				r.Receive(99, "1", s.appendsTo("2"))
				s.servers[0] = r // whose turn it is
			},
			"applied": func(s *trio) {
				r := s.servers[0]
				_, _, _ = r.Propose([]byte("a"))
				r.Saved(r.Ready().Write.Seq)
				r.commitTo(r.log.lastIndex())
			},
		} {
			t.Run(what+" "+stage, func(t *testing.T) {
				s := newTrio(0)
				prepare(s)
				r := s.servers[0]
				last := &r.log.entries[len(r.log.entries)-1]
				last.Data = append([]byte(nil), last.Data...) // servers share the bytes here
				flip(last)
				var damage *DamageError
				func() {
					defer func() { damage, _ = recover().(*DamageError) }()
					r.Ready()
				}()
				if damage == nil || damage.Index != last.Index || damage.Stage != stage {
					t.Fatalf("the server ended with %+v", damage)
				}
				if want := fmt.Sprintf("log entry %d of term %d", last.Index, last.Term); !strings.Contains(damage.Error(), want) ||
					!strings.Contains(damage.Error(), "this machine's memory is damaged") {
					t.Errorf("it says %q", damage)
				}
			})
		}
	}
}

// appendsTo returns the AppendEntries with entries that is on its way to a server.
func (t *trio) appendsTo(id ID) *AppendEntries {
	for _, call := range t.calls {
		if m, ok := call.Request.(*AppendEntries); ok && call.To == id && len(m.Entries) > 0 {
			return m
		}
	}
	panic("nothing is on its way to " + string(id))
}

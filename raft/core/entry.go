package core

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"raftkv/raft/members"
)

// Kind says what an entry is for. Values are stored on disk and sent to
// peers: they are only ever added to. A build refuses the kinds that it does not
// know; see UnknownKindError.
type Kind uint8

const (
	// KindCommand carries a command for the state machine.
	KindCommand Kind = 0
	// KindNoop is appended by a new leader, so that it can commit in its own term
	// at once (§8). Its data is empty, or the UID that the first leader gives its
	// cluster.
	KindNoop Kind = 1
	// KindConfiguration carries the record of the cluster's members (§6), encoded by
	// members.Record.Encode. It is in force as soon as it is appended.
	KindConfiguration Kind = 2
)

func (k Kind) String() string {
	switch k {
	case KindCommand:
		return "command"
	case KindNoop:
		return "noop"
	case KindConfiguration:
		return "configuration"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// known reports whether this build knows what entries of kind k mean.
func (k Kind) known() bool { return k <= KindConfiguration }

// UnknownKindError says that an entry has a kind which this build does not know, or
// data that it does not know in that kind. A server that skipped the entry would
// come to another state than one that knows it.
type UnknownKindError struct {
	Index uint64
	Kind  Kind
	Bytes int // length of the data
	// Cause says what is unknown about the data, nil if the kind is.
	Cause error
}

// Unwrap returns the cause.
func (e *UnknownKindError) Unwrap() error { return e.Cause }

func (e *UnknownKindError) Error() string {
	return fmt.Sprintf("core: log entry %d has %s, which this raftkv does not know: a newer raftkv made it, so run that version here", e.Index, e.What())
}

// What names the kind by its number, and what is unknown about it.
func (e *UnknownKindError) What() string {
	switch {
	case e.Cause != nil:
		return fmt.Sprintf("kind %d with %d bytes of data (%v)", uint8(e.Kind), e.Bytes, e.Cause)
	case e.Kind.known():
		return fmt.Sprintf("kind %d with %d bytes of data", uint8(e.Kind), e.Bytes)
	}
	return fmt.Sprintf("kind %d", uint8(e.Kind))
}

// Entry is one slot of the replicated log (Figure 2 "log[]"). Entries are
// immutable once appended: a slice of them may be kept and read by anyone.
type Entry struct {
	Index uint64 // position in the log, from 1
	Term  uint64 // term in which a leader received it
	Kind  Kind
	// Sum is the CRC-32C of index, term, kind and data. The leader makes it with the
	// entry. It is compared before the entry is sent, written or applied, and when
	// it is decoded.
	Sum  uint32
	Data []byte // opaque; nil and empty are the same
}

// NewEntry returns an entry with its checksum.
func NewEntry(index, term uint64, kind Kind, data []byte) Entry {
	e := Entry{Index: index, Term: term, Kind: kind, Data: data}
	e.Sum = e.checksum()
	return e
}

// entryOverhead is the number of bytes that an entry counts for in addition to its
// data. It is a round figure, not the exact encoded size.
const entryOverhead = 16

// size returns the bytes that an entry counts for in batches and limits.
func (e Entry) size() int { return len(e.Data) + entryOverhead }

// Intact reports whether the entry still matches its checksum.
func (e *Entry) Intact() bool { return e.Sum == e.checksum() }

// checksum is the CRC-32C over the index and the term, 8 bytes little-endian
// each, the kind and the data.
//
// The fixed part does not go through package crc32: its argument would be put on
// the heap, once for every entry that is looked at.
func (e *Entry) checksum() uint32 {
	crc := ^uint32(0)
	crc = castagnoli8(crc, e.Index)
	crc = castagnoli8(crc, e.Term)
	crc = slices8[0][byte(crc)^byte(e.Kind)] ^ crc>>8
	return crc32.Update(^crc, castagnoli, e.Data)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// slices8 are the tables of the algorithm that takes eight bytes at a time:
// slices8[k][b] is the effect of byte b with k bytes of zeros behind it.
var slices8 = func() (t [8][256]uint32) {
	t[0] = *castagnoli
	for k := 1; k < len(t); k++ {
		for b := range t[k] {
			before := t[k-1][b]
			t[k][b] = t[0][byte(before)] ^ before>>8
		}
	}
	return t
}()

// castagnoli8 continues a checksum, inverted as the algorithm keeps it, with the
// eight bytes of v.
func castagnoli8(crc uint32, v uint64) uint32 {
	v ^= uint64(crc)
	return slices8[7][byte(v)] ^ slices8[6][byte(v>>8)] ^ slices8[5][byte(v>>16)] ^ slices8[4][byte(v>>24)] ^
		slices8[3][byte(v>>32)] ^ slices8[2][byte(v>>40)] ^ slices8[1][byte(v>>48)] ^ slices8[0][byte(v>>56)]
}

// DamageError says that an entry changed in this machine's memory after its
// leader had made it, or after it was read and compared. The server must end
// before the entry gets any further.
type DamageError struct {
	Index, Term uint64
	Stage       string // what was about to happen to the entry: "sent", "written" or "applied"
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("core: log entry %d of term %d does not match its checksum just before it is %s: this machine's memory is damaged, "+
		"so this server ends before anybody believes the entry; test the memory before you start it again", e.Index, e.Term, e.Stage)
}

// Intact returns a *DamageError for the first of the entries that changed since
// its checksum was made, or nil. The stage is what is about to happen to them.
func Intact(entries []Entry, stage string) error {
	for i := range entries {
		if e := &entries[i]; !e.Intact() {
			return &DamageError{Index: e.Index, Term: e.Term, Stage: stage}
		}
	}
	return nil
}

// mustBeIntact stops the server if one of the entries is damaged. The driver
// recovers the *DamageError and ends with its sentence.
func mustBeIntact(entries []Entry, stage string) {
	if err := Intact(entries, stage); err != nil {
		panic(err)
	}
}

// AppendEntry appends the encoding of e to dst and returns the extended slice.
//
// One encoding serves disk and wire:
//
//	term uvarint | kind u8 | checksum u32 little-endian | length uvarint | data
//
// The index is not encoded: entries travel in runs without gaps and the run's
// header holds the index of its first entry. The checksum is e.Sum as it is: it
// is for the reader to compare.
func AppendEntry(dst []byte, e Entry) []byte {
	dst = binary.AppendUvarint(dst, e.Term)
	dst = append(dst, byte(e.Kind))
	dst = binary.LittleEndian.AppendUint32(dst, e.Sum)
	dst = binary.AppendUvarint(dst, uint64(len(e.Data)))
	return append(dst, e.Data...)
}

// EncodeEntries encodes a run of entries one after the other; see AppendEntry.
func EncodeEntries(dst []byte, entries []Entry) []byte {
	for _, e := range entries {
		dst = AppendEntry(dst, e)
	}
	return dst
}

// minEncodedEntry is the length of the shortest encoded entry: one byte each
// for term, kind and length, and four for the checksum.
const minEncodedEntry = 7

// DecodeEntries reads count entries, the first of which has index first, from
// b, which must hold exactly those. The entries' Data alias b: the caller must
// not change b afterwards. Nothing is allocated before all of b has been found
// to be what count claims, and then only the entries.
//
// Errors: an *UnknownKindError, or a sentence if b is no encoding of such entries
// or one of them does not match its checksum.
func DecodeEntries(b []byte, first uint64, count int) ([]Entry, error) {
	if count < 0 || count > len(b)/minEncodedEntry {
		return nil, fmt.Errorf("core: %d entries cannot fit in %d bytes", count, len(b))
	}
	if count == 0 {
		if len(b) != 0 {
			return nil, fmt.Errorf("core: %d bytes where no entry was announced", len(b))
		}
		return nil, nil
	}
	if first == 0 || first+uint64(count) < first {
		return nil, fmt.Errorf("core: a run of %d entries cannot start at index %d", count, first)
	}
	rest := b
	for i := range count {
		e, behind, err := decodeEntry(rest, first+uint64(i))
		if err == nil {
			err = e.believable()
		}
		if err != nil {
			return nil, fmt.Errorf("core: entry %d of %d: %w", i+1, count, err)
		}
		rest = behind
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("core: %d bytes left over after %d entries", len(rest), count)
	}
	entries := make([]Entry, count)
	for i := range entries {
		entries[i], b, _ = decodeEntry(b, first+uint64(i))
	}
	return entries, nil
}

// decodeEntry reads one entry and returns what follows it.
func decodeEntry(b []byte, index uint64) (e Entry, rest []byte, err error) {
	term, n := binary.Uvarint(b)
	if n <= 0 || len(b) < n+5 {
		return Entry{}, nil, errTruncatedEntry
	}
	kind, sum := Kind(b[n]), binary.LittleEndian.Uint32(b[n+1:])
	b = b[n+5:]
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) {
		return Entry{}, nil, errTruncatedEntry
	}
	end := n + int(length)
	return Entry{Index: index, Term: term, Kind: kind, Sum: sum, Data: b[n:end:end]}, b[end:], nil
}

var errTruncatedEntry = errors.New("the encoding ends early")

// believable returns the reason why a decoded entry must not be taken, or nil. The
// checksum comes first: without it the kind means nothing.
func (e *Entry) believable() error {
	if !e.Intact() {
		return fmt.Errorf("log entry %d of term %d does not match its checksum: it was damaged after its leader had made it", e.Index, e.Term)
	}
	return e.meaning()
}

// meaning returns the reason why this build must not act on an entry, or nil.
func (e *Entry) meaning() error {
	if !e.Kind.known() {
		return &UnknownKindError{Index: e.Index, Kind: e.Kind, Bytes: len(e.Data)}
	}
	if e.Kind == KindConfiguration {
		if _, err := members.Decode(e.Data); err != nil {
			return e.unknown(err)
		}
	}
	_, err := e.uid()
	return err
}

// unknown returns the error of an entry whose kind is known and whose data is not.
func (e *Entry) unknown(cause error) error {
	return &UnknownKindError{Index: e.Index, Kind: e.Kind, Bytes: len(e.Data), Cause: cause}
}

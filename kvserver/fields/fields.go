// Package fields reads the encodings that the key/value state machine keeps in the log and
// in snapshots: commands, transactions, and identities with their tokens. An encoding is a
// row of fields without names. All numbers are uvarints (encoding/binary) in their shortest
// form, and what has a length of its own has it before it. So equal things have equal bytes.
package fields

import (
	"encoding/binary"
	"fmt"
)

// UnknownError says that an encoding holds a number without a meaning in this version. A
// later one may have put it there, so the bytes behind it cannot be judged.
type UnknownError struct {
	What   string // such as "operation" or "flag"
	Number uint64
}

func (e *UnknownError) Error() string { return fmt.Sprintf("unknown %s %d", e.What, e.Number) }

// Reader reads an encoding from the front. It remembers the first fault; after that it reads
// zeros, and nothing is left. It allocates nothing, whatever the lengths inside claim: what
// it returns aliases Rest. It is for one goroutine at a time.
type Reader struct {
	// Rest is what has not been read.
	Rest    []byte
	fault   string
	unknown *UnknownError
}

// Check remembers a fault unless ok is true.
func (r *Reader) Check(ok bool, fault string) {
	if !ok && r.fault == "" {
		r.fault, r.Rest = fault, nil
	}
}

// Stop ends the reading at a number that this version does not know.
func (r *Reader) Stop(what string, number uint64) {
	if r.fault == "" {
		r.unknown = &UnknownError{What: what, Number: number}
	}
	r.Check(false, what)
}

// Bad reports whether there was a fault.
func (r *Reader) Bad() bool { return r.fault != "" }

// Fault returns the first fault. unknown is set if it was a call of Stop, and fault is empty
// if there was none.
func (r *Reader) Fault() (unknown *UnknownError, fault string) { return r.unknown, r.fault }

// End checks that nothing is left.
func (r *Reader) End() { r.Check(len(r.Rest) == 0, "bytes after the end") }

// Number reads a number.
func (r *Reader) Number() uint64 {
	v, n := binary.Uvarint(r.Rest)
	r.Check(n > 0, "a number that is cut off or too large")
	r.Check(n <= 1 || r.Rest[n-1] != 0, "a number with needless bytes")
	if r.fault != "" {
		return 0
	}
	r.Rest = r.Rest[n:]
	return v
}

// UpTo reads a number that is at most highest.
func (r *Reader) UpTo(highest uint64) uint64 {
	v := r.Number()
	r.Check(v <= highest, "a number beyond its limit")
	if r.fault != "" {
		return 0
	}
	return v
}

// Flag reads a number that is 0 or 1.
func (r *Reader) Flag() bool { return r.UpTo(1) == 1 }

// Byte reads one byte.
func (r *Reader) Byte() byte {
	r.Check(len(r.Rest) > 0, "cut off")
	if r.fault != "" {
		return 0
	}
	b := r.Rest[0]
	r.Rest = r.Rest[1:]
	return b
}

// Bytes reads a length and what it is the length of.
func (r *Reader) Bytes() []byte {
	n := r.Number()
	r.Check(n <= uint64(len(r.Rest)), "a length beyond the end")
	if r.fault != "" {
		return nil
	}
	return r.take(int(n))
}

// Text reads a length of at most longest, and a text of so many bytes.
func (r *Reader) Text(longest int) string {
	n := r.UpTo(uint64(longest))
	r.Check(n <= uint64(len(r.Rest)), "a length beyond the end")
	if r.fault != "" {
		return ""
	}
	return string(r.take(int(n)))
}

// Fill reads as many bytes as dst has. After a fault it leaves dst as it was.
func (r *Reader) Fill(dst []byte) {
	r.Check(len(dst) <= len(r.Rest), "cut off")
	if r.fault == "" {
		copy(dst, r.take(len(dst)))
	}
}

func (r *Reader) take(n int) []byte {
	b := r.Rest[:n:n]
	r.Rest = r.Rest[n:]
	return b
}

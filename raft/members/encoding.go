package members

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// encodingVersion is the only version of the encoding: the one of level 3.
const encodingVersion = 1

// UnknownError says that a record has something that this build does not know: a newer
// one wrote it. A server that skipped it would count by another configuration than one
// that knows it.
type UnknownError struct {
	What   string // "version of a record", "role", …
	Number uint64
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("members: the %s %d is not known to this raftkv: a newer raftkv made it, so run that version here", e.What, e.Number)
}

// Flags of the settings and of a member in the encoding.
const (
	flagHold      = 1 << 0
	flagPromotion = 1 << 1
	flagAutopilot = 1 << 2
	flagPeerTLS   = 1 << 3
	settingsFlags = flagHold | flagPromotion | flagAutopilot | flagPeerTLS

	flagWasVoter = 1 << 0
	flagPromote  = 1 << 1
	memberFlags  = flagWasVoter | flagPromote
)

// Encode returns the record's encoding: the data of an entry of kind configuration.
// The same record always gives the same bytes. The error says what makes the record
// impossible, or that it needs more than MaxBytes.
//
//	version u8 | uid [16] | generation | level | settings | members | removed | changes | tokens
//
// Numbers are uvarints. A string and a list begin with their length. The fields stand
// in the order of the types' fields; those that are true or false are bits of one byte
// (flags), which stands behind the role of a member and behind the voters wanted.
func (r *Record) Encode() ([]byte, error) {
	if err := r.Valid(); err != nil {
		return nil, err
	}
	b := r.encode()
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("members: the record has %d bytes; the limit is %d: remove members, tokens or addresses", len(b), MaxBytes)
	}
	return b, nil
}

func (r *Record) encode() []byte {
	b := append([]byte{encodingVersion}, r.UID[:]...)
	b = binary.AppendUvarint(b, r.Generation)
	b = binary.AppendUvarint(b, uint64(r.Level))
	s := &r.Settings
	b = binary.AppendUvarint(b, uint64(s.Wanted))
	b = append(b, bit(s.Hold, flagHold)|bit(s.Promotion, flagPromotion)|bit(s.Autopilot, flagAutopilot)|bit(s.PeerTLS, flagPeerTLS))
	b = binary.AppendUvarint(b, uint64(s.PromoteAfter))
	b = binary.AppendUvarint(b, uint64(s.ReplaceAfter))
	b = binary.AppendUvarint(b, uint64(s.DeadAfter))
	b = append(b, byte(s.JoinBy))
	b = binary.AppendUvarint(b, uint64(len(r.Members)))
	for i := range r.Members {
		b = r.Members[i].encode(b)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Removed)))
	for i := range r.Removed {
		gone := &r.Removed[i]
		b = appendString(b, string(gone.ID))
		b = append(b, gone.Incarnation[:]...)
		b = binary.AppendUvarint(b, gone.Added)
		b = binary.AppendUvarint(b, gone.Index)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Changes)))
	for _, c := range r.Changes {
		b = binary.AppendUvarint(appendString(b, c.ID), c.Index)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Tokens)))
	for i := range r.Tokens {
		t := &r.Tokens[i]
		b = append(appendString(b, t.ID), t.Hash[:]...)
		b = appendString(append(b, byte(t.Role)), string(t.For))
		b = binary.AppendUvarint(b, uint64(t.Uses))
		b = binary.AppendUvarint(b, t.Expiry)
	}
	return b
}

func (m *Member) encode(b []byte) []byte {
	b = appendString(b, string(m.ID))
	b = append(b, byte(m.Role), bit(m.WasVoter, flagWasVoter)|bit(m.Promote, flagPromote))
	b = append(b, m.Incarnation[:]...)
	b = binary.AppendUvarint(b, m.Added)
	b = appendString(appendString(b, m.Peer), m.HTTP)
	b = binary.AppendUvarint(b, uint64(len(m.Others)))
	for _, a := range m.Others {
		b = appendString(appendString(b, a.Name), a.Address)
	}
	return appendString(b, string(m.Replaces))
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func bit(set bool, flag byte) byte {
	if set {
		return flag
	}
	return 0
}

// Decode reads a record from b, which must hold exactly one. It keeps nothing of b.
// What it takes of memory is bounded by the length of b, which is at most MaxBytes.
//
// Errors: an *UnknownError for what a newer build wrote, else a sentence that says why
// these bytes are no record. Bytes that Encode would not have written are none.
func Decode(b []byte) (*Record, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("members: a record of %d bytes; the limit is %d", len(b), MaxBytes)
	}
	d := &decoder{rest: b}
	if version := d.byte(); d.err == nil && version != encodingVersion {
		return nil, &UnknownError{What: "version of a record", Number: uint64(version)}
	}
	r := d.record()
	if d.err == nil && len(d.rest) > 0 {
		d.err = fmt.Errorf("%d bytes are left over", len(d.rest))
	}
	if d.err != nil {
		return nil, fmt.Errorf("members: this is no record: %w", d.err)
	}
	if err := r.Valid(); err != nil {
		return nil, err
	}
	if !bytes.Equal(r.encode(), b) {
		return nil, errors.New("members: this is no record: the same record is written otherwise")
	}
	return r, nil
}

// decoder reads fields off the front of a record. After an error it returns zeros.
type decoder struct {
	rest []byte
	err  error
}

var errEndsEarly = errors.New("it ends early")

func (d *decoder) record() *Record {
	r := &Record{UID: UID(d.sixteen()), Generation: d.number(), Level: uint32(d.below(1 << 32))}
	s := &r.Settings
	s.Wanted = int(d.below(1 << 16))
	flags := d.flags("setting", settingsFlags)
	s.Hold, s.Promotion = flags&flagHold != 0, flags&flagPromotion != 0
	s.Autopilot, s.PeerTLS = flags&flagAutopilot != 0, flags&flagPeerTLS != 0
	s.PromoteAfter, s.ReplaceAfter, s.DeadAfter = uint32(d.below(1<<32)), uint32(d.below(1<<32)), uint32(d.below(1<<32))
	s.JoinBy = JoinBy(d.byte())
	for range d.count(MaxMembers, 24) {
		r.Members = append(r.Members, d.member())
	}
	for range d.count(MaxRemoved, 20) {
		r.Removed = append(r.Removed, Removed{ID: ID(d.string()), Incarnation: Incarnation(d.sixteen()), Added: d.number(), Index: d.number()})
	}
	for range d.count(MaxChanges, 3) {
		r.Changes = append(r.Changes, Change{ID: d.string(), Index: d.number()})
	}
	for range d.count(MaxJoinTokens, 38) {
		t := JoinToken{ID: d.string()}
		copy(t.Hash[:], d.bytes(uint64(len(t.Hash))))
		t.Role, t.For = Role(d.byte()), ID(d.string())
		t.Uses, t.Expiry = uint32(d.below(1<<32)), d.number()
		r.Tokens = append(r.Tokens, t)
	}
	return r
}

func (d *decoder) member() Member {
	m := Member{ID: ID(d.string()), Role: Role(d.byte())}
	flags := d.flags("property of a member", memberFlags)
	m.WasVoter, m.Promote = flags&flagWasVoter != 0, flags&flagPromote != 0
	m.Incarnation, m.Added = Incarnation(d.sixteen()), d.number()
	m.Peer, m.HTTP = d.string(), d.string()
	for range d.count(MaxAddresses, 2) {
		m.Others = append(m.Others, Address{Name: d.string(), Address: d.string()})
	}
	m.Replaces = ID(d.string())
	return m
}

// flags reads a byte of flags, and refuses those that are not known.
func (d *decoder) flags(what string, known byte) byte {
	flags := d.byte()
	if unknown := flags &^ known; unknown != 0 && d.err == nil {
		d.err = &UnknownError{What: what, Number: uint64(unknown)}
	}
	return flags
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// below reads a number that is below the limit.
func (d *decoder) below(limit uint64) uint64 {
	v := d.number()
	if v >= limit && d.err == nil {
		d.err = fmt.Errorf("the number %d stands where there are at most %d", v, limit-1)
	}
	if d.err != nil {
		return 0
	}
	return v
}

// count reads the length of a list of at most most elements, each of which takes least
// bytes or more. It announces no more than can still follow.
func (d *decoder) count(most, least uint64) uint64 {
	n := d.below(most + 1)
	if n*least > uint64(len(d.rest)) {
		d.fail()
		return 0
	}
	return n
}

func (d *decoder) byte() byte {
	if b := d.bytes(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (d *decoder) sixteen() (v [16]byte) {
	copy(v[:], d.bytes(16))
	return v
}

func (d *decoder) string() string { return string(d.bytes(d.number())) }

// bytes takes the next n bytes.
func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.fail()
		return nil
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken
}

// fail notes that the bytes end early. Nothing is read any more.
func (d *decoder) fail() {
	if d.err == nil {
		d.err = errEndsEarly
	}
	d.rest = nil
}

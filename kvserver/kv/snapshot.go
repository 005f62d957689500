package kv

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrBadSnapshot is wrapped by every error of Restore that is not the reader's.
var ErrBadSnapshot = errors.New("kv: not a snapshot this version understands")

// ErrCorrupt is wrapped by the error of WriteTo when the content of the store
// differs from the result of its commands: memory was damaged. The server must
// stop and start again from its disk.
var ErrCorrupt = errors.New("kv: the content of the store does not have the digest of its changes")

// snapshotMagic begins every snapshot; a byte with the version of the payload
// follows.
const (
	snapshotMagic   = "raftkv-kv"
	snapshotVersion = 3
	// historyVersion is the version from LevelHistory on.
	historyVersion = 4
)

// maxSectionName bounds the length of a section's name.
const maxSectionName = 32

// section is a part of the payload that is written and read by itself.
type section struct {
	name  string
	write func(e *snapshotWriter, v, content *View)
	read  func(d *snapshotReader, s *Store)
}

// payloads are the versions that are read, the newest last. Which of them is written
// follows from the level. A new version adds a row. When the version before the last
// is dropped, no server of a release that wrote it can be upgraded any more.
var payloads = []struct {
	version  byte
	sections []section // in this order
}{
	{snapshotVersion, []section{
		{"state", writeNumbers, (*snapshotReader).numbers},
		{"items", writeItems, (*snapshotReader).items},
		{"sessions", writeSessions, (*snapshotReader).sessions},
		{"lanes", writeLanes, (*snapshotReader).lanes},
		{"records", writeRecords, (*snapshotReader).records},
	}},
	{historyVersion, []section{
		{"state", writeState, (*snapshotReader).state},
		{"items", writeCreatedItems, (*snapshotReader).createdItems},
		{"sessions", writeOwnedSessions, (*snapshotReader).ownedSessions},
		{"lanes", writeLanes, (*snapshotReader).lanes},
		{"records", writeRecords, (*snapshotReader).ownedRecords},
		{"ties", writeTies, (*snapshotReader).ties},
		{"leases", writeLeases, (*snapshotReader).leases},
		{"locks", writeLocks, (*snapshotReader).locks},
		{"answers", writeAnswers, (*snapshotReader).answers},
		{"history", writeHistory, (*snapshotReader).history},
		{"auth", writeAuth, (*snapshotReader).auth},
	}},
}

// payload returns the version in which the state is written, and its sections.
func (v *View) payload() (version byte, sections []section) {
	n := 0
	if v.level >= LevelHistory {
		n = 1
	}
	return payloads[n].version, payloads[n].sections
}

// WriteTo writes the whole state: items, revision, log time, applied index,
// sessions with their lanes, idempotency records; and its digest, which it makes
// anew from the content it writes. All numbers but the digest are uvarints:
//
//	magic | version u8 = 3 or 4 | section … | 0 | digest u64
//	section: length of the name, name, length of the content, content
//
//	state:    applied, revision, log time, origin and time of the last stamp
//	items:    key length, key, value length, value, revision, version …
//	sessions: id, last used …
//	lanes:    session, number, status, flags, seq, revision, version, length, shard, index …
//	records:  ID 16 bytes, fingerprint 16 bytes, time, status, flags, revision, version, length,
//	          identity, shard, index …
//
// From LevelHistory on the version is 4, and there is more at the end of the state and
// of every item, and there are sections behind the others. Sessions and records name the
// identity that they belong to.
//
//	state:    … level, first revision that is kept + 1, lease time, limit in bytes
//	items:    … created
//	sessions: … identity
//	ties:     key length, key, lease, deadline …
//	leases:   next id that is given; id, TTL, deadline, identity, note length, note …
//	locks:    name length, name, limit, number of holders, token, lease, delay, value length, value …,
//	          number of waiters, since, lease, delay, value length, value …, number of delays, until …
//	answers:  session, lane or, if session is zero, ID 16 bytes, identity; length, answer …
//	history:  operation, revision, key length, key, version before; unless that is zero:
//	          revision, created, value length, value, lease, all before …; of an event of a
//	          lock operation, revision, name length, name, token, lease, values before and behind
//	auth:     auth.Table.Image
//
// Identity, shard and index are zero. They are reserved for a later version,
// which may remember more of a call.
//
// Equal states give equal bytes. On a frozen view WriteTo may run while the store
// is used. If the content does not have the digest that the store has kept, the
// error wraps ErrCorrupt, and the end is missing. Otherwise the error is the
// writer's.
func (v *View) WriteTo(w io.Writer) (int64, error) {
	e := &snapshotWriter{to: bufio.NewWriterSize(w, snapshotBuffer)}
	e.text(snapshotMagic)
	version, sections := v.payload()
	e.raw([]byte{version})
	content := *v
	content.sum, content.leases.Sum, content.locks.Sum = 0, 0, 0
	for _, part := range sections {
		// The content is traversed twice, because its length stands before it.
		var counted snapshotWriter
		uncounted := View{}
		part.write(&counted, v, &uncounted)
		e.numbers(uint64(len(part.name)))
		e.text(part.name)
		e.numbers(uint64(counted.written))
		begun := e.written
		part.write(e, v, &content)
		assert(e.err != nil || e.written-begun == counted.written,
			"kv: the section %s has %d bytes where %d were counted", part.name, e.written-begun, counted.written)
	}
	e.numbers(0)
	if e.err == nil && content.Digest() != v.Digest() {
		e.err = fmt.Errorf("%w: %s and %s at index %d", ErrCorrupt, content.Digest(), v.Digest(), v.applied)
	}
	e.raw(binary.LittleEndian.AppendUint64(nil, uint64(v.Digest())))
	if e.err == nil {
		e.err = e.to.Flush()
	}
	return e.written, e.err
}

// Restore reads a store that WriteTo has written, which must be all that from
// holds: a reader that checks its end is read to that end. Nothing is allocated
// beyond the bytes that have been read, whatever lengths are announced. The error
// wraps ErrBadSnapshot, or is the reader's. It also wraps an *UnknownError if a
// later version may know something that this one does not.
func Restore(from io.Reader) (*Store, error) { return RestoreWith(from, inTurn) }

// RestoreWith is Restore with jobs that each may run at the same time: copying and
// summing keys and values.
func RestoreWith(from io.Reader, each Each) (*Store, error) { return restoreInto(New(), from, each) }

// restoreInto reads into an empty store.
func restoreInto(s *Store, from io.Reader, each Each) (*Store, error) {
	d := &snapshotReader{from: bufio.NewReaderSize(from, itemsWindow), each: each, left: unlimited}
	magic := d.raw(len(snapshotMagic))
	version := d.raw(1)
	switch {
	case d.err != nil:
		return nil, d.err
	case string(magic) != snapshotMagic:
		return nil, fmt.Errorf("%w: it begins with %q", ErrBadSnapshot, magic)
	}
	known := false
	for _, payload := range payloads {
		if payload.version == version[0] {
			known = true
			d.payload(s, payload.sections)
		}
	}
	oldest, newest := payloads[0].version, payloads[len(payloads)-1].version
	switch {
	case known:
	case version[0] < oldest:
		d.bad("its payload has version %d, and this raftkv reads versions %d to %d: no release wrote an older one", version[0], oldest, newest)
	default:
		d.unknown(&UnknownError{What: "version of a snapshot's payload", Number: uint64(version[0])})
	}
	d.end()
	if d.err != nil {
		return nil, d.err
	}
	return s, nil
}

// payload reads the sections, the mark behind the last and the digest.
func (d *snapshotReader) payload(s *Store, sections []section) {
	for _, part := range sections {
		if name := d.sectionName(); d.err == nil && name != part.name {
			d.misplaced(name, sections, fmt.Sprintf("the section %q", part.name))
		}
		length := d.number()
		if d.err == nil && length > maxSectionBytes {
			d.bad("the section %q of %d bytes", part.name, length)
		}
		if d.err != nil {
			return
		}
		d.left = int64(length)
		part.read(d, s)
		if d.err == nil && d.left > 0 {
			d.unknown(&UnknownError{What: "further content of the section", Name: part.name})
		}
		d.left = unlimited
	}
	if name := d.sectionName(); d.err == nil && name != "" {
		d.misplaced(name, sections, "the end of the sections")
	}
	digest := d.raw(8)
	if d.err == nil && Digest(binary.LittleEndian.Uint64(digest)) != s.Digest() {
		d.bad("its content has the digest %s, not the one at its end", s.Digest())
	}
}

// sectionName reads the name of a section, "" behind the last.
func (d *snapshotReader) sectionName() string {
	return string(d.bytes("section's name", 0, maxSectionName))
}

// misplaced records a section that stands where another thing belongs.
func (d *snapshotReader) misplaced(name string, sections []section, want string) {
	for _, part := range sections {
		if part.name == name || name == "" {
			d.bad("the section %q stands where %s must stand", name, want)
			return
		}
	}
	d.unknown(&UnknownError{What: "section", Name: name})
}

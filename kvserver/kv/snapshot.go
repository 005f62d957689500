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

// snapshotMagic begins every snapshot; its last byte is the format's version.
const snapshotMagic = "raftkv-kv\x01"

// WriteTo writes the whole state: items, revision, log time, applied index,
// sessions and what their lanes remember. All numbers are uvarints:
//
//	magic | applied | revision | log time
//	items:    count | key length, key, value length, value, revision, version …
//	sessions: count | id, last used …
//	lanes:    count | session, number, status, flags, seq, revision, version, length …
//
// Equal states give equal bytes. On a frozen view it may run beside the store.
func (v *View) WriteTo(w io.Writer) (int64, error) {
	e := &snapshotWriter{to: bufio.NewWriter(w)}
	e.raw([]byte(snapshotMagic))
	e.numbers(v.applied, v.revision, v.logTime, uint64(v.items.Len()))
	v.items.Scan(func(key string, item Item) bool {
		e.numbers(uint64(len(key)))
		e.raw([]byte(key))
		e.numbers(uint64(len(item.Value)))
		e.raw(item.Value)
		e.numbers(item.Revision, item.Version)
		return e.err == nil
	})
	e.numbers(uint64(v.sessions.Len()))
	v.sessions.Scan(func(id uint64, s session) bool {
		e.numbers(id, s.lastUsed)
		return e.err == nil
	})
	e.numbers(uint64(v.lanes.Len()))
	v.lanes.Scan(func(l lane) bool {
		e.numbers(l.session, uint64(l.number), uint64(l.status), flagsOf(l), l.seq, l.revision, l.version, l.length)
		return e.err == nil
	})
	if e.err == nil {
		e.err = e.to.Flush()
	}
	return e.written, e.err
}

// Restore reads a store that WriteTo has written. Nothing is allocated beyond
// what has been read. The error wraps ErrBadSnapshot or is the reader's.
func Restore(from io.Reader) (*Store, error) {
	d := &snapshotReader{from: bufio.NewReader(from)}
	s := New()
	if magic := d.raw(len(snapshotMagic)); d.err == nil && string(magic) != snapshotMagic {
		return nil, fmt.Errorf("%w: it begins with %q", ErrBadSnapshot, magic)
	}
	s.applied, s.revision, s.logTime = d.number(), d.number(), d.number()
	d.items(s)
	d.sessions(s)
	d.lanes(s)
	if d.err != nil {
		return nil, d.err
	}
	return s, nil
}

const (
	laneCreated = 1 << 0
	laneDeleted = 1 << 1
)

func flagsOf(l lane) uint64 {
	flags := uint64(0)
	if l.created {
		flags |= laneCreated
	}
	if l.deleted {
		flags |= laneDeleted
	}
	return flags
}

// snapshotWriter remembers the first error, so that what follows needs no check.
type snapshotWriter struct {
	to      *bufio.Writer
	written int64
	scratch [binary.MaxVarintLen64]byte
	err     error
}

func (e *snapshotWriter) raw(b []byte) {
	if e.err != nil {
		return
	}
	n, err := e.to.Write(b)
	e.written += int64(n)
	e.err = err
}

func (e *snapshotWriter) numbers(numbers ...uint64) {
	for _, n := range numbers {
		e.raw(e.scratch[:binary.PutUvarint(e.scratch[:], n)])
	}
}

// snapshotReader remembers the first error likewise; after it, everything reads
// as zero.
type snapshotReader struct {
	from *bufio.Reader
	err  error
}

func (d *snapshotReader) bad(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrBadSnapshot, fmt.Sprintf(format, args...))
	}
}

func (d *snapshotReader) number() uint64 {
	if d.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(d.from)
	d.failed(err)
	return n
}

// failed takes note of an error of reading. A snapshot that ends early is bad.
func (d *snapshotReader) failed(err error) {
	switch {
	case err == nil:
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		d.bad("it ends early")
	case d.err == nil:
		d.err = err
	}
}

// raw reads n bytes, at most MaxValueBytes.
func (d *snapshotReader) raw(n int) []byte {
	if d.err != nil {
		return nil
	}
	const step = 64 << 10
	b := make([]byte, 0, min(n, step))
	for len(b) < n && d.err == nil {
		start := len(b)
		b = append(b, make([]byte, min(n-start, max(step, start)))...)
		_, err := io.ReadFull(d.from, b[start:])
		d.failed(err)
	}
	return b
}

func (d *snapshotReader) bytes(what string, least, most uint64) []byte {
	n := d.number()
	if d.err == nil && (n < least || n > most) {
		d.bad("a %s of %d bytes", what, n)
	}
	return d.raw(int(n))
}

func (d *snapshotReader) items(s *Store) {
	last := ""
	for n := d.number(); n > 0 && d.err == nil; n-- {
		key := string(d.bytes("key", 1, MaxKeyBytes))
		item := Item{Value: d.bytes("value", 0, MaxValueBytes), Revision: d.number(), Version: d.number()}
		if d.err != nil {
			return
		}
		if key <= last || item.Version == 0 || item.Revision > s.revision {
			d.bad("an item that cannot stand where it stands")
			return
		}
		last = key
		s.items.Set(key, item)
		s.state.bytes += len(key) + len(item.Value)
	}
}

func (d *snapshotReader) sessions(s *Store) {
	for n := d.number(); n > 0 && d.err == nil; n-- {
		id, lastUsed := d.number(), d.number()
		_, taken := s.recency.Get(lastUsed)
		if d.err == nil && (id == 0 || lastUsed < id || lastUsed > s.applied || taken || s.sessions.Len() >= s.rules.sessions) {
			d.bad("session %d cannot have been used last at %d", id, lastUsed)
		}
		if d.err == nil {
			s.sessions.Set(id, session{lastUsed: lastUsed})
			s.recency.Set(lastUsed, id)
		}
	}
	if d.err == nil && s.sessions.Len() != s.recency.Len() {
		d.bad("a session is there twice")
	}
}

func (d *snapshotReader) lanes(s *Store) {
	for n := d.number(); n > 0 && d.err == nil; n-- {
		l := lane{session: d.number()}
		number, status, flags := d.number(), d.number(), d.number()
		l.seq, l.revision, l.version, l.length = d.number(), d.number(), d.number(), d.number()
		_, open := s.sessions.Get(l.session)
		if d.err == nil && (!open || number >= uint64(s.rules.lanes) || status > 0xff || flags > laneCreated|laneDeleted || s.lanes.Len() >= s.rules.lanesTotal) {
			d.bad("lane %d of session %d makes no sense", number, l.session)
		}
		l.number, l.status = uint32(number), Status(status)
		l.created, l.deleted = flags&laneCreated != 0, flags&laneDeleted != 0
		if d.err == nil {
			s.lanes.Set(l)
		}
	}
}

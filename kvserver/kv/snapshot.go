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

// ErrCorrupt is wrapped by the error of WriteTo when the content of the store is
// not what its commands have made of it: memory was damaged. The server must
// stop and start again from what is on its disk.
var ErrCorrupt = errors.New("kv: the content of the store does not have the digest of its changes")

// snapshotMagic begins every snapshot; a byte with the format's version follows.
const (
	snapshotMagic   = "raftkv-kv"
	snapshotVersion = 2
)

// WriteTo writes the whole state: items, revision, log time, applied index,
// sessions and what their lanes remember, idempotency records; and its digest,
// which it makes anew from what it writes. All numbers but the digest are
// uvarints:
//
//	magic | version u8 = 2 | applied | revision | log time, origin and time of the last stamp
//	items:    count | key length, key, value length, value, revision, version …
//	sessions: count | id, last used …
//	lanes:    count | session, number, status, flags, seq, revision, version, length …
//	records:  count | ID 16 bytes, fingerprint 16 bytes, time, status, flags, revision, version, length …
//	digest u64
//
// Equal states give equal bytes. On a frozen view it may run beside the store.
// The error wraps ErrCorrupt, and the end is missing, if the content does not
// have the digest that the store has kept; else it is the writer's.
func (v *View) WriteTo(w io.Writer) (int64, error) {
	e := &snapshotWriter{to: bufio.NewWriterSize(w, snapshotBuffer)}
	e.raw([]byte(snapshotMagic))
	e.raw([]byte{snapshotVersion})
	e.numbers(v.applied, v.revision, v.logTime, v.stamped.origin, v.stamped.time, uint64(v.items.Len()))
	content := *v
	content.sum = 0
	v.items.Scan(func(key string, item Item) bool {
		e.numbers(uint64(len(key)))
		e.text(key)
		e.numbers(uint64(len(item.Value)))
		e.raw(item.Value)
		e.numbers(item.Revision, item.Version)
		item.checksum = checksumOf(0, item.Value)
		content.sum += item.hash(keyHash(key))
		return e.err == nil
	})
	e.numbers(uint64(v.sessions.Len()))
	v.sessions.Scan(func(id uint64, s session) bool {
		e.numbers(id, s.lastUsed)
		content.sum += s.hash(id)
		return e.err == nil
	})
	e.numbers(uint64(v.lanes.Len()))
	v.lanes.Scan(func(l lane) bool {
		e.numbers(l.session, uint64(l.number), uint64(l.status), l.flags(), l.seq, l.revision, l.version, l.length)
		content.sum += l.hash()
		return e.err == nil
	})
	e.numbers(uint64(v.records.len()))
	v.records.scan(func(r *record) bool {
		e.raw(r.id[:])
		e.raw(r.fingerprint[:])
		e.numbers(r.time, uint64(r.status), r.flags(), r.revision, r.version, uint64(r.length))
		content.sum += r.hash()
		return e.err == nil
	})
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
// holds: a reader that checks its end is read to that. Nothing is allocated beyond
// what has been read. The error wraps ErrBadSnapshot or is the reader's.
func Restore(from io.Reader) (*Store, error) {
	d := &snapshotReader{from: bufio.NewReaderSize(from, snapshotBuffer)}
	s := New()
	magic := d.raw(len(snapshotMagic))
	version := d.raw(1)
	switch {
	case d.err != nil:
		return nil, d.err
	case string(magic) != snapshotMagic:
		return nil, fmt.Errorf("%w: it begins with %q", ErrBadSnapshot, magic)
	case version[0] != snapshotVersion:
		return nil, fmt.Errorf("%w: it has format version %d, and this program reads version %d", ErrBadSnapshot, version[0], snapshotVersion)
	}
	s.applied, s.revision, s.logTime = d.number(), d.number(), d.number()
	s.stamped = stamp{origin: d.number(), time: d.number()}
	d.items(s)
	d.sessions(s)
	d.lanes(s)
	d.records(s)
	digest := d.raw(8)
	if d.err == nil && Digest(binary.LittleEndian.Uint64(digest)) != s.Digest() {
		d.bad("its content has the digest %s, not the one at its end", s.Digest())
	}
	d.end()
	if d.err != nil {
		return nil, d.err
	}
	return s, nil
}

// snapshotBuffer is how many bytes are read and written at once.
const snapshotBuffer = 64 << 10

// Flags of a lane or a record: what Created and Deleted of its result are.
const (
	flagCreated = 1 << 0
	flagDeleted = 1 << 1
)

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

func (e *snapshotWriter) text(s string) {
	if e.err != nil {
		return
	}
	n, err := e.to.WriteString(s)
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

// end takes note if anything follows.
func (d *snapshotReader) end() {
	if d.err != nil {
		return
	}
	if _, err := d.from.ReadByte(); err == nil {
		d.bad("something follows its end")
	} else if err != io.EOF {
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
	load := packer{tree: s.items}
	defer load.finish()
	for n := d.number(); n > 0 && d.err == nil; n-- {
		key := string(d.bytes("key", 1, MaxKeyBytes))
		item := Item{Value: d.bytes("value", 0, MaxValueBytes), Revision: d.number(), Version: d.number()}
		item.checksum = checksumOf(0, item.Value)
		if d.err != nil {
			return
		}
		if key <= last || item.Version == 0 || item.Revision > s.revision {
			d.bad("an item that cannot stand where it stands")
			return
		}
		last = key
		load.add(key, item)
		s.state.bytes += len(key) + len(item.Value)
		s.sum += item.hash(keyHash(key))
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
			s.setSession(id, session{lastUsed: lastUsed})
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
		l.number = uint32(number)
		_, open := s.sessions.Get(l.session)
		_, twice := s.lanes.Get(l)
		if d.err == nil && (!open || twice || number >= uint64(s.rules.lanes) || status > 0xff || flags > flagCreated|flagDeleted || s.lanes.Len() >= s.rules.lanesTotal) {
			d.bad("lane %d of session %d makes no sense", number, l.session)
		}
		l.status = Status(status)
		l.created, l.deleted = flags&flagCreated != 0, flags&flagDeleted != 0
		if d.err == nil {
			s.setLane(lane{}, false, l)
		}
	}
}

func (d *snapshotReader) records(s *Store) {
	last := uint64(0)
	for n := d.number(); n > 0 && d.err == nil; n-- {
		var r record
		copy(r.id[:], d.raw(len(r.id)))
		copy(r.fingerprint[:], d.raw(len(r.fingerprint)))
		time, status, flags := d.number(), d.number(), d.number()
		revision, version, length := d.number(), d.number(), d.number()
		_, twice := s.recordAt[r.id]
		if d.err == nil && (twice || time < last || time > s.logTime || status > uint64(statusMax) ||
			flags > flagCreated|flagDeleted || length > MaxValueBytes || s.records.len() >= s.rules.records) {
			d.bad("an idempotency record that cannot stand where it stands")
		}
		if d.err != nil {
			return
		}
		last = time
		r.time, r.status, r.created, r.deleted = time, Status(status), flags&flagCreated != 0, flags&flagDeleted != 0
		r.revision, r.version, r.length = revision, version, uint32(length)
		s.remember(r)
	}
}

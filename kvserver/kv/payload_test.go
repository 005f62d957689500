package kv

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// parts are the contents of the sections of a payload, by name.
type parts map[string][]byte

// payloadOf writes a payload of the present version with these contents and the
// digest that belongs to them, as far as they can be read. Further names, in
// order, stand behind the known ones.
func payloadOf(contents parts, further ...string) []byte {
	names := further
	for _, part := range slices.Backward(sectionsNow()) {
		names = slices.Insert(slices.Clone(names), 0, part.name)
	}
	b := append([]byte(snapshotMagic), snapshotVersion)
	for _, name := range names {
		b = appendSection(b, name, contents[name])
	}
	return binary.LittleEndian.AppendUint64(append(b, 0), uint64(digestOf(sectionsNow(), contents)))
}

// payloadWith writes a payload of a version; see payloadOf.
func payloadWith(version byte, sections []section, contents parts) []byte {
	b := append([]byte(snapshotMagic), version)
	for _, part := range sections {
		b = appendSection(b, part.name, contents[part.name])
	}
	return binary.LittleEndian.AppendUint64(append(b, 0), uint64(digestOf(sections, contents)))
}

func appendSection(b []byte, name string, content []byte) []byte {
	b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
	return append(binary.AppendUvarint(b, uint64(len(content))), content...)
}

func sectionsNow() []section { return payloads[0].sections }

// digestOf reads the contents, whatever is wrong with them, and returns the digest
// of what came of it.
func digestOf(sections []section, contents parts) Digest {
	s := New()
	for _, part := range sections {
		content := contents[part.name]
		part.read(&snapshotReader{from: bufio.NewReader(bytes.NewReader(content)), each: inTurn, left: int64(len(content))}, s)
	}
	return s.Digest()
}

// contentsOf takes a payload apart.
func contentsOf(t testing.TB, b []byte) parts {
	t.Helper()
	contents, at := parts{}, len(snapshotMagic)+1
	for {
		length, n := binary.Uvarint(b[at:])
		if at += n; length == 0 {
			break
		}
		name := string(b[at:][:length])
		at += int(length)
		length, n = binary.Uvarint(b[at:])
		at += n
		contents[name] = b[at:][:length]
		at += int(length)
	}
	if len(b)-at != 8 {
		t.Fatalf("%d bytes behind the sections", len(b)-at)
	}
	return contents
}

func written(t testing.TB, s *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if n, err := s.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatalf("%d of %d bytes: %v", n, b.Len(), err)
	}
	return b.Bytes()
}

// Goal: the payload is laid out as the comment of WriteTo and docs/storage.md
// draw it: named sections with their lengths in a fixed order, a zero, the digest;
// and room in lanes and records. Method: take one apart, by hand, and put it
// together again.
func TestThePayloadIsMadeOfNamedSections(t *testing.T) {
	s := New()
	id := openSession(s)
	apply(s, Command{Op: OpPut, Key: []byte("k"), Value: []byte("v"), Session: SessionCall{ID: id, Lane: 3, Seq: 9}, Time: 5, ID: RequestID{Origin: 7, Number: 1}})
	apply(s, Command{Op: OpDelete, Key: []byte("l"), IdempotencyKey: "one"})
	whole := written(t, s)
	contents := contentsOf(t, whole)
	record := recordIDOf("one")
	print := fingerprint(Command{Op: OpDelete, Key: []byte("l"), IdempotencyKey: "one"})
	for name, want := range map[string][]byte{
		"state":    {3, 1, 0, 7, 5},
		"items":    {1, 'k', 1, 'v', 1, 1},
		"sessions": {1, 2},
		"lanes":    {1, 3, 0, flagCreated, 9, 1, 1, 1, 0, 0},
		"records":  slices.Concat(record[:], print[:], []byte{0, 0, 0, 1, 0, 0, 0, 0, 0}),
	} {
		if !bytes.Equal(contents[name], want) {
			t.Errorf("section %s is % x, want % x", name, contents[name], want)
		}
	}
	if len(contents) != 5 || !bytes.Equal(payloadOf(contents), whole) {
		t.Errorf("put together again it is another payload: % x, not % x", payloadOf(contents), whole)
	}
	if whole[len(snapshotMagic)] != 3 {
		t.Errorf("version %d", whole[len(snapshotMagic)])
	}
}

// Goal: what a later version may put into a payload is refused by its number or
// name, and what no version writes is refused as damage; nothing of either is
// skipped. Method: one change each, under the right digest.
func TestWhatAPayloadMayNotHoldIsRefused(t *testing.T) {
	good := written(t, populated(t))
	row := func(name string, change func([]byte) []byte) []byte {
		contents := contentsOf(t, good)
		contents[name] = change(slices.Clone(contents[name]))
		return payloadOf(contents)
	}
	lane := func(numbers ...uint64) []byte {
		return row("lanes", func([]byte) (b []byte) {
			for _, n := range append([]uint64{51, 0}, numbers...) {
				b = binary.AppendUvarint(b, n)
			}
			return b
		})
	}
	record := func(numbers ...uint64) []byte {
		return row("records", func(b []byte) []byte {
			b = b[:32]
			for _, n := range numbers {
				b = binary.AppendUvarint(b, n)
			}
			return b
		})
	}
	version := func(v byte) []byte {
		b := bytes.Clone(good)
		b[len(snapshotMagic)] = v
		return b
	}
	assemble := func(names ...string) []byte {
		contents := contentsOf(t, good)
		b := append([]byte(snapshotMagic), snapshotVersion)
		for _, name := range names {
			b = appendSection(b, name, contents[name])
		}
		return binary.LittleEndian.AppendUint64(append(b, 0), uint64(digestOf(sectionsNow(), contents)))
	}
	later := func(what string, number uint64, name string) *UnknownError { return &UnknownError{what, number, name} }
	for name, c := range map[string]struct {
		payload []byte
		unknown *UnknownError // nil: damage, or fine
		says    string        // "": fine
	}{
		"as it is":                   {payloadOf(contentsOf(t, good)), nil, ""},
		"put together in order":      {assemble("state", "items", "sessions", "lanes", "records"), nil, ""},
		"version 2":                  {version(2), nil, "version 2, and this raftkv reads"},
		"version 0":                  {version(0), nil, "version 0, and this raftkv reads"},
		"version 5":                  {version(5), later("version of a snapshot's payload", 5, ""), "payload 5; a newer"},
		"version 255":                {version(255), later("version of a snapshot's payload", 255, ""), "payload 255"},
		"a section at the end":       {payloadOf(contentsOf(t, good), "ties"), later("section", 0, "ties"), `the section "ties"; a newer`},
		"a section in the middle":    {assemble("state", "items", "shards", "sessions", "lanes", "records"), later("section", 0, "shards"), `"shards"`},
		"a section in another's row": {assemble("state", "items", "sessions", "lanes", "auth"), later("section", 0, "auth"), `"auth"`},
		"another order":              {assemble("items", "state", "sessions", "lanes", "records"), nil, `the section "items" stands where the section "state"`},
		"a section that lacks":       {assemble("state", "items", "sessions", "lanes"), nil, `the section "" stands where the section "records"`},
		"a section twice":            {assemble("state", "items", "sessions", "lanes", "records", "records"), nil, `"records" stands where the end`},
		"a name without an end":      {assemble("state", strings.Repeat("x", maxSectionName+1)), nil, "name of 33 bytes"},
		"a section of 2^50 bytes":    {binary.AppendUvarint(append(append([]byte(snapshotMagic), snapshotVersion, 5), "state"...), maxSectionBytes+1), nil, `section "state" of 1125899906842625 bytes`},
		"more in state":              {row("state", func(b []byte) []byte { return append(b, 4) }), later("further content of the section", 0, "state"), `section "state"`},
		"less in state":              {row("state", func(b []byte) []byte { return b[:len(b)-2] }), nil, "beyond the end of its section"},
		"less in items":              {row("items", func(b []byte) []byte { return b[:len(b)-1] }), nil, "beyond the end of its section"},
		"status of a lane":           {lane(12, 0, 1, 1, 1, 1, 0, 0), later("status of a lane", 12, ""), "lane 12;"},
		"flags of a lane":            {lane(0, 4, 1, 1, 1, 1, 0, 0), later("flags of a lane", 4, ""), "lane 4;"},
		"shard of a lane":            {lane(0, 0, 1, 1, 1, 1, 7, 0), later("shard of a lane", 7, ""), "lane 7;"},
		"index of a lane":            {lane(0, 0, 1, 1, 1, 1, 0, 8), later("index of a lane", 8, ""), "lane 8;"},
		"a lane as it should be":     {lane(11, 3, 1, 1, 1, 1, 0, 0), nil, ""},
		"padded number":              {row("lanes", func([]byte) []byte { return []byte{51, 0x80, 0, 0, 0, 1, 1, 1, 1, 0, 0} }), nil, "needless"},
		"number of 65 bits":          {row("sessions", func([]byte) []byte { return append(bytes.Repeat([]byte{0xff}, 9), 2, 1) }), nil, "64 bits"},
		"status of a record":         {record(0, 12, 0, 1, 1, 1, 0, 0, 0), later("status of a record", 12, ""), "record 12;"},
		"flags of a record":          {record(0, 0, 8, 1, 1, 1, 0, 0, 0), later("flags of a record", 8, ""), "record 8;"},
		"identity of a record":       {record(0, 0, 0, 1, 1, 1, 5, 0, 0), later("identity of a record", 5, ""), "record 5;"},
		"shard of a record":          {record(0, 0, 0, 1, 1, 1, 0, 6, 0), later("shard of a record", 6, ""), "record 6;"},
		"index of a record":          {record(0, 0, 0, 1, 1, 1, 0, 0, 7), later("index of a record", 7, ""), "record 7;"},
		"a record as it should be":   {record(0, 0, 0, 1, 1, 1, 0, 0, 0), nil, ""},
	} {
		s, err := Restore(bytes.NewReader(c.payload))
		unknown, isUnknown := errors.AsType[*UnknownError](err)
		switch {
		case c.says == "":
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		case s != nil, !errors.Is(err, ErrBadSnapshot), !strings.Contains(err.Error(), c.says):
			t.Errorf("%s: %v", name, err)
		case isUnknown != (c.unknown != nil), isUnknown && *unknown != *c.unknown:
			t.Errorf("%s: %v is said to be of a later version: %t", name, err, isUnknown)
		}
	}
}

// endless gives a beginning and then a byte again and again, up to a limit.
type endless struct {
	beginning []byte
	rest      int
}

func (e *endless) Read(b []byte) (int, error) {
	if len(e.beginning) > 0 {
		n := copy(b, e.beginning)
		e.beginning = e.beginning[n:]
		return n, nil
	}
	n := min(len(b), e.rest)
	if e.rest -= n; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Goal: memory follows what arrives and not what is announced. Method: payloads
// that announce sections of 10 GiB and more, and values at the limit and beyond,
// and end soon; each is refused and takes little.
func TestAnnouncedLengthsTakeNoMemory(t *testing.T) {
	begin := append([]byte(snapshotMagic), snapshotVersion)
	state := []byte{9, 9, 0, 0, 0}
	announce := func(name string, length uint64, content ...byte) []byte {
		b := bytes.Clone(begin)
		for _, part := range sectionsNow() {
			if part.name == name {
				break
			}
			b = appendSection(b, part.name, parts{"state": state}[part.name])
		}
		b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
		return append(binary.AppendUvarint(b, length), content...)
	}
	value := func(length uint64) []byte { return binary.AppendUvarint([]byte{1, 'k'}, length) }
	for name, beginning := range map[string][]byte{
		"items of 10 GiB":         announce("items", 10<<30),
		"sessions of 10 GiB":      announce("sessions", 10<<30),
		"lanes of 10 GiB":         announce("lanes", 10<<30, 51),
		"records of 10 GiB":       announce("records", 10<<30),
		"a section of 2^64-1":     announce("items", 1<<64-1),
		"a name of 2^63":          binary.AppendUvarint(bytes.Clone(begin), 1<<63),
		"a value of 8 MiB":        announce("items", 10<<30, value(8<<20)...),
		"a value of 8 MiB + 1":    announce("items", 10<<30, value(8<<20+1)...),
		"a value of 2^63":         announce("items", 10<<30, value(1<<63)...),
		"a value beyond its part": announce("items", 1000, value(8<<20)...),
	} {
		const arrives = 100 << 10
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Restore(&endless{beginning, arrives})
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrBadSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 8*arrives {
			t.Errorf("%s: %d bytes of memory for %d bytes that arrived", name, took, arrives)
		}
	}
}

// Goal: a reader's own error is not called damage, wherever it comes. Method: an
// error at every byte.
func TestErrorsOfTheReaderComeThrough(t *testing.T) {
	whole := written(t, populated(t))
	broken := errors.New("the cable is out")
	for n := 0; n < len(whole); n += 1 + n/50 {
		_, err := Restore(io.MultiReader(bytes.NewReader(whole[:n]), errReader{broken}))
		if !errors.Is(err, broken) || errors.Is(err, ErrBadSnapshot) {
			t.Fatalf("behind %d bytes: %v", n, err)
		}
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// small is a store with something in every section.
func small() *Store {
	s := New()
	id := openSession(s)
	put(s, "k", "value")
	apply(s, Command{Op: OpPut, Key: []byte("l"), Value: []byte("v"), Session: SessionCall{ID: id, Lane: 3, Seq: 9}, Time: 5, ID: RequestID{Origin: 7, Number: 1}})
	apply(s, Command{Op: OpDelete, Key: []byte("l"), IdempotencyKey: "one"})
	apply(s, Command{Op: OpDelete, Key: []byte("l"), IdempotencyKey: "two"})
	openSession(s)
	return s
}

// FuzzRestore: arbitrary bytes are refused or give a store that can be written
// and read again, and take memory in proportion.
func FuzzRestore(f *testing.F) {
	whole := written(f, small())
	f.Add(whole)
	f.Add([]byte(snapshotMagic))
	f.Add(whole[:len(whole)-9])
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		Restore(bytes.NewReader(b))
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > uint64(100*len(b)+512<<10) {
			t.Fatalf("%d bytes of memory for %d bytes", took, len(b))
		}
		checkRestore(t, b)
	})
}

// FuzzSections: arbitrary contents of the sections, under the right lengths and
// the right digest. What is accepted has exactly the bytes that it was read from.
func FuzzSections(f *testing.F) {
	add := func(contents parts) {
		f.Add(contents["state"], contents["items"], contents["sessions"], contents["lanes"], contents["records"])
	}
	contents := contentsOf(f, written(f, small()))
	add(contents)
	add(parts{"state": {0, 0, 0, 0, 0}})
	for name := range contents {
		cut := contentsOf(f, written(f, small()))
		cut[name] = cut[name][:len(cut[name])/2]
		add(cut)
	}
	f.Fuzz(func(t *testing.T, state, items, sessions, lanes, records []byte) {
		b := payloadOf(parts{"state": state, "items": items, "sessions": sessions, "lanes": lanes, "records": records})
		s, err := Restore(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, ErrBadSnapshot) {
				t.Fatal(err)
			}
			return
		}
		if again := written(t, s); !bytes.Equal(again, b) {
			t.Fatalf("%x was read and written as %x", b, again)
		}
		checkRestore(t, b)
	})
}

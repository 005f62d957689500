package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"testing"

	"raftkv/raft/core"
)

// reseal gives the damaged or invented records of a segment valid checksums, from
// the front as far as their lengths lead. Without it a fuzzer never gets past the
// first checksum.
func reseal(b []byte) []byte {
	b = slices.Clone(b)
	if len(b) < segmentHeaderBytes {
		return b
	}
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint32(b[12:], checksum(b[:12]))
	segment := checksum(b[20:segmentHeaderBytes])
	binary.LittleEndian.PutUint32(b[16:], segment)
	last, number := segment, binary.LittleEndian.Uint64(b[40:])
	for at := int64(segmentHeaderBytes); at+recordHeaderBytes <= int64(len(b)); {
		header := b[at : at+recordHeaderBytes]
		length := binary.LittleEndian.Uint64(header[16:])
		if header[12] == 0 || length > uint64(int64(len(b))-at-recordHeaderBytes) {
			break
		}
		if Type(header[12]).isBatch() {
			number++
		}
		payload := b[at+recordHeaderBytes : min(int64(len(b)), at+recordHeaderBytes+padded(int64(length)))]
		clear(payload[length:])
		resealEntries(Type(header[12]), payload[:length])
		h := recordHeader{previous: last, payload: checksum(payload), kind: Type(header[12]), length: length, number: number}
		h.encode(header, segment, at)
		if h.kind.isBatch() {
			last = h.checksum
		}
		at = h.end(at)
	}
	return b
}

// resealEntries gives the entries of a batch valid checksums, as far as their
// lengths lead.
func resealEntries(kind Type, payload []byte) {
	d, err := decodePayload(kind, payload)
	if err != nil {
		return
	}
	b, index := d.entries, d.from
	for range d.count {
		term, n := binary.Uvarint(b)
		if n <= 0 || len(b) < n+5 {
			return
		}
		length, m := binary.Uvarint(b[n+5:])
		if m <= 0 || length > uint64(len(b)-n-5-m) {
			return
		}
		data := b[n+5+m:][:length]
		e := core.NewEntry(index, term, core.Kind(b[n]), data)
		binary.LittleEndian.PutUint32(b[n+1:], e.Sum)
		b, index = b[n+5+m+int(length):], index+1
	}
}

// unpack puts back the zeros that fill up a segment's header. Inputs are kept
// without them: a fuzzer wastes its time on what never matters.
func unpack(b []byte) []byte {
	if len(b) < headerFieldsTo {
		return b
	}
	segment := make([]byte, segmentHeaderBytes, segmentHeaderBytes+len(b))
	copy(segment, b[:headerFieldsTo])
	return append(segment, b[headerFieldsTo:]...)
}

// FuzzReader feeds arbitrary bytes as the only segment of a log to the reader,
// with a snapshot in the same directory that the segment may or may not know of.
// It must never panic, must take no more memory than 4 times the input and 64
// KiB, and whatever Open would accept must be the same when read again.
func FuzzReader(f *testing.F) {
	disk, _ := build(f, 31, 5, true)
	ends, _ := batchEnds(f, disk, 1)
	whole := content(f, disk, segmentPath(1))[:ends[4]+recordHeaderBytes]
	add := func(b []byte) {
		if len(b) >= segmentHeaderBytes {
			b = append(slices.Clone(b[:headerFieldsTo]), b[segmentHeaderBytes:]...)
		}
		f.Add(b, false)
		f.Add(b, true)
	}
	add(whole)
	add(whole[:segmentHeaderBytes])
	add(whole[:ends[2]])
	add(whole[:ends[3]-9])
	add([]byte{})
	add(make([]byte, segmentHeaderBytes+100))
	for _, at := range []int64{8, 32, 64, segmentHeaderBytes + 12, segmentHeaderBytes + 16, segmentHeaderBytes + 23, segmentHeaderBytes + recordHeaderBytes + 16, ends[0] + 12, ends[1] + recordHeaderBytes} {
		b := slices.Clone(whole)
		b[at] = 0xff
		add(b)
	}
	// Segments with snapshots that were taken and installed.
	s := newSpecimen(f)
	for _, name := range s.segments {
		add(s.files[name])
	}
	p := position{3, 1}
	beside := packed(f, "c1", p)
	for _, b := range []*core.Write{
		{Term: 1, Snapshot: &core.Snapshot{Index: 3, Term: 1}, From: 1, Entries: []core.Entry{core.NewEntry(1, 1, core.KindCommand, nil), core.NewEntry(2, 1, core.KindCommand, nil), core.NewEntry(3, 1, core.KindCommand, nil)}},
		{Term: 2, Snapshot: &core.Snapshot{Index: 3, Term: 1}, From: 4, Entries: []core.Entry{core.NewEntry(4, 2, core.KindCommand, nil)}},
	} {
		r := snapshotRecord{position: p, keep: 1, replaces: b.From == 4}
		payload := appendBatch(appendSnapshotRecord(nil, r), b)
		segment := append(slices.Clone(whole[:segmentHeaderBytes]), make([]byte, recordHeaderBytes)...)
		segment[segmentHeaderBytes+12] = byte(TypeSnapshot)
		binary.LittleEndian.PutUint64(segment[segmentHeaderBytes+16:], uint64(len(payload)))
		add(append(segment, append(payload, make([]byte, MinSegmentBytes)...)...))
	}
	// Entries as small as they get, the worst ratio of memory to input, in a
	// segment that claims to be huge.
	w := &core.Write{Term: 1, From: 1}
	for i := range uint64(1000) {
		w.Entries = append(w.Entries, core.NewEntry(i+1, 1, core.KindCommand, nil))
	}
	payload := appendBatch(nil, w)
	tiny := slices.Clone(whole[:segmentHeaderBytes])
	binary.LittleEndian.PutUint64(tiny[32:], 1<<40)
	tiny = append(tiny, make([]byte, recordHeaderBytes)...)
	tiny[segmentHeaderBytes+12] = byte(TypeBatch)
	binary.LittleEndian.PutUint64(tiny[segmentHeaderBytes+16:], uint64(len(payload)))
	add(append(tiny, payload...))

	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		b = unpack(b)
		if sealed {
			b = reseal(b)
		}
		fsys := frozen{files: map[string][]byte{segmentName(1): b, snapshotName(p): beside}}
		if generation := binary.LittleEndian.Uint64(append(slices.Clone(b), make([]byte, segmentHeaderBytes)...)[24:]); generation > 1 {
			delete(fsys.files, segmentName(1))
			fsys.files[segmentName(generation)] = b
		}
		var batches int
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := Inspect(fsys, testDir, func(r Record) error {
			if r.Type.isBatch() {
				batches++
			}
			return nil
		})
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(4*len(b)+64<<10) {
			t.Fatalf("%d bytes of memory for %d bytes of input", used, len(b))
		}
		var damage *CorruptionError
		var version *VersionError
		var unknown *UnknownError
		if err != nil && !errors.As(err, &damage) && !errors.As(err, &version) && !errors.As(err, &unknown) {
			t.Fatalf("Inspect: %v", err)
		}
		found, state, err := readOnly(fsys)
		if err != nil {
			return
		}
		if state.Snapshot.Index > 0 && positionOf(state.Snapshot) != p {
			t.Fatalf("the log begins with a snapshot at %+v", state.Snapshot)
		}
		for i, e := range state.Entries {
			if e.Index != state.Snapshot.Index+1+uint64(i) {
				t.Fatalf("entry %d stands %d places behind the snapshot at index %d", e.Index, i+1, state.Snapshot.Index)
			}
		}
		if found.at.number < uint64(batches) {
			t.Fatalf("Inspect showed %d batches, Open found number %d", batches, found.at.number)
		}
		again, second, err := readOnly(fsys)
		if err != nil || again.at != found.at || len(second.Entries) != len(state.Entries) {
			t.Fatalf("the second reading differs: %v", err)
		}
	})
}

// FuzzRecord checks that what was encoded is decoded the same, that the place,
// the segment and every byte of a record's header are under its checksum, and
// that arbitrary payloads are decoded without a panic.
func FuzzRecord(f *testing.F) {
	f.Add(uint64(3), "n1", uint64(1), []byte("data"), uint8(2), uint32(7), int64(4096))
	f.Add(uint64(1)<<63, "", uint64(0), []byte{}, uint8(0), uint32(0), int64(0))
	f.Fuzz(func(t *testing.T, term uint64, vote string, from uint64, data []byte, count uint8, segment uint32, offset int64) {
		for _, kind := range []Type{TypeBatch, TypeSnapshot} {
			if d, err := decodePayload(kind, data); err == nil {
				d.decodeEntries()
			}
		}
		w := &core.Write{Term: term, VotedFor: core.ID(vote[:min(len(vote), core.MaxIDBytes)]), From: from, Commit: from / 2}
		if from > 0 && from < 1<<63 {
			for i := range uint64(count) {
				w.Entries = append(w.Entries, core.NewEntry(from+i, term, core.KindCommand, data[:min(len(data), int(i))]))
			}
		}
		payload := appendBatch(nil, w)
		d, err := decodeBatch(payload)
		if err != nil {
			t.Fatalf("a batch that was just encoded: %v", err)
		}
		entries, err := d.decodeEntries()
		if err != nil || d.term != w.Term || d.votedFor != w.VotedFor || d.from != w.From || d.commit != w.Commit || len(entries) != len(w.Entries) {
			t.Fatalf("%+v became %+v, %v", w, d, err)
		}
		if again := appendBatch(nil, &core.Write{Term: d.term, VotedFor: d.votedFor, From: d.from, Commit: d.commit, Entries: entries}); !bytes.Equal(again, payload) {
			t.Fatal("encoding what was decoded gives other bytes")
		}

		h := recordHeader{previous: uint32(term), payload: checksum(payload), kind: TypeBatch, length: uint64(len(payload)), number: from}
		b := make([]byte, recordHeaderBytes)
		h.encode(b, segment, offset)
		got, ok := decodeRecordHeader(b, segment, offset)
		if !ok || got != h {
			t.Fatalf("header %+v became %+v, %v", h, got, ok)
		}
		if _, ok := decodeRecordHeader(b, segment, offset+8); ok {
			t.Fatal("the header is valid at another place")
		}
		if _, ok := decodeRecordHeader(b, segment+1, offset); ok {
			t.Fatal("the header is valid in another segment")
		}
		at := int(count) % (recordHeaderBytes * 8)
		b[at/8] ^= 1 << (at % 8)
		if _, ok := decodeRecordHeader(b, segment, offset); ok {
			t.Fatalf("bit %d of the header is under no checksum", at)
		}
	})
}

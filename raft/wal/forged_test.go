package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// forge puts a record behind the last batch of segment 1, with valid checksums
// and, unless h says otherwise, with the number that belongs there.
func forge(t testing.TB, disk *vfs.Crashable, h recordHeader, payload []byte) {
	t.Helper()
	image, _, err := readOnly(disk)
	must(t, err)
	b := content(t, disk, image.path)
	at := image.at.offset
	payload = append(slices.Clone(payload), zeros[:padded(int64(len(payload)))-int64(len(payload))]...)
	h.previous, h.payload = image.at.last, checksum(payload)
	if h.number == 0 {
		h.number = image.at.number + 1
	}
	clear(b[at:])
	h.encode(b[at:], image.header.checksum, at)
	copy(b[at+recordHeaderBytes:], payload)
	replace(t, disk, image.path, b)
}

// Goal: no declared length or count is believed beyond what the file can hold:
// the answer is an error and memory stays within a small bound. Method: records
// with valid checksums and huge numbers in every field that counts something.
func TestHugeLengthsTakeNoMemory(t *testing.T) {
	batch := func(from uint64, count, vote uint32, rest string) []byte {
		b := appendBatch(nil, &core.Write{Term: math.MaxUint32, From: from})
		binary.LittleEndian.PutUint32(b[24:], count)
		b[28] = byte(min(vote, math.MaxUint8))
		return append(b, rest...)
	}
	type forged struct {
		length  uint64
		payload []byte
	}
	cases := map[string]forged{}
	for _, length := range []uint64{1 << 31, 1<<32 - 1, 1 << 56, 1<<63 - 1, 1 << 63, math.MaxUint64, math.MaxUint64 - 31, MinSegmentBytes} {
		cases[fmt.Sprintf("length %#x", length)] = forged{length, nil}
	}
	for name, payload := range map[string][]byte{
		"count":        batch(1, math.MaxUint32, 0, "\x01\x00\x00"),
		"vote":         batch(1, 1, math.MaxUint32, "\x01\x00\x00"),
		"long vote":    batch(1, 1, 65, strings.Repeat("x", 80)),
		"entry length": batch(1, 1, 0, "\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		"index":        batch(math.MaxUint64, 1, 0, "\x01\x00\x00"),
		"no content":   nil,
		"no index":     batch(0, 1, 0, "\x01\x00\x00"),
	} {
		cases[name] = forged{uint64(len(payload)), payload}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			disk, _ := build(t, 17, 2, true)
			forge(t, disk, recordHeader{kind: TypeBatch, length: c.length}, c.payload)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err := readOnly(disk)
			runtime.ReadMemStats(&after)
			var damage *CorruptionError
			if !errors.As(err, &damage) || damage.Offset <= segmentHeaderBytes {
				t.Errorf("error %v, want a CorruptionError with an offset", err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 4*MinSegmentBytes+64<<10 {
				t.Errorf("%d bytes of memory for a log of %d", used, MinSegmentBytes)
			}
			wantCorruption(t, disk, segmentPath(1))
		})
	}
}

// Goal: a segment that claims to be larger than its file, and a record that
// claims what such a segment could hold, take no more memory than the file.
// Method: both claims with valid checksums.
func TestHugeSegmentTakesNoMemory(t *testing.T) {
	disk, h := build(t, 17, 2, true)
	b := content(t, disk, segmentPath(1))
	binary.LittleEndian.PutUint64(b[32:], 1<<40)
	replace(t, disk, segmentPath(1), reseal(b))
	image, state, err := readOnly(disk) // its mark proves that nothing is missing
	must(t, err)
	must(t, h.check(state, 2))
	huge := recordHeader{previous: image.at.last, kind: TypeBatch, number: image.at.number + 1, length: 1 << 28}
	b = content(t, disk, segmentPath(1))
	clear(b[image.at.offset:])
	huge.encode(b[image.at.offset:], image.header.checksum, image.at.offset)
	replace(t, disk, segmentPath(1), b)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err = readOnly(disk)
	runtime.ReadMemStats(&after)
	var damage *CorruptionError
	if !errors.As(err, &damage) || damage.Offset != int64(len(b)) {
		t.Errorf("error %v, want one at the end of the file", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 4*MinSegmentBytes+64<<10 {
		t.Errorf("%d bytes of memory for a log of %d", used, MinSegmentBytes)
	}
}

// Goal: a batch that is whole, in its place and impossible was written by a bug
// or by a hand; it is refused like any other damage. Method: batches with valid
// checksums, each breaking one rule.
func TestImpossibleBatchesOnDiskAreRefused(t *testing.T) {
	disk := vfs.NewCrashable()
	log, _, err := Open(testOptions(disk))
	must(t, err)
	must(t, log.Save(&core.Write{Seq: 1, Term: 2, From: 1, Entries: []core.Entry{core.NewEntry(1, 1, core.KindCommand, nil), core.NewEntry(2, 2, core.KindCommand, nil)}, Commit: 1}))
	must(t, log.Save(&core.Write{Seq: 2, Term: 3, VotedFor: "n1", Commit: 1}))
	must(t, log.Close())
	good := core.Write{Term: 3, VotedFor: "n1", From: 3, Entries: []core.Entry{core.NewEntry(3, 3, core.KindCommand, nil)}, Commit: 2}
	for name, spoil := range map[string]func(w *core.Write, h *recordHeader){
		"term falls":         func(w *core.Write, _ *recordHeader) { w.Term-- },
		"vote changes":       func(w *core.Write, _ *recordHeader) { w.VotedFor += "x" },
		"gap":                func(w *core.Write, _ *recordHeader) { w.From++ },
		"entry's term falls": func(w *core.Write, _ *recordHeader) { w.Entries[0] = core.NewEntry(3, 1, core.KindCommand, nil) },
		"entry's checksum":   func(w *core.Write, _ *recordHeader) { w.Entries[0].Sum++ },
		"commit index falls": func(w *core.Write, _ *recordHeader) { w.Commit = 0 },
		"committed replaced": func(w *core.Write, _ *recordHeader) {
			w.From, w.Entries = 1, []core.Entry{core.NewEntry(1, 3, core.KindCommand, nil)}
		},
		"committed missing": func(w *core.Write, _ *recordHeader) { w.Commit = 4 },
		"number skips":      func(_ *core.Write, h *recordHeader) { h.number = 4 },
		"number repeats":    func(_ *core.Write, h *recordHeader) { h.number = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			disk := disk.Crash(seeded(1), vfs.KeepBlocks) // a copy: the log was closed
			w, header := good, recordHeader{kind: TypeBatch}
			w.Entries = slices.Clone(good.Entries)
			spoil(&w, &header)
			payload := appendBatch(nil, &w)
			header.length = uint64(len(payload))
			forge(t, disk, header, payload)
			wantCorruption(t, disk, segmentPath(1))
		})
	}
	disk = disk.Crash(seeded(1), vfs.KeepBlocks)
	payload := appendBatch(nil, &good)
	forge(t, disk, recordHeader{kind: TypeBatch, length: uint64(len(payload))}, payload)
	image, _, err := readOnly(disk)
	if must(t, err); image.at.number != 3 {
		t.Errorf("the batch that breaks no rule was not read: %+v", image.at)
	}
}

// Goal: what a newer raftkv wrote is refused as that. Method: a segment with the
// next format version, and one with version 0.
func TestNewerFormatsAreRefusedByName(t *testing.T) {
	disk, _ := build(t, 18, 2, true)
	path := segmentPath(1)
	whole := content(t, disk, path)
	b := slices.Clone(whole)
	binary.LittleEndian.PutUint32(b[8:], formatVersion+1)
	binary.LittleEndian.PutUint32(b[12:], checksum(b[:12]))
	replace(t, disk, path, b)
	var version *VersionError
	if _, _, err := Open(testOptions(disk)); !errors.As(err, &version) || version.Version != formatVersion+1 || !strings.Contains(err.Error(), "newer raftkv") {
		t.Errorf("a newer version: %v", err)
	}
	binary.LittleEndian.PutUint32(b[8:], 0)
	binary.LittleEndian.PutUint32(b[12:], checksum(b[:12]))
	replace(t, disk, path, b)
	wantCorruption(t, disk, path)
	replace(t, disk, path, whole)
}

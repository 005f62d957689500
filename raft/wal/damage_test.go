package wal

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// batchEnds lists where the batches of a segment end, in order, and the number
// of the last batch before it.
func batchEnds(t testing.TB, disk vfs.FS, generation uint64) (ends []int64, before int) {
	t.Helper()
	for _, r := range records(t, disk) {
		if r.File != segmentPath(generation) {
			continue
		}
		switch r.Type {
		case TypeSegment:
			before = int(r.Number)
		case TypeBatch:
			ends = append(ends, r.Offset+r.Bytes)
		}
	}
	return ends, before
}

// Goal: a torn end is cut back to the last batch whose bytes are all there and
// not a batch further. What no crash can leave is refused: a torn header of a
// segment, a file that is shorter than it was made, unless its mark proves that
// nothing lacks, or bytes behind the end of the one write that may be torn.
// Method: cut the file of the last segment at every byte; zero it from every
// byte on; fill it with noise from every byte on.
func TestTornTailAtEveryByte(t *testing.T) {
	disk, h := build(t, 12, 30, true)
	const generation = 2
	path := segmentPath(generation)
	whole := content(t, disk, path)
	ends, before := batchEnds(t, disk, generation)
	if len(ends) < 5 {
		t.Fatalf("only %d batches in the last segment", len(ends))
	}
	noise := make([]byte, len(whole))
	for i, rng := 0, seeded(5); i < len(noise); i++ {
		noise[i] = byte(rng.Uint32())
	}
	used := int(ends[len(ends)-1]) + 2*recordHeaderBytes
	for name, filling := range map[string][]byte{"cut": nil, "zeroed": make([]byte, len(whole)), "noise": noise} {
		for at := range used {
			if at > headerFieldsTo && at < segmentHeaderBytes {
				continue // nothing but zeros in this part of the header
			}
			torn := slices.Clone(whole[:at])
			if filling != nil {
				torn = append(torn, filling[at:]...)
			}
			replace(t, disk, path, torn)
			torn = append(torn, make([]byte, len(whole)-len(torn))...) // as it reads
			image, state, err := readOnly(disk)
			if name == "cut" && at < segmentHeaderBytes || string(torn[:segmentHeaderBytes]) != string(whole[:segmentHeaderBytes]) {
				var damage *CorruptionError
				if !errors.As(err, &damage) || damage.File != path {
					t.Fatalf("%s at byte %d of the header: %v", name, at, err)
				}
				continue
			}
			if name == "cut" && string(torn[:used-recordHeaderBytes]) != string(whole[:used-recordHeaderBytes]) {
				var damage *CorruptionError
				if !errors.As(err, &damage) || damage.File != path || damage.Offset != int64(at) {
					t.Fatalf("cut at byte %d: %v", at, err)
				}
				continue
			}
			there, start := 0, int64(segmentHeaderBytes)
			for there < len(ends) && string(torn[:ends[there]]) == string(whole[:ends[there]]) {
				start = ends[there]
				there++
			}
			if header := start + recordHeaderBytes; name == "noise" && there < len(ends) && string(torn[:header]) == string(whole[:header]) {
				// The header says where its write ended, and there is noise behind that.
				var damage *CorruptionError
				if !errors.As(err, &damage) || damage.Offset != start {
					t.Fatalf("noise at byte %d, inside of a batch: %v", at, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s at byte %d: %v", name, at, err)
			}
			if got := int(image.at.number); got != before+there {
				t.Fatalf("%s at byte %d: %d batches, want %d", name, at, got, before+there)
			}
			if err := h.check(state, before+there); err != nil {
				t.Fatalf("%s at byte %d: %v", name, at, err)
			}
			if cut := image.cut; cut.Bytes > 0 && cut.Offset != image.at.offset || name == "cut" && cut.Bytes == 0 {
				t.Fatalf("%s at byte %d: cut %+v, want it at %d", name, at, cut, image.at.offset)
			}
		}
	}
}

// Goal: after a cut the log goes on as if nothing had been there, and the cut is
// reported once. Method: tear the last batch in every tenth byte, open, save,
// open again.
func TestLogGoesOnBehindACut(t *testing.T) {
	for tear := 0; tear < 200; tear += 10 {
		disk, h := build(t, 13, 9, true)
		ends, _ := batchEnds(t, disk, 1)
		path, n := segmentPath(1), len(ends)
		from, to := ends[n-2], ends[n-1]
		b := content(t, disk, path)
		clear(b[min(from+int64(tear), to):])
		torn := from+int64(tear) < to && string(b[from:to]) != string(content(t, disk, path)[from:to])
		replace(t, disk, path, b)
		if torn {
			h.forgetAfter(n - 1)
		}
		w := reopen(t, disk, h, h.batches())
		cut := w.Stats().Cut
		if wantCut := torn && tear > 0; (cut.Bytes > 0) != wantCut || wantCut && (cut.File != path || cut.Offset != from || cut.Reason == "") {
			t.Errorf("torn after %d bytes: cut %+v", tear, cut)
		}
		next := h.next(seeded(1), 4, 120)
		next.Seq = 1
		must(t, w.Save(next))
		must(t, w.Close())
		w = reopen(t, disk, h, h.batches())
		if cut := w.Stats().Cut; cut != (Cut{}) {
			t.Errorf("cut again: %+v", cut)
		}
		must(t, w.Close())
	}
}

// Goal: damage to a batch that was durable is refused with file and offset as
// long as anything valid stands behind it, if only a mark. Method: spoil each
// batch of the last segment in its header and in its payload, once with all
// behind it and once with nothing but the mark.
func TestDamagedBatchWithLifeBehindItIsRefused(t *testing.T) {
	disk, _ := build(t, 14, 30, true)
	const generation = 2
	path := segmentPath(generation)
	whole := content(t, disk, path)
	ends, _ := batchEnds(t, disk, generation)
	start := int64(segmentHeaderBytes)
	for i, end := range ends {
		for _, at := range []int64{start, start + 5, start + 17, start + recordHeaderBytes + 3} {
			b := slices.Clone(whole)
			b[at] ^= 0x10
			replace(t, disk, path, b)
			if damage := wantCorruption(t, disk, path); damage.Offset != start {
				t.Errorf("batch %d spoiled at byte %d: reported at %d, want %d", i+1, at, damage.Offset, start)
			}
			// Zeros where the batches behind it were, but the last mark still there.
			clear(b[end:ends[len(ends)-1]])
			replace(t, disk, path, b)
			if damage := wantCorruption(t, disk, path); damage.Offset != start {
				t.Errorf("batch %d before a mark: reported at %d, want %d", i+1, damage.Offset, start)
			}
		}
		start = end
	}
}

// Goal: a missing, swapped, doubled or foreign segment is refused by its name.
// Method: every such mix-up of a log of four segments.
func TestMixedUpSegmentsAreRefused(t *testing.T) {
	build4 := func() (*vfs.Crashable, [5][]byte) {
		disk, _ := build(t, 15, 75, true)
		var files [5][]byte
		for g := uint64(1); g <= 4; g++ {
			files[g] = content(t, disk, segmentPath(g))
		}
		return disk, files
	}
	mixUps := map[string]struct {
		do   func(disk *vfs.Crashable, files [5][]byte)
		file uint64
	}{
		"first missing":  {func(d *vfs.Crashable, _ [5][]byte) { must(t, d.Remove(segmentPath(1))) }, 1},
		"middle missing": {func(d *vfs.Crashable, _ [5][]byte) { must(t, d.Remove(segmentPath(2))) }, 2},
		"last missing":   {func(d *vfs.Crashable, _ [5][]byte) { must(t, d.Remove(segmentPath(4))) }, 4},
		"swapped": {func(d *vfs.Crashable, f [5][]byte) {
			replace(t, d, segmentPath(2), f[3])
			replace(t, d, segmentPath(3), f[2])
		}, 2},
		"doubled inside":  {func(d *vfs.Crashable, f [5][]byte) { replace(t, d, segmentPath(3), f[2]) }, 3},
		"doubled behind":  {func(d *vfs.Crashable, f [5][]byte) { replace(t, d, segmentPath(5), f[4]) }, 5},
		"emptied":         {func(d *vfs.Crashable, f [5][]byte) { replace(t, d, segmentPath(2), nil) }, 2},
		"last emptied":    {func(d *vfs.Crashable, f [5][]byte) { replace(t, d, segmentPath(4), nil) }, 4},
		"zeroed":          {func(d *vfs.Crashable, f [5][]byte) { replace(t, d, segmentPath(2), make([]byte, len(f[2]))) }, 2},
		"middle cut":      {func(d *vfs.Crashable, f [5][]byte) { replace(t, d, segmentPath(2), f[2][:5000]) }, 2},
		"older copy":      {func(d *vfs.Crashable, f [5][]byte) { clear(f[3][6000:]); replace(t, d, segmentPath(3), f[3]) }, 3},
		"garbage behind":  {func(d *vfs.Crashable, f [5][]byte) { replace(t, d, segmentPath(4), append(f[4], "garbage"...)) }, 4},
		"garbage in seal": {func(d *vfs.Crashable, f [5][]byte) { f[2][len(f[2])-1] = 1; replace(t, d, segmentPath(2), f[2]) }, 2},
	}
	for name, mixUp := range mixUps {
		t.Run(name, func(t *testing.T) {
			disk, files := build4()
			mixUp.do(disk, files)
			wantCorruption(t, disk, segmentPath(mixUp.file))
		})
	}
	t.Run("zeros behind", func(t *testing.T) {
		disk, files := build4()
		replace(t, disk, segmentPath(4), append(files[4], make([]byte, 4096)...))
		_, _, err := readOnly(disk)
		must(t, err)
	})
	t.Run("odd name", func(t *testing.T) {
		disk, files := build4()
		replace(t, disk, testDir+"/0000000000000002 (copy).wal", files[2])
		if _, _, err := Open(testOptions(disk)); err == nil || !strings.Contains(err.Error(), "(copy)") {
			t.Errorf("Open: %v", err)
		}
	})
}

// Goal: each record is tied to the one before it, so a history that is valid but
// not ours is refused. Method: two logs with the same beginning whose second
// batches differ but have equal lengths; a record, and a segment, of the one is
// put into the other.
func TestRecordsOfAnotherHistoryAreRefused(t *testing.T) {
	write := func(letter byte) *vfs.Crashable {
		disk := vfs.NewCrashable()
		w, _, err := Open(testOptions(disk))
		must(t, err)
		for i := range uint64(12) {
			data := slices.Repeat([]byte{'a'}, 1000)
			if i == 1 {
				data[500] = letter
			}
			must(t, w.Save(&core.Write{Seq: i + 1, Term: 1, From: i + 1, Entries: []core.Entry{core.NewEntry(i+1, 1, core.KindCommand, data)}}))
		}
		must(t, w.Close())
		return disk
	}
	ours, theirs := write('x'), write('y')
	ends, _ := batchEnds(t, ours, 1)
	path := segmentPath(1)
	mixed := content(t, ours, path)
	copy(mixed[ends[0]:ends[1]], content(t, theirs, path)[ends[0]:ends[1]])
	replace(t, ours, path, mixed)
	if damage := wantCorruption(t, ours, path); damage.Offset != ends[1] {
		t.Errorf("another history's record: reported at byte %d, want %d", damage.Offset, ends[1])
	}
	ours = write('x')
	replace(t, ours, segmentPath(2), content(t, theirs, segmentPath(2)))
	wantCorruption(t, ours, segmentPath(2))
}

// Goal: a record of a recycled segment is never taken for a new one. Method: put
// the records of segment 1, where they have the very same offsets, into the
// empty part of segment 2, and behind a mark; the log must read as if they were
// noise.
func TestStaleRecordsAreNeverTakenForNewOnes(t *testing.T) {
	disk, h := build(t, 16, 27, true)
	ends, before := batchEnds(t, disk, 2)
	old, path := content(t, disk, segmentPath(1)), segmentPath(2)
	for n := range ends {
		from := int64(segmentHeaderBytes)
		if n > 0 {
			from = ends[n-1]
		}
		b := content(t, disk, path)
		copy(b[from:], old[from:])
		mixed := disk.Kill()
		disk = mixed
		whole := content(t, disk, path)
		replace(t, disk, path, b)
		image, state, err := readOnly(disk)
		must(t, err)
		if image.at.number != uint64(before+n) || image.cut.Bytes == 0 {
			t.Errorf("stale records behind batch %d: read up to %d, cut %+v", before+n, image.at.number, image.cut)
		}
		must(t, h.check(state, before+n))
		replace(t, disk, path, whole)
	}
}

package wal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// recyclingOptions have segments with room for three blocks behind the header.
func recyclingOptions(fsys vfs.FS) Options {
	o := testOptions(fsys)
	o.SegmentBytes += 2 * segmentAlign
	return o
}

// writer saves random batches, with a snapshot now and then, so that segments become
// superfluous and are used again.
type writer struct {
	t   testing.TB
	w   *WAL
	h   *history
	rng *rand.Rand
	seq uint64
}

func newWriter(t testing.TB, fsys vfs.FS) *writer {
	w, _, err := Open(recyclingOptions(fsys))
	must(t, err)
	return &writer{t: t, w: w, h: newHistory(), rng: seeded(31)}
}

func (w *writer) save(b *core.Write) {
	w.t.Helper()
	w.seq++
	b.Seq = w.seq
	if b.Snapshot != nil {
		must(w.t, w.w.WriteSnapshot(*b.Snapshot, writePayload(positionOf(*b.Snapshot))))
	}
	must(w.t, w.w.Save(b))
	must(w.t, w.w.Prepare())
}

// roll fills n segments and takes a snapshot behind each.
func (w *writer) roll(n int) {
	w.t.Helper()
	for until := w.w.Stats().Rolls + uint64(n); w.w.Stats().Rolls < until; {
		rolls := w.w.Stats().Rolls
		w.save(w.h.next(w.rng, 4, 300))
		if w.w.Stats().Rolls > rolls {
			w.save(w.h.nextCompaction(w.rng, 2, 300))
		}
	}
}

// recycledLog returns a log whose last segment is a recycled one with a few batches,
// and what stood in it before behind them. The machine stopped behind the mark.
func recycledLog(t testing.TB) (*vfs.Crashable, *history, string) {
	t.Helper()
	disk := vfs.NewCrashable()
	w := newWriter(t, disk)
	w.roll(8)
	for range 3 {
		w.save(w.h.next(w.rng, 3, 300))
	}
	must(t, w.w.Settle())
	path := w.w.active.path
	if !w.w.active.recycled() || len(batchesOf(t, disk, path)) < 4 {
		t.Fatalf("void: the last segment is %+v", w.w.active.segmentHeader)
	}
	rest := content(t, disk, path)[w.w.active.blankTo(w.w.active.end):]
	if len(bytes.Trim(rest, "\x00")) < segmentAlign {
		t.Fatal("void: nothing of its earlier life is left")
	}
	return disk.Kill(), w.h, path
}

// batchesOf lists the batches of the segment at path.
func batchesOf(t testing.TB, disk vfs.FS, path string) (all []Record) {
	t.Helper()
	for _, r := range records(t, disk) {
		if r.File == path && r.Type.isBatch() {
			all = append(all, r)
		}
	}
	return all
}

// Goal: segments that a snapshot made superfluous are used again, in place of new
// files of zeros, and what is written to them reads like everything else, restart
// after restart: nothing is cut, and nothing of what stood there is seen or touched.
// Method: random batches and snapshots through many segments, closed and killed in
// turns; the files that are created are counted.
func TestSegmentsAreUsedAgain(t *testing.T) {
	disk := vfs.NewCrashable()
	fsys := vfs.NewFaulty(disk)
	w := newWriter(t, fsys)
	w.roll(8)
	created, begun := fsys.Count(vfs.OpCreate), w.w.Stats()
	snapshots := len(w.h.states)
	w.roll(20)
	after := w.w.Stats()
	snapshots = len(w.h.states) - snapshots
	recycled := int(after.Recycled - begun.Recycled)
	if rolls := after.Rolls - begun.Rolls; recycled < 18 || rolls != 20 {
		t.Errorf("of %d segments %d are recycled", rolls, recycled)
	}
	if got := fsys.Count(vfs.OpCreate) - created; got > 20+20-recycled || snapshots < 40 { // each has a snapshot.tmp
		t.Errorf("%d files were created for 20 snapshots and %d new segments", got, 20-recycled)
	}
	for i := range 6 {
		if i%2 == 0 {
			must(t, w.w.Close())
		}
		before := vfs.FS(disk.Kill())
		disk = before.(*vfs.Crashable)
		names, err := disk.List(testDir)
		must(t, err)
		last := ""
		for _, name := range names {
			if IsSegment(name) {
				last = filepath.Join(testDir, name)
			}
		}
		found := content(t, disk, last)
		w.w = reopen(t, disk, w.h, w.h.batches())
		must(t, w.w.Close())
		if cut := w.w.Stats().Cut; cut != (Cut{}) {
			t.Errorf("restart %d: cut %+v", i, cut)
		}
		mark := w.w.active.end
		if b := content(t, disk, last); !bytes.Equal(b[:mark], found[:mark]) || !bytes.Equal(b[mark+recordHeaderBytes:], found[mark+recordHeaderBytes:]) {
			t.Errorf("restart %d changed the last segment", i)
		}
		w.w, _, err = Open(recyclingOptions(disk))
		must(t, err)
		w.seq = 0
		w.roll(3)
		for w.w.active.end < 2*segmentAlign+100 { // behind the block that was blank when it was begun
			w.save(w.h.next(w.rng, 1, 300))
		}
	}
}

// Goal: a record from an earlier life of a recycled segment never counts, not even if
// the checksums of both lives were alike: neither as a batch, nor as the proof that a
// batch before it was durable. A record of this life does count. Method: records with
// right checksums for this life and their place, with the numbers that an earlier
// life could have, in place of the mark and behind it; then one with the next number.
func TestRecordsOfAnEarlierLifeNeverCount(t *testing.T) {
	disk, h, path := recycledLog(t)
	whole := content(t, disk, path)
	header, err := decodeSegmentHeader(whole, path)
	must(t, err)
	all := batchesOf(t, disk, path)
	last := all[len(all)-1]
	end := last.Offset + last.Bytes
	payload := appendBatch(nil, &core.Write{Term: 1000})
	forge := func(b []byte, kind Type, number uint64, at int64) {
		r := recordHeader{previous: last.Checksum, kind: kind, number: number}
		if kind == TypeBatch {
			r.length, r.payload = uint64(len(payload)), checksum(payload)
			copy(b[at+recordHeaderBytes:], payload)
		}
		r.encode(b[at:], header.checksum, at)
	}
	for _, kind := range []Type{TypeBatch, TypeMark, TypeSeal} {
		for _, number := range []uint64{1, header.number - 1, header.number + uint64(header.size)/recordHeaderBytes} {
			for _, at := range []int64{end, end + recordHeaderBytes, header.blankTo(end), header.size - 256} {
				b := slices.Clone(whole)
				forge(b, kind, number, at)
				replace(t, disk, path, b)
				image, state, err := readOnly(disk)
				if err != nil || image.at.number != last.Number || image.at.offset != end {
					t.Fatalf("a %v of number %d at byte %d: %v, %+v", kind, number, at, err, image)
				}
				must(t, h.check(state, h.batches()))
			}
		}
		b := slices.Clone(whole)
		forge(b, kind, last.Number+1, header.size-256)
		replace(t, disk, path, b)
		if damage := wantCorruption(t, disk, path); damage.Offset != end {
			t.Errorf("a %v of this life: %v", kind, damage)
		}
	}
}

// Goal: a write that a crash tore over old records is cut back to the last whole
// batch, never refused and never believed, wherever it tore. Method: a batch over one
// block and one over three, torn at every byte of its header and at many others: new
// bytes before, the old ones behind, and the other way round; and each of the first
// sectors new or old on its own.
func TestTornWritesOverOldRecords(t *testing.T) {
	for _, size := range []int{100, 2 * segmentAlign} {
		disk, h, path := recycledLog(t)
		w, _, err := Open(recyclingOptions(disk))
		must(t, err)
		before, start, n := content(t, disk, path), w.active.end, h.batches()
		b := &core.Write{Seq: 1, Term: h.now().Term, VotedFor: h.now().VotedFor, From: h.now().last() + 1, Commit: h.now().Commit}
		b.Entries = []core.Entry{core.NewEntry(b.From, b.Term, core.KindCommand, slices.Repeat([]byte{'v'}, size))}
		h.add(b)
		must(t, w.Save(b))
		after, end := content(t, disk, path), w.active.end
		if w.active.path != path {
			t.Fatal("void: it went to the next segment")
		}
		disk = disk.Kill()
		check := func(what string, at int64, torn []byte) {
			replace(t, disk, path, torn)
			want := n
			if bytes.Equal(torn[start:end], after[start:end]) {
				want++
			}
			image, state, err := readOnly(disk)
			if err != nil || int(image.at.number) != want {
				t.Fatalf("%d bytes torn %s %d: %v, %+v, want %d batches", size, what, at, err, image, want)
			}
			must(t, h.check(state, want))
		}
		written := w.active.blankTo(end)
		for at := start; at <= written; at++ {
			if at > start+2*recordHeaderBytes && at%segmentAlign > 0 && at%31 > 0 {
				continue
			}
			check("at byte", at, slices.Concat(after[:at], before[at:]))
			check("behind byte", at, slices.Concat(before[:at], after[at:]))
		}
		first := start / 512
		for blocks := range int64(1) << min(8, (written+511)/512-first) {
			torn := slices.Clone(before)
			for block := first; block*512 < written; block++ {
				if blocks>>(block-first)&1 == 1 {
					copy(torn[block*512:], after[block*512:min((block+1)*512, int64(len(after)))])
				}
			}
			check("in blocks", blocks, torn)
		}
	}
}

// Goal: damage at the end of a recycled segment is told from a torn write as in a new
// one, as far as it lies in the block in which the batch began: the bytes behind it
// there were zeros before it was written. Method: a short batch as the last; every
// byte of it behind its header, and every byte of the block behind it, gets another
// value, with the mark and without.
func TestDamageInTheLastBlockOfARecycledSegment(t *testing.T) {
	disk, _, path := recycledLog(t)
	whole := content(t, disk, path)
	header, err := decodeSegmentHeader(whole, path)
	must(t, err)
	all := batchesOf(t, disk, path)
	last := all[len(all)-1]
	end := last.Offset + last.Bytes
	blank := header.blankTo(last.Offset)
	if end+2*recordHeaderBytes > blank {
		t.Fatalf("void: the last batch ends at byte %d", end)
	}
	for at := last.Offset + recordHeaderBytes; at < end; at++ {
		b := slices.Clone(whole)
		b[at] ^= 0x10
		replace(t, disk, path, b)
		wantCorruption(t, disk, path) // the mark proves it
		clear(b[end:blank])
		b[blank-1] = 1
		replace(t, disk, path, b)
		if damage := wantCorruption(t, disk, path); damage.Offset != last.Offset {
			t.Errorf("byte %d: %v", at, damage)
		}
	}
	for at := end + recordHeaderBytes; at < blank; at++ {
		b := slices.Clone(whole)
		b[at] = 1
		replace(t, disk, path, b)
		image, _, err := readOnly(disk)
		if err != nil || image.at.number != last.Number || image.cut.Offset != end || image.cut.Offset+image.cut.Bytes != blank {
			t.Fatalf("a byte at %d behind the mark: %v, cut %+v", at, err, image.cut)
		}
	}
}

// Goal: the files that wait to be used again never stand in the way: of a disk that is
// full, they give their room; a new log has none of an old one's. Method: a snapshot
// that finds no room, and a directory whose segments were taken away.
func TestWaitingSegmentsGiveWay(t *testing.T) {
	disk := vfs.NewCrashable()
	fsys := vfs.NewFaulty(disk)
	w := newWriter(t, fsys)
	w.roll(8)
	waiting := func() (names []string) {
		all, err := disk.List(testDir)
		must(t, err)
		for _, name := range all {
			if isRetiredName(name) && filepath.Join(testDir, name) != w.w.spare.path {
				names = append(names, name)
			}
		}
		return names
	}
	if n := len(waiting()); n == 0 || n > maxRetired {
		t.Fatalf("%d segments wait", n)
	}
	fsys.Inject(vfs.Fault{Kind: vfs.OpCreate, Nth: fsys.Count(vfs.OpCreate) + 1, Err: syscall.ENOSPC})
	b := w.h.nextCompaction(w.rng, 2, 10)
	if err := w.w.WriteSnapshot(*b.Snapshot, writePayload(positionOf(*b.Snapshot))); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("WriteSnapshot: %v", err)
	}
	if left := waiting(); len(left) != 0 {
		t.Errorf("%v wait on a full disk", left)
	}
	w.save(b)
	w.roll(4)
	must(t, w.w.Close())

	must(t, disk.Rename(filepath.Join(testDir, spareName+".1"), filepath.Join(testDir, spareName+".5")))
	names, err := disk.List(testDir)
	must(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, segmentSuffix) || strings.HasSuffix(name, snapshotSuffix) {
			must(t, disk.Remove(filepath.Join(testDir, name)))
		}
	}
	fresh := newWriter(t, disk)
	names, err = disk.List(testDir)
	must(t, err)
	if slices.ContainsFunc(names, isRetiredName) {
		t.Errorf("a new log begins with %v", names)
	}
	must(t, fresh.w.Close())
}

// Goal: a recycled segment that is full has zeros behind its end before the next one
// is begun, wherever the power fails, so that damage in it is found to the last bit.
// Method: a batch that does not fit, while a part of the segment still holds old
// records; the power fails before each operation of its Save, in every way, or not at
// all; the log must open, and hold the batch or not.
func TestTheRestOfAFullRecycledSegmentIsCleared(t *testing.T) {
	for _, model := range vfs.Models {
		for crashAt, crashed := 1, true; crashed; crashAt++ {
			disk, h, path := recycledLog(t)
			n := h.batches()
			fsys := vfs.NewFaulty(disk)
			w, _, err := Open(recyclingOptions(fsys))
			must(t, err)
			must(t, w.Prepare())
			b := &core.Write{Seq: 1, Term: h.now().Term, VotedFor: h.now().VotedFor, From: h.now().last() + 1, Commit: h.now().Commit}
			b.Entries = []core.Entry{core.NewEntry(b.From, b.Term, core.KindCommand, slices.Repeat([]byte{'v'}, 3*segmentAlign-400))}
			h.add(b)
			var next *vfs.Crashable
			operations := 0
			fsys.Hook(func(vfs.Op) error {
				if operations++; operations == crashAt {
					next = disk.Crash(seeded(uint64(crashAt)), model)
				}
				return nil
			})
			err = w.Save(b)
			if crashed = next != nil; !crashed {
				must(t, err)
				if w.active.path == path {
					t.Fatal("void: the batch fitted")
				}
				next = disk.Crash(seeded(1), model)
			}
			w, state, err := Open(recyclingOptions(next))
			if err != nil {
				t.Fatalf("%v, crash before operation %d: %v", model, crashAt, err)
			}
			found := int(w.Stats().RecoveredTo)
			if found != n && found != n+1 || !crashed && found != n+1 {
				t.Fatalf("%v, crash before operation %d: %d batches found, want %d or one more", model, crashAt, found, n)
			}
			must(t, h.check(state, found))
		}
	}
}

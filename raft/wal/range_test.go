package wal

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// Goal: a sector or a page of garbage over the end of the log does not pass for a
// torn write where it can be told from one. It can be told if the header of the
// first batch that it strikes is whole, and it reaches beyond that batch: no write
// but that one could be torn, so the start is refused. Otherwise the start is
// refused, or it reports that it cuts, and what it cuts begins with that batch.
// Method: logs whose last batch lies at every place in a page; noise, zeros and 0xff
// over every sector and page that holds a byte of it or of its mark, and over two.
func TestARangeOfGarbageOverTheEndIsNotTakenForATornWrite(t *testing.T) {
	results := map[string]int{}
	for pad := 0; pad < 4096; pad += 40 {
		disk := logEndingAt(t, pad)
		whole := content(t, disk, segmentPath(1))
		ends, _ := batchEnds(t, disk, 1)
		start, end := ends[1], ends[2]+recordHeaderBytes
		for _, size := range []int64{512, 4096, 1024, 8192} {
			align := max(512, size/4096*4096)
			for from := start / align * align; from <= end; from += align {
				for name, fill := range fillings {
					b := slices.Clone(whole)
					g := garbage{max(from, segmentHeaderBytes), min(from+size, int64(len(b))), name != "zeros"}
					fill(b[g.from:g.to])
					result, err := g.judge(b, ends)
					if err != nil {
						t.Errorf("the batches end at %v; %s from %d to %d: %v", ends, name, g.from, g.to, err)
					}
					results[result]++
				}
			}
		}
	}
	t.Logf("%v", results)
	for _, result := range []string{"refused", "complete", "cut, as it cannot be told"} {
		if results[result] < 50 {
			t.Errorf("only %d times %s", results[result], result)
		}
	}
}

// garbage is a range of a segment that holds something else now.
type garbage struct {
	from, to int64
	visible  bool // it is not all zeros
}

// judge reads a log of batches that end at these places, with garbage in it.
func (g garbage) judge(b []byte, ends []int64) (string, error) {
	w, err := newWAL(testOptions(frozen{files: map[string][]byte{segmentName(1): b}}))
	if err != nil {
		return "", err
	}
	found, err := w.read()
	var damage *CorruptionError
	switch {
	case errors.As(err, &damage):
		return "refused", nil
	case err != nil:
		return "", err
	}
	first, start := 0, int64(segmentHeaderBytes) // the first batch that is struck
	for first < len(ends) && ends[first] <= g.from {
		start = ends[first]
		first++
	}
	left := int(found.image.at.number)
	switch {
	case left == len(ends):
		return "complete", nil
	case left == first && (g.from < start+recordHeaderBytes || !g.visible):
		return "cut, as it cannot be told", nil
	}
	return "lost", fmt.Errorf("%d batches are left, cut %+v", left, found.image.cut)
}

var fillings = map[string]func([]byte){
	"noise": func(b []byte) {
		for i, rng := 0, seeded(8); i < len(b); i++ {
			b[i] = byte(rng.Uint32())
		}
	},
	"zeros": func(b []byte) { clear(b) },
	"0xff":  func(b []byte) { copy(b, slices.Repeat([]byte{0xff}, len(b))) },
}

// logEndingAt returns a log in one segment of three batches and its mark, of which
// the second is so long that the third begins at another place for each pad.
func logEndingAt(t *testing.T, pad int) *vfs.Crashable {
	t.Helper()
	disk := vfs.NewCrashable()
	o := testOptions(disk)
	o.SegmentBytes = 32 << 10
	w, _, err := Open(o)
	must(t, err)
	for i, size := range []int{300, 1 + pad, 700} {
		index := uint64(i) + 1
		must(t, w.Save(&core.Write{Seq: index, Term: 1, From: index, Entries: []core.Entry{core.NewEntry(index, 1, core.KindCommand, slices.Repeat([]byte{'v'}, size))}}))
	}
	must(t, w.Settle())
	return disk.Kill()
}

package wal

import (
	"bytes"
	"io"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// counting is a file system that counts the bytes that are written to it.
type counting struct {
	vfs.FS
	bytes *int64
}

func (c counting) Create(name string) (vfs.File, error) {
	f, err := c.FS.Create(name)
	return countingFile{f, c.bytes}, err
}

func (c counting) Open(name string) (vfs.File, error) {
	f, err := c.FS.Open(name)
	return countingFile{f, c.bytes}, err
}

type countingFile struct {
	vfs.File
	bytes *int64
}

func (f countingFile) WriteAt(b []byte, offset int64) (int, error) {
	*f.bytes += int64(len(b))
	return f.File.WriteAt(b, offset)
}

// Goal: a byte of a value costs at most 1.5 bytes on the disk, with everything that
// belongs to the log: its records, the zeros of new files, the zeros behind batches
// and segments, the snapshots. Method: values of 64 KiB, one to a batch, through
// segments of 1 MiB, a snapshot of 256 KiB every four of them; the first snapshots
// only warm up. The usual sizes are sixteen times that.
func TestWritesPerByteOfAValue(t *testing.T) {
	const value, state, every = 64 << 10, 256 << 10, 4 << 20
	written := int64(0)
	o := testOptions(counting{vfs.NewCrashable(), &written})
	o.SegmentBytes = 1 << 20
	w, _, err := Open(o)
	must(t, err)
	payload, begun := int64(0), int64(0)
	data := bytes.Repeat([]byte{'v'}, value)
	for seq, index := uint64(0), uint64(1); index <= 8*every/value; index++ {
		if index == 3*every/value {
			payload, begun = 0, written
		}
		seq++
		must(t, w.Save(&core.Write{Seq: seq, Term: 1, From: index, Entries: []core.Entry{core.NewEntry(index, 1, core.KindCommand, data)}, Commit: index - 1}))
		payload += value
		if index%(every/value) == 0 {
			s := core.Snapshot{Index: index - 1, Term: 1}
			must(t, w.WriteSnapshot(s, func(to io.Writer) error { return writeTimes(to, data, state/value) }))
			seq++
			must(t, w.Save(&core.Write{Seq: seq, Term: 1, Snapshot: &s, Commit: index - 1}))
		}
		must(t, w.Prepare())
	}
	must(t, w.Close())
	ratio := float64(written-begun) / float64(payload)
	t.Logf("%.3f bytes written per byte of a value", ratio)
	if ratio > 1.5 {
		t.Errorf("%.3f bytes were written per byte of a value, more than 1.5", ratio)
	}
	if s := w.Stats(); s.Recycled < 10 {
		t.Errorf("only %d recycled segments: %+v", s.Recycled, s)
	}
}

// writeTimes writes b n times.
func writeTimes(to io.Writer, b []byte, n int) error {
	for range n {
		if _, err := to.Write(b); err != nil {
			return err
		}
	}
	return nil
}

package wal

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
	"raftkv/tests/bench/allocations"
)

// weightless is a file system whose files keep nothing: the memory of a disk in memory
// would count, and how much of it a turn takes depends on how many turns there are.
type weightless struct{ vfs.FS }

// Create implements vfs.FS.
func (f weightless) Create(name string) (vfs.File, error) {
	file, err := f.FS.Create(name)
	return weightlessFile{file}, err
}

type weightlessFile struct{ vfs.File }

// WriteAt implements io.WriterAt.
func (weightlessFile) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

// Goal: a batch on its way to the disk takes no more memory than it did. Method:
// batches of one and of 64 entries, on a disk that takes no memory for them.
func TestAllocations(t *testing.T) {
	var loops []allocations.Loop
	for _, size := range []int{1, 64} {
		loops = append(loops, allocations.Loop{Name: fmt.Sprintf("save/entries=%d", size), Run: func(b *testing.B) {
			w, _, err := Open(Options{FS: weightless{vfs.NewCrashable()}, Dir: "d", ClusterID: "c1", NodeID: "n1"})
			must(b, err)
			var preparing sync.WaitGroup
			preparing.Go(func() {
				for range w.NeedsSpare() {
					if err := w.Prepare(); err != nil && !errors.Is(err, ErrClosed) {
						b.Error(err)
					}
				}
			})
			entries := make([]core.Entry, size)
			data := make([]byte, 256)
			write := core.Write{Term: 1, From: 1, Entries: entries}
			for b.Loop() {
				write.Seq++
				for i := range entries {
					entries[i] = core.NewEntry(write.From+uint64(i), 1, core.KindCommand, data)
				}
				if err := w.Save(&write); err != nil {
					b.Fatal(err)
				}
				write.From += uint64(size)
			}
			must(b, w.Close())
			preparing.Wait()
		}})
	}
	allocations.Check(t, "raft/wal", loops)
}

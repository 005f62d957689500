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

// Goal: a batch on its way to the disk takes no more memory than it did. Method:
// batches of one and of 64 entries, on a disk in memory, whose own memory counts, too.
func TestAllocations(t *testing.T) {
	var loops []allocations.Loop
	for _, size := range []int{1, 64} {
		loops = append(loops, allocations.Loop{Name: fmt.Sprintf("save/entries=%d", size), Run: func(b *testing.B) {
			w, _, err := Open(Options{FS: vfs.NewCrashable(), Dir: "d", ClusterID: "c1", NodeID: "n1"})
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

package wal

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// BenchmarkSave saves batches on the real disk under b.TempDir, with the spare
// made at the same time, as the node does it.
func BenchmarkSave(b *testing.B) {
	for _, size := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("entries=%d", size), func(b *testing.B) {
			w, _, err := Open(Options{FS: vfs.OS{}, Dir: b.TempDir(), ClusterID: "c1", NodeID: "n1"})
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
			for i := range entries {
				entries[i] = core.NewEntry(0, 1, core.KindCommand, make([]byte, 256))
			}
			write := core.Write{Term: 1, From: 1, Entries: entries}
			b.SetBytes(int64(size) * 256)
			b.ReportAllocs()
			for b.Loop() {
				write.Seq++
				for i := range entries {
					entries[i] = core.NewEntry(write.From+uint64(i), 1, core.KindCommand, entries[i].Data)
				}
				if err := w.Save(&write); err != nil {
					b.Fatal(err)
				}
				write.From += uint64(size)
			}
			b.ReportMetric(float64(w.Stats().Rolls), "rolls")
			must(b, w.Close())
			preparing.Wait()
		})
	}
}

// BenchmarkOpen reads a log of 64 MiB in batches of 64 entries of 256 bytes.
func BenchmarkOpen(b *testing.B) {
	o := Options{FS: vfs.OS{}, Dir: b.TempDir(), ClusterID: "c1", NodeID: "n1"}
	w, _, err := Open(o)
	must(b, err)
	write := core.Write{Term: 1, From: 1, Entries: make([]core.Entry, 64)}
	for i := range write.Entries {
		write.Entries[i] = core.NewEntry(0, 1, core.KindCommand, make([]byte, 256))
	}
	bytes := int64(0)
	for ; bytes < 64<<20; bytes += 64 * 256 {
		write.Seq++
		for i := range write.Entries {
			write.Entries[i] = core.NewEntry(write.From+uint64(i), 1, core.KindCommand, write.Entries[i].Data)
		}
		must(b, w.Save(&write))
		write.From += 64
	}
	must(b, w.Close())
	b.SetBytes(bytes)
	b.ReportAllocs()
	for b.Loop() {
		w, state, err := Open(o)
		must(b, err)
		if uint64(len(state.Entries)) != write.From-1 {
			b.Fatalf("%d entries, want %d", len(state.Entries), write.From-1)
		}
		must(b, w.Close())
	}
}

// Goal: saving allocates nothing per entry. Method: count allocations of a save
// of one entry and of a thousand on a real disk.
func TestSaveAllocatesNothingPerEntry(t *testing.T) {
	w, _, err := Open(Options{Dir: t.TempDir(), ClusterID: "c1", NodeID: "n1"})
	must(t, err)
	defer w.Close()
	write := core.Write{Term: 1, From: 1}
	for _, size := range []int{1, 1000} {
		write.Entries = make([]core.Entry, size)
		save := func() {
			write.Seq++
			for i := range write.Entries {
				write.Entries[i] = core.NewEntry(write.From+uint64(i), 1, core.KindCommand, zeros[:100])
			}
			must(t, w.Save(&write))
			write.From += uint64(size)
		}
		save() // grows the buffer
		if got := testing.AllocsPerRun(10, save); got > 0 {
			t.Errorf("a batch of %d entries took %v allocations", size, got)
		}
	}
}

// writeNoise writes a payload of the given size, as fast as it is taken.
func writeNoise(size int) func(io.Writer) error {
	piece := make([]byte, 64<<10)
	for i, rng := 0, seeded(1); i < len(piece); i++ {
		piece[i] = byte(rng.Uint32())
	}
	return func(w io.Writer) error {
		for left := size; left > 0; left -= len(piece) {
			if _, err := w.Write(piece[:min(left, len(piece))]); err != nil {
				return err
			}
		}
		return nil
	}
}

// BenchmarkOpenSnapshot starts from a snapshot of 270 MB, which is read and
// verified whole, with an almost empty log.
func BenchmarkOpenSnapshot(b *testing.B) {
	const size = 270 << 20
	o := Options{FS: vfs.OS{}, Dir: b.TempDir(), ClusterID: "c1", NodeID: "n1"}
	must(b, Initialize(o, 3, core.Snapshot{Index: 1000, Term: 3}, writeNoise(size)))
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		w, state, err := Open(o)
		must(b, err)
		if state.Snapshot.Index != 1000 {
			b.Fatal("another snapshot")
		}
		must(b, w.Close())
	}
}

// BenchmarkSaveBesideSnapshot saves batches of 64 entries of 256 bytes, a
// thousand with nothing else going on, and then as many as fit into the time that
// a snapshot of 270 MB takes, and reports how long a save takes in both halves.
func BenchmarkSaveBesideSnapshot(b *testing.B) {
	for b.Loop() {
		w, _, err := Open(Options{FS: vfs.OS{}, Dir: b.TempDir(), ClusterID: "c1", NodeID: "n1"})
		must(b, err)
		var preparing sync.WaitGroup
		preparing.Go(func() {
			for range w.NeedsSpare() {
				if err := w.Prepare(); err != nil && !errors.Is(err, ErrClosed) {
					b.Error(err)
				}
			}
		})
		write := core.Write{Term: 1, From: 1, Entries: make([]core.Entry, 64)}
		for i := range write.Entries {
			write.Entries[i] = core.NewEntry(0, 1, core.KindCommand, make([]byte, 256))
		}
		save := func() time.Duration {
			write.Seq++
			for i := range write.Entries {
				write.Entries[i] = core.NewEntry(write.From+uint64(i), 1, core.KindCommand, write.Entries[i].Data)
			}
			begun := time.Now()
			must(b, w.Save(&write))
			write.From += 64
			return time.Since(begun)
		}
		var alone, beside []time.Duration
		for range 1000 {
			alone = append(alone, save())
		}
		done := make(chan error, 1)
		go func() { done <- w.WriteSnapshot(core.Snapshot{Index: 10, Term: 1}, writeNoise(270<<20)) }()
		begun := time.Now()
		for running := true; running; {
			beside = append(beside, save())
			select {
			case err := <-done:
				must(b, err)
				running = false
			default:
			}
		}
		b.ReportMetric(time.Since(begun).Seconds(), "s/snapshot")
		for name, times := range map[string][]time.Duration{"alone": alone, "beside": beside} {
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50µs-"+name)
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99µs-"+name)
		}
		must(b, w.Close())
		preparing.Wait()
	}
}

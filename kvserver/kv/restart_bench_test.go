package kv

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
)

const benchValueBytes = 256

// filled returns a store with a million keys and values of 256 bytes, which
// came in this order, and how many bytes its heap grew by.
func filled(order []int) (*Store, uint64) {
	before := liveHeap()
	s := New()
	value := make([]byte, benchValueBytes)
	var command []byte
	for i, k := range order {
		command = appendCommand(command[:0], Command{
			Op: OpPut, Key: fmt.Appendf(nil, "key-%012d", k), Value: value, Time: uint64(i + 1),
		})
		s.Apply(uint64(i+1), command)
	}
	return s, liveHeap() - before
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func inOrder() []int {
	order := make([]int, benchKeys)
	for i := range order {
		order[i] = i
	}
	return order
}

func shuffled() []int { return rand.New(rand.NewPCG(1, 2)).Perm(benchKeys) }

// BenchmarkMemory reports the live heap for each byte of keys and values, after
// puts in order, puts in random order, overwriting all in random order, and a
// restore.
func BenchmarkMemory(b *testing.B) {
	report := func(b *testing.B, heap uint64, s *Store) {
		b.ReportMetric(float64(heap)/float64(s.Bytes()), "heap/data")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("in-order", func(b *testing.B) {
		s, heap := filled(inOrder())
		report(b, heap, s)
	})
	b.Run("random", func(b *testing.B) {
		s, heap := filled(shuffled())
		report(b, heap, s)
	})
	b.Run("restored", func(b *testing.B) {
		snapshot := snapshotOfAMillion(b)
		before := liveHeap()
		s, err := Restore(bytes.NewReader(snapshot))
		if err != nil {
			b.Fatal(err)
		}
		report(b, liveHeap()-before, s)
		runtime.KeepAlive(snapshot)
	})
}

// BenchmarkIdempotencyRecords reports the memory that a full table of them takes.
func BenchmarkIdempotencyRecords(b *testing.B) {
	before := liveHeap()
	s := New()
	var command []byte
	for i := range MaxIdempotencyRecords {
		command = appendCommand(command[:0], Command{Op: OpDelete, Key: []byte("k"), IdempotencyKey: fmt.Sprintf("request-%d", i)})
		s.Apply(uint64(i+1), command)
	}
	b.ReportMetric(float64(liveHeap()-before)/MaxIdempotencyRecords, "heap-B/record")
	b.ReportMetric(0, "ns/op")
	if s.IdempotencyRecords() != MaxIdempotencyRecords {
		b.Fatal(s.IdempotencyRecords())
	}
}

func snapshotOfAMillion(b *testing.B) []byte {
	s, _ := filled(shuffled())
	var snapshot bytes.Buffer
	if _, err := s.WriteTo(&snapshot); err != nil {
		b.Fatal(err)
	}
	return snapshot.Bytes()
}

// cpuSeconds is the processor time of this process, which does not depend on
// what else the machine does.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func reportCPU(b *testing.B, since float64) {
	b.ReportMetric((cpuSeconds()-since)/float64(b.N), "cpu-s/op")
}

// BenchmarkReplay applies a million puts, in random order, to a store that has
// their keys: what a start does at most with the log behind a snapshot.
func BenchmarkReplay(b *testing.B) {
	s, _ := filled(shuffled())
	value := make([]byte, benchValueBytes)
	order := rand.New(rand.NewPCG(3, 4)).Perm(benchKeys)
	b.ResetTimer()
	defer reportCPU(b, cpuSeconds())
	var command []byte
	for range b.N {
		for _, k := range order {
			index := s.AppliedIndex() + 1
			command = appendCommand(command[:0], Command{Op: OpPut, Key: fmt.Appendf(nil, "key-%012d", k), Value: value, Time: index})
			s.Apply(index, command)
		}
	}
}

// BenchmarkRestore reads a million keys of 256 bytes.
func BenchmarkRestore(b *testing.B) {
	snapshot := snapshotOfAMillion(b)
	b.SetBytes(int64(len(snapshot)))
	b.ResetTimer()
	defer reportCPU(b, cpuSeconds())
	for range b.N {
		if _, err := Restore(bytes.NewReader(snapshot)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRestoreHistory reads a million keys of 256 bytes and a full history, of changes that
// overwrote some of the keys.
func BenchmarkRestoreHistory(b *testing.B) {
	s := NewAt(LevelHistory)
	value := make([]byte, benchValueBytes)
	var command []byte
	for _, k := range append(shuffled(), shuffled()[:benchKeys/2]...) {
		index := s.AppliedIndex() + 1
		command = appendCommand(command[:0], Command{Op: OpPut, Key: fmt.Appendf(nil, "key-%012d", k), Value: value, Time: index})
		s.Apply(index, command)
	}
	var snapshot bytes.Buffer
	if _, err := s.WriteTo(&snapshot); err != nil {
		b.Fatal(err)
	}
	events := s.HistoryEvents()
	s = nil
	b.SetBytes(int64(snapshot.Len()))
	b.ResetTimer()
	defer reportCPU(b, cpuSeconds())
	for range b.N {
		if _, err := Restore(bytes.NewReader(snapshot.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(events), "events")
}

// BenchmarkWriteTo writes a million keys of 256 bytes.
func BenchmarkWriteTo(b *testing.B) {
	s, _ := filled(shuffled())
	b.ResetTimer()
	defer reportCPU(b, cpuSeconds())
	for range b.N {
		n, err := s.WriteTo(io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
}

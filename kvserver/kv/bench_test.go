package kv

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

const benchKeys = 1_000_000

// million returns a store with a million keys and commands to change a sample
// of them.
func million(op Op, size int) (*Store, []Command) {
	s := New()
	index := uint64(0)
	next := func(c Command) {
		index++
		s.Apply(index, EncodeCommand(c))
	}
	next(Command{Op: OpOpenSession})
	key := func(i int) []byte { return fmt.Appendf(nil, "key-%08d", i) }
	value := make([]byte, 64)
	for i := range benchKeys {
		next(Command{Op: OpPut, Key: key(i), Value: value})
	}
	r := rand.New(rand.NewPCG(1, 2))
	commands := make([]Command, 1<<16)
	for i := range commands {
		commands[i] = Command{
			Op: op, ID: RequestID{Origin: r.Uint64(), Number: uint64(i)}, Time: 1_790_000_000_000,
			Key: key(r.IntN(benchKeys)), Value: make([]byte, size),
		}
	}
	return s, commands
}

func benchmarkApply(b *testing.B, op Op, size int, session bool, freezeEvery int) {
	s, commands := million(op, size)
	index := s.AppliedIndex()
	var scratch []byte
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if freezeEvery > 0 && i%freezeEvery == 0 {
			s.Freeze()
		}
		index++
		c := commands[i%len(commands)]
		if session {
			c.Session = SessionCall{ID: 1, Lane: uint32(i % 256), Seq: uint64(i/256 + 1)}
		}
		scratch = appendCommand(scratch[:0], c)
		if r := s.Apply(index, scratch); r.Replayed || r.Status != StatusOK {
			b.Fatal(r.Status)
		}
	}
}

func BenchmarkApplyPut(b *testing.B)          { benchmarkApply(b, OpPut, 256, false, 0) }
func BenchmarkApplyPutInSession(b *testing.B) { benchmarkApply(b, OpPut, 256, true, 0) }
func BenchmarkApplyAppend(b *testing.B)       { benchmarkApply(b, OpAppend, 16, false, 0) }
func BenchmarkApplyPutFreezing(b *testing.B)  { benchmarkApply(b, OpPut, 256, false, 10_000) }

func BenchmarkGet(b *testing.B) {
	s, _ := million(OpPut, 1)
	r := rand.New(rand.NewPCG(1, 2))
	keys := make([][]byte, 1<<16)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key-%08d", r.IntN(benchKeys))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, ok := s.Get(keys[i%len(keys)]); !ok {
			b.Fatal("a key is missing")
		}
	}
}

// BenchmarkAppendToOneKey appends 64 bytes until the value has its greatest
// length, then starts again: with a copy per append it would cost 4 MiB each.
func BenchmarkAppendToOneKey(b *testing.B) {
	s := New()
	more := EncodeCommand(Command{Op: OpAppend, Key: []byte("k"), Value: make([]byte, 64)})
	reset := EncodeCommand(Command{Op: OpPut, Key: []byte("k")})
	index := uint64(0)
	b.ReportAllocs()
	for range b.N {
		index++
		if s.Apply(index, more).Status == StatusTooLong {
			index++
			s.Apply(index, reset)
		}
	}
}

func BenchmarkFreeze(b *testing.B) {
	s, _ := million(OpPut, 1)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		s.Freeze()
	}
}

// BenchmarkHistory applies puts over a million keys with and without a history, which is
// full and forgets as much as comes.
func BenchmarkHistory(b *testing.B) {
	for _, level := range []uint64{LevelBase, LevelHistory} {
		s, commands := million(OpPut, 256)
		if err := s.raise(level); err != nil {
			b.Fatal(err)
		}
		if level == LevelHistory {
			s.Apply(s.AppliedIndex()+1, EncodeCommand(Settings(MinHistoryBytes)))
		}
		index := s.AppliedIndex()
		var scratch []byte
		put := func(i int) {
			index++
			scratch = appendCommand(scratch[:0], commands[i%len(commands)])
			s.Apply(index, scratch)
		}
		for i := range 200_000 {
			put(i)
		}
		b.Run(fmt.Sprintf("level=%d", level), func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				put(i)
			}
		})
	}
}

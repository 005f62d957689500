package kv

import (
	"fmt"
	"testing"

	"raftkv/tests/bench/allocations"
)

// Goal: a command that is applied, and a read, take no more memory than they did.
// Method: puts over a thousand keys that exist, with and without a session, appends to
// them, and reads.
func TestAllocations(t *testing.T) {
	loops := []allocations.Loop{{Name: "get", Run: func(b *testing.B) {
		s, _ := thousand()
		key := []byte("key-00000500")
		for b.Loop() {
			if _, found := s.Get(key); !found {
				b.Fatal("a key is missing")
			}
		}
	}}}
	for _, c := range []struct {
		name    string
		op      Op
		size    int
		session bool
	}{{"put", OpPut, 256, false}, {"put-in-session", OpPut, 256, true}, {"append", OpAppend, 16, false}} {
		loops = append(loops, allocations.Loop{Name: c.name, Run: func(b *testing.B) {
			s, keys := thousand()
			index := s.AppliedIndex()
			command := Command{Op: c.op, Time: 1_790_000_000_000, Value: make([]byte, c.size)}
			var encoded []byte
			for i := 0; b.Loop(); i++ {
				index++
				command.Key, command.ID = keys[i%len(keys)], RequestID{Origin: 1, Number: index}
				if c.session {
					command.Session = SessionCall{ID: 1, Lane: uint32(i % 256), Seq: uint64(i/256 + 1)}
				}
				encoded = appendCommand(encoded[:0], command)
				if r := s.Apply(index, encoded); r.Replayed || r.Status != StatusOK {
					b.Fatal(r.Status)
				}
			}
		}})
	}
	allocations.Check(t, "kvserver/kv", loops)
}

// thousand returns a store with a session and a thousand keys.
func thousand() (s *Store, keys [][]byte) {
	s = New()
	s.Apply(1, EncodeCommand(Command{Op: OpOpenSession}))
	for i := range 1000 {
		keys = append(keys, fmt.Appendf(nil, "key-%08d", i))
		s.Apply(uint64(i+2), EncodeCommand(Command{Op: OpPut, Key: keys[i], Value: make([]byte, 64)}))
	}
	return s, keys
}

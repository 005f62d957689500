package core

import (
	"fmt"
	"testing"

	"raftkv/tests/bench/allocations"
)

// Goal: the core's steps take no more memory than they did. Method: commands through
// three servers on one thread, alone and in batches, and heartbeats.
func TestAllocations(t *testing.T) {
	var loops []allocations.Loop
	for _, batch := range []int{1, 64} {
		loops = append(loops, allocations.Loop{Name: fmt.Sprintf("replicate/batch=%d", batch), Run: func(b *testing.B) {
			t := newTrio(0)
			data := make([]byte, 256)
			b.ResetTimer()
			for range b.N {
				if err := t.replicate(batch, data); err != nil {
					b.Fatal(err)
				}
			}
		}})
	}
	loops = append(loops, allocations.Loop{Name: "heartbeat", Run: func(b *testing.B) {
		t := newTrio(1)
		b.ResetTimer()
		for range b.N {
			t.servers[0].Tick()
			t.servers[0].Tick()
			t.settle()
		}
	}})
	allocations.Check(t, "raft/core", loops)
}

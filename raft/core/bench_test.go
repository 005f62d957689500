package core

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// trio is three servers back to back on one thread: the leanest driver there
// is. Server 0 leads; every message arrives at once, every write is on the
// disk at once, every batch is applied at once, and nothing is copied.
type trio struct {
	servers [3]*Raft
	calls   []Call // the leader's, to be delivered
	applied [3]uint64
	tag     Tag
}

// newTrio starts three servers that agree on a log of length entries.
func newTrio(length int) *trio {
	t := &trio{}
	entries := make([]Entry, length)
	for i := range entries {
		entries[i] = NewEntry(uint64(i+1), 1, KindCommand, nil)
	}
	state := State{Entries: entries}
	if length > 0 {
		state.Term = 1
	}
	for i, id := range names(3) {
		t.servers[i] = New(Config{
			ID: id, Peers: names(3), ElectionTicks: 10, HeartbeatTicks: 2,
			PreVote: true, CheckQuorum: true, Noop: true, MaxApplyBytes: unlimited,
			Rand: rand.New(rand.NewPCG(uint64(i), 1)),
		}, state)
	}
	t.servers[0].startCampaign()
	t.settle()
	if t.servers[0].role != Leader {
		panic("no leader")
	}
	return t
}

// settle runs the leader and answers its calls until it has nothing to do.
func (t *trio) settle() {
	for t.take(0) || len(t.calls) > 0 {
		calls := t.calls
		t.calls = nil
		for _, call := range calls {
			t.servers[0].Returned(call, t.ask(call))
		}
	}
}

// take does what a server has ready; false if that was nothing.
func (t *trio) take(i int) bool {
	r := t.servers[i]
	ready := r.Ready()
	t.calls = append(t.calls, ready.Calls...)
	if ready.Write != nil {
		r.Saved(ready.Write.Seq)
	}
	if ready.Apply != nil {
		t.applied[i] += uint64(len(ready.Apply.Entries))
		r.Applied(ready.Apply.Entries[len(ready.Apply.Entries)-1].Index)
	}
	return ready.Write != nil || ready.Apply != nil
}

// ask delivers a call and returns its answer, which takes one write at most.
func (t *trio) ask(call Call) Reply {
	i := call.To[0] - '1'
	r := t.servers[i]
	t.tag++
	r.Receive(t.tag, "1", call.Request)
	for {
		ready := r.Ready()
		if ready.Write != nil {
			r.Saved(ready.Write.Seq)
		}
		if ready.Apply != nil {
			t.applied[i] += uint64(len(ready.Apply.Entries))
			r.Applied(ready.Apply.Entries[len(ready.Apply.Entries)-1].Index)
		}
		if len(ready.Answers) > 0 {
			return ready.Answers[0].Reply
		}
	}
}

// replicate takes a batch of commands through all three servers in one turn.
func (t *trio) replicate(batch int, data []byte) error {
	for range batch {
		if _, _, err := t.servers[0].Propose(data); err != nil {
			return err
		}
	}
	t.settle()
	return nil
}

// check stops a benchmark that did not do what it measures.
func (t *trio) check(b testing.TB, want uint64) {
	b.Helper()
	t.servers[0].Tick()
	t.servers[0].Tick()
	t.settle()
	for i, r := range t.servers {
		if r.lastApplied < want || t.applied[i] < want {
			b.Fatalf("server %d applied %d entries, want %d", i+1, t.applied[i], want)
		}
	}
}

// BenchmarkReplicate measures the whole algorithm: one entry through all three
// servers, in batches of commands of 256 bytes. The budget is 3 µs an
// entry, all three together, in every batch size.
func BenchmarkReplicate(b *testing.B) {
	for _, batch := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			t := newTrio(0)
			data := make([]byte, 256)
			b.ReportAllocs()
			b.ResetTimer()
			done := 0
			for ; done < b.N; done += batch {
				if err := t.replicate(batch, data); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(done), "ns/entry")
			t.check(b, uint64(done))
		})
	}
}

// BenchmarkReplicateBehindLog measures the same behind a log that is long
// already. The figures must not grow with it.
func BenchmarkReplicateBehindLog(b *testing.B) {
	for _, length := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("length=%d", length), func(b *testing.B) {
			t := newTrio(length)
			data := make([]byte, 256)
			if err := t.replicate(16, data); err != nil { // the log makes room
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			done := 0
			for ; done < b.N; done += 16 {
				if err := t.replicate(16, data); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(done), "ns/entry")
			t.check(b, uint64(done))
		})
	}
}

// BenchmarkDecodeEntries measures the decoder on what one AppendEntries of a
// busy leader carries.
func BenchmarkDecodeEntries(b *testing.B) {
	entries := make([]Entry, 64)
	for i := range entries {
		entries[i] = NewEntry(uint64(i+1), 7, KindCommand, make([]byte, 256))
	}
	encoded := EncodeEntries(nil, entries)
	b.SetBytes(int64(len(encoded)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeEntries(encoded, 1, 64); err != nil {
			b.Fatal(err)
		}
	}
}

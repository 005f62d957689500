package wire

import (
	"bytes"
	"sync"
	"testing"

	"raftkv/raft/core"
)

// batch is the batch that the budgets speak of: 64 entries of 256 bytes.
func batch() *core.AppendEntries {
	m := &core.AppendEntries{Term: 7, LeaderID: "n1", PrevLogIndex: 1 << 20, PrevLogTerm: 7, LeaderCommit: 1 << 20}
	for i := range 64 {
		m.Entries = append(m.Entries, core.NewEntry(1<<20+1+uint64(i), 7, core.KindCommand, bytes.Repeat([]byte{byte(i)}, 256)))
	}
	return m
}

// BenchmarkAppendEntries64x256 is the cost of one message on each side, without
// the network.
func BenchmarkAppendEntries64x256(b *testing.B) {
	m := batch()
	e, d := newEncoder(), newDecoder()
	frame, err := e.request(nil, m)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(frame)))
		var out []byte
		for b.Loop() {
			if out, err = e.request(out[:0], m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(frame)))
		source := bytes.NewReader(frame)
		f := newFrameReader(source, requestBuffer)
		for b.Loop() {
			source.Reset(frame)
			f.r.Reset(source)
			k, body, err := f.next(requestFrames)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := d.request(k, body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkDecodeSmall is the cost of the answers and requests that travel most
// often, once their frame is cut out: the check of the one permitted form, and the
// library.
func BenchmarkDecodeSmall(b *testing.B) {
	e, d := newEncoder(), newDecoder()
	reply := e.reply(nil, &core.AppendEntriesReply{Term: 7, Success: true, ConflictIndex: 1 << 20})
	vote, err := e.request(nil, &core.RequestVote{Term: 7, CandidateID: "n1", LastLogIndex: 1 << 20, LastLogTerm: 7})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("reply", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.reply(kindAppendEntriesReply, reply[headerBytes:]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("vote", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.request(kindRequestVote, vote[headerBytes:]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := appendEntriesReplyShape.check(reply[headerBytes:]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// connectedPair returns n1, whose peer n2 answers everything and keeps nothing.
func connectedPair(b *testing.B) *server {
	l1, l2 := listen(b, "127.0.0.1:0"), listen(b, "127.0.0.1:0")
	addrs := map[core.ID]string{"n1": l1.Addr().String(), "n2": l2.Addr().String()}
	start(b, "n2", l2, addrs, nil, &recorder{respond: echo, forget: true})
	n1 := start(b, "n1", l1, addrs, nil, nil)
	connected(b, n1, 1)
	return n1
}

// BenchmarkRoundTrip is one call after the other over loopback.
func BenchmarkRoundTrip(b *testing.B) {
	n1 := connectedPair(b)
	answered := make(chan core.Reply)
	done := func(_ core.Call, reply core.Reply) { answered <- reply }
	call := core.Call{To: "n2", Request: &core.AppendEntries{Term: 1, LeaderID: "n1"}}
	b.ReportAllocs()
	for b.Loop() {
		n1.Send(call, done)
		if <-answered == nil {
			b.Fatal("a call was lost")
		}
	}
}

// BenchmarkPipelined is as many calls over loopback as there may be under way.
func BenchmarkPipelined(b *testing.B) {
	for _, c := range []struct {
		name    string
		request core.Request
	}{
		{"heartbeat", &core.AppendEntries{Term: 1, LeaderID: "n1"}},
		{"64x256", batch()},
	} {
		b.Run(c.name, func(b *testing.B) {
			const window = 64
			n1 := connectedPair(b)
			places := make(chan struct{}, window)
			var under sync.WaitGroup
			lost := 0
			done := func(_ core.Call, reply core.Reply) {
				if reply == nil {
					lost++
				}
				<-places
				under.Done()
			}
			b.ReportAllocs()
			for b.Loop() {
				places <- struct{}{}
				under.Add(1)
				n1.Send(core.Call{To: "n2", Request: c.request}, done)
			}
			under.Wait()
			if lost > 0 {
				b.Fatalf("%d calls were lost", lost)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}

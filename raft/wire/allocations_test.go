package wire

import (
	"bytes"
	"testing"

	"raftkv/raft/core"
	"raftkv/tests/bench/allocations"
)

// Goal: frames between peers take no more memory than they did. Method: the messages
// that travel most often are encoded and decoded, without a network.
func TestAllocations(t *testing.T) {
	small := &core.AppendEntries{Term: 7, LeaderID: "n1", PrevLogIndex: 1 << 20, PrevLogTerm: 7, LeaderCommit: 1 << 20}
	var loops []allocations.Loop
	for _, c := range []struct {
		name    string
		request core.Request
	}{{"entries=64", batch()}, {"heartbeat", small}} {
		loops = append(loops,
			allocations.Loop{Name: "encode/" + c.name, Run: func(b *testing.B) { encodeRequests(b, c.request) }},
			allocations.Loop{Name: "decode/" + c.name, Run: func(b *testing.B) { decodeRequests(b, c.request) }})
	}
	reply := &core.AppendEntriesReply{Term: 7, Success: true, ConflictIndex: 1 << 20}
	loops = append(loops, allocations.Loop{Name: "reply", Run: func(b *testing.B) {
		e, d := newEncoder(), newDecoder()
		var frame []byte
		for b.Loop() {
			frame = e.reply(frame[:0], reply)
			if _, err := d.reply(kindAppendEntriesReply, frame[headerBytes:]); err != nil {
				b.Fatal(err)
			}
		}
	}})
	allocations.Check(t, "raft/wire", loops)
}

func encodeRequests(b *testing.B, m core.Request) {
	e := newEncoder()
	var frame []byte
	var err error
	for b.Loop() {
		if frame, err = e.request(frame[:0], m); err != nil {
			b.Fatal(err)
		}
	}
}

func decodeRequests(b *testing.B, m core.Request) {
	e, d := newEncoder(), newDecoder()
	frame, err := e.request(nil, m)
	if err != nil {
		b.Fatal(err)
	}
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
}

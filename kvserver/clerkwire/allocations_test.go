package clerkwire

import (
	"bytes"
	"net"
	"testing"
	"time"

	"raftkv/tests/bench/allocations"
)

// Goal: frames of Clerks take no more memory than they did. Method: a write of 256
// bytes and its answer, each as a frame there and back.
func TestAllocations(t *testing.T) {
	write := Write{Session: 1 << 40, Lane: 3, Seq: 70_000, Key: []byte("bench/0000001"), Value: make([]byte, 256)}
	written := Written{Revision: 1 << 33, Version: 300, Length: 256}
	get := Get{Key: []byte("bench/0000001")}
	got := Got{Found: true, Value: make([]byte, 256)}
	allocations.Check(t, "kvserver/clerkwire", []allocations.Loop{
		{Name: "put", Run: func(b *testing.B) { thereAndBack(b, Requests, KindPut, write, new(Write)) }},
		{Name: "put-answer", Run: func(b *testing.B) { thereAndBack(b, Answers, KindPut.Answer(), written, new(Written)) }},
		{Name: "get", Run: func(b *testing.B) { thereAndBack(b, Requests, KindGet, get, new(Get)) }},
		{Name: "get-answer", Run: func(b *testing.B) { thereAndBack(b, Answers, KindGot, got, new(Got)) }},
	})
}

// looped is a connection on which one frame has come.
type looped struct {
	net.Conn
	frame bytes.Reader
}

func (l *looped) Read(b []byte) (int, error)      { return l.frame.Read(b) }
func (l *looped) SetReadDeadline(time.Time) error { return nil }

// thereAndBack encodes a message, and reads and parses its frame.
func thereAndBack[M Message](b *testing.B, limits Limits, kind Kind, m M, into interface{ Parse([]byte) error }) {
	var frame []byte
	source := new(looped)
	frames := NewFrameReader(source, nil, limits)
	for b.Loop() {
		frame = AppendFrame(frame[:0], kind, 1, m)
		source.frame.Reset(frame)
		h, err := frames.Next()
		if err != nil {
			b.Fatal(err)
		}
		body, err := frames.Body(h)
		if err != nil {
			b.Fatal(err)
		}
		if err := into.Parse(body); err != nil {
			b.Fatal(err)
		}
	}
}

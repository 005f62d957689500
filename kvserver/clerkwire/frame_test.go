package clerkwire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"raftkv/raft/msgpack"
	"raftkv/tests/virtual"
)

// pipe returns both ends of a connection in memory.
func pipe(t *testing.T) (here, there net.Conn) {
	here, there = net.Pipe()
	t.Cleanup(func() { here.Close(); there.Close() })
	return here, there
}

func putFrame(number uint32, value []byte) []byte {
	return AppendFrame(nil, KindPut, number, Write{Session: 1, Seq: 1, Key: []byte("k"), Value: value})
}

// Goal: frames come out as they went in, small and large, however the bytes are
// cut. Method: all sizes around the buffer's, written in pieces of some bytes.
func TestFramesComeOutWhole(t *testing.T) {
	for _, piece := range []int{1, 7, 4096, 1 << 20} {
		here, there := pipe(t)
		var sent [][]byte
		for _, size := range []int{0, 1, 100, bufferBytes - 40, bufferBytes, pieceBytes, 200_000} {
			if piece == 1 && size > bufferBytes {
				continue
			}
			sent = append(sent, bytes.Repeat([]byte{byte(size)}, size))
		}
		go func() {
			for i, value := range sent {
				b := putFrame(uint32(i), value)
				for len(b) > 0 {
					n := min(piece, len(b))
					if _, err := there.Write(b[:n]); err != nil {
						return
					}
					b = b[n:]
				}
			}
			there.Close()
		}()
		f := NewFrameReader(here, nil, Requests)
		for i, value := range sent {
			h, err := f.Next()
			if err != nil || h.Kind != KindPut || h.Number != uint32(i) {
				t.Fatalf("frame %d: %+v, %v", i, h, err)
			}
			if i%3 == 2 {
				if err := f.Skip(h); err != nil {
					t.Fatal(err)
				}
				continue
			}
			body, err := f.Body(h)
			var m Write
			if err != nil || m.Parse(body) != nil || !bytes.Equal(m.Value, value) {
				t.Fatalf("frame %d of %d bytes: %v", i, len(value), err)
			}
		}
		if _, err := f.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("at the end: %v", err)
		}
	}
}

// Goal: what was read ahead of the frames is not lost.
func TestBytesReadAheadBelongToTheFrames(t *testing.T) {
	here, there := pipe(t)
	go func() { there.Write(append([]byte("HTTP\n"), putFrame(7, nil)...)) }()
	early := bufio.NewReader(here)
	if line, err := early.ReadString('\n'); err != nil || line != "HTTP\n" {
		t.Fatal(line, err)
	}
	if h, err := NewFrameReader(here, early, Requests).Next(); err != nil || h.Number != 7 {
		t.Errorf("%+v, %v", h, err)
	}
}

// Goal: kinds that have no meaning here, and bodies that are too long, end the
// connection before anything is set aside for them.
func TestFramesThatMayNotCome(t *testing.T) {
	long := func(kind Kind, length uint32) []byte {
		b := append([]byte{byte(kind)}, 0, 0, 0, 0)
		return binary.LittleEndian.AppendUint32(b, length)
	}
	for name, b := range map[string][]byte{
		"an answer":          AppendFrame(nil, KindGot, 1, Got{}),
		"a goodbye":          AppendFrame(nil, KindGoodbye, 0, Empty{}),
		"kind 0":             long(0, 0),
		"a get too long":     long(KindGet, maxSmallBody+1),
		"a put too long":     long(KindPut, maxWriteBody+1),
		"a put far too long": long(KindPut, 1<<32-1),
	} {
		here, there := pipe(t)
		go there.Write(b)
		if _, err := NewFrameReader(here, nil, Requests).Next(); !errors.Is(err, msgpack.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Goal: memory is taken for bytes that came, not for bytes that were announced.
// Method: a header that announces 8 MiB, and nothing behind it.
func TestAnnouncedBytesTakeNoMemory(t *testing.T) {
	here, there := pipe(t)
	header := []byte{byte(KindPut), 0, 0, 0, 0}
	go func() {
		there.Write(binary.LittleEndian.AppendUint32(header, maxWriteBody))
		there.Close()
	}()
	f := NewFrameReader(here, nil, Requests)
	var before, after runtime.MemStats
	h, err := f.Next()
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&before)
	_, err = f.Body(h)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the body of a connection that ended: %v", err)
	}
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 4*pieceBytes {
		t.Errorf("%d bytes were taken", taken)
	}
}

// Goal: a peer that stops inside of a frame is given up, and one that is silent
// between two frames is not.
func TestStallsInsideOfAFrame(t *testing.T) {
	whole := putFrame(1, make([]byte, 100_000))
	for _, cut := range []int{1, headerBytes - 1, headerBytes, headerBytes + 1, 70_000} {
		virtual.Time(t, func(t *testing.T) {
			here, there := net.Pipe()
			defer here.Close()
			defer there.Close()
			go func() {
				time.Sleep(time.Hour)
				there.Write(whole[:cut])
			}()
			f := NewFrameReader(here, nil, Requests)
			begun := time.Now()
			h, err := f.Next()
			if err == nil {
				_, err = f.Body(h)
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("cut at %d: %v", cut, err)
			}
			if waited := time.Since(begun) - time.Hour; waited != StallTimeout {
				t.Errorf("cut at %d: given up after %v", cut, waited)
			}
		})
	}
}

// Goal: Waiting says whether reading would wait.
func TestWaiting(t *testing.T) {
	here, there := pipe(t)
	two := append(putFrame(1, nil), putFrame(2, nil)...)
	go there.Write(append(two, putFrame(3, nil)[:headerBytes+2]...))
	f := NewFrameReader(here, nil, Requests)
	for i, more := range []bool{true, false} {
		h, err := f.Next()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Body(h); err != nil {
			t.Fatal(err)
		}
		if got := f.Waiting(); got != more {
			t.Errorf("after frame %d: %v", i+1, got)
		}
	}
}

// Goal: whatever bytes come, in whatever pieces, the reader ends with an error
// or a frame, and the frames it gives are those that were written.
func FuzzFrames(f *testing.F) {
	f.Add(putFrame(1, []byte("v")), uint8(3))
	f.Add(append(putFrame(1, nil), AppendFrame(nil, KindGet, 2, Get{Key: []byte("k")})...), uint8(200))
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		here, there := net.Pipe()
		defer here.Close()
		go func() {
			defer there.Close()
			for rest := stream; len(rest) > 0; {
				n := min(int(piece)+1, len(rest))
				if _, err := there.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
		}()
		r := NewFrameReader(here, nil, Requests)
		for read := 0; ; {
			h, err := r.Next()
			if err != nil {
				return
			}
			body, err := r.Body(h)
			if err != nil {
				return
			}
			if !bytes.Equal(body, stream[read+headerBytes:read+headerBytes+h.Length]) {
				t.Fatalf("the body of the frame at %d is another", read)
			}
			read += headerBytes + h.Length
		}
	})
}

// Goal: a frame comes only where its kind has a meaning, also one without a body.
// Method: every kind in both directions, with nothing behind the header.
func TestKindsWithoutMeaningAreRefused(t *testing.T) {
	for _, limits := range []Limits{Requests, Answers, Forwards, ForwardAnswers} {
		for kind := range 256 {
			_, known := limits[Kind(kind)]
			_, err := limits.parse([]byte{byte(kind), 1, 0, 0, 0, 0, 0, 0, 0})
			if known != (err == nil) || err != nil && !errors.Is(err, msgpack.ErrMalformed) {
				t.Errorf("kind 0x%02x, which has a meaning: %v; %v", kind, known, err)
			}
		}
	}
}

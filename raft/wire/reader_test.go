package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"

	"raftkv/raft/core"
)

// Goal: frames are cut right wherever the reads of the connection end. Method:
// a stream of small and large frames, read a byte at a time, in halves, and
// with errors at the end of the data.
func TestFramesAreCutWhereverReadsEnd(t *testing.T) {
	e := newEncoder()
	var stream []byte
	var want []core.Request
	for i := range 30 {
		request := core.Request(&core.TimeoutNow{Term: uint64(i), LeaderID: "n1"})
		if i%3 == 0 {
			data := bytes.Repeat([]byte{byte(i)}, 1+i*chunkBytes/10)
			request = &core.AppendEntries{Term: uint64(i), LeaderID: "n1", Entries: []core.Entry{core.NewEntry(1, 0, core.KindCommand, data)}}
		}
		b, err := e.request(stream, request)
		if err != nil {
			t.Fatal(err)
		}
		stream, want = b, append(want, request)
	}
	for name, cut := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader,
		"halves": iotest.HalfReader, "errors early": iotest.DataErrReader,
	} {
		f, d := newFrameReader(cut(bytes.NewReader(stream)), answerBuffer), newDecoder()
		var got []core.Request
		for {
			k, body, err := f.next(requestFrames)
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Fatalf("%s: %v", name, err)
				}
				break
			}
			request, err := d.request(k, body)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got = append(got, request)
		}
		if len(got) != len(want) {
			t.Fatalf("%s: %d frames of %d", name, len(got), len(want))
		}
		// All are compared at the end: a body that shared its memory with a
		// later one would have changed by now.
		for i := range want {
			if !same(got[i], want[i]) {
				t.Fatalf("%s: frame %d is not what was sent", name, i)
			}
		}
	}
}

// Goal: the end of the bytes inside a frame is not taken for a good end.
// Method: cut two frames at every byte.
func TestEndInsideAFrameIsNoEnd(t *testing.T) {
	e := newEncoder()
	first, err := e.request(nil, &core.TimeoutNow{Term: 1, LeaderID: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	both, err := e.request(first, &core.AppendEntries{Term: 1, Entries: []core.Entry{core.NewEntry(1, 1, core.KindCommand, []byte("x"))}})
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(both); n++ {
		f := newFrameReader(bytes.NewReader(both[:n]), answerBuffer)
		var err error
		for err == nil {
			_, _, err = f.next(requestFrames)
		}
		want := io.ErrUnexpectedEOF
		if n == 0 || n == len(first) {
			want = io.EOF
		}
		if err != want {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
}

// tardy gives out what it has and then one time-out.
type tardy struct {
	parts [][]byte
}

func (r *tardy) Read(b []byte) (int, error) {
	if len(r.parts) == 0 {
		return 0, io.EOF
	}
	if len(r.parts[0]) == 0 {
		r.parts = r.parts[1:]
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, r.parts[0])
	r.parts[0] = r.parts[0][n:]
	return n, nil
}

// Goal: a read deadline that passes inside an answer loses nothing, since one
// deadline serves many calls. Method: a reader that times out after each byte.
func TestTimeOutInsideAnAnswerLosesNothing(t *testing.T) {
	e := newEncoder()
	b := e.reply(e.reply(nil, &core.TimeoutNowReply{Term: 300}), &core.TimeoutNowReply{Term: 301})
	source := &tardy{}
	for i := range b {
		source.parts = append(source.parts, b[i:i+1:i+1])
	}
	f, d := &frameReader{r: bufio.NewReaderSize(source, answerBuffer)}, newDecoder()
	want := uint64(300)
	for {
		k, body, err := f.next(answerFrames)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		reply, err := d.reply(k, body)
		if err != nil {
			t.Fatal(err)
		}
		if got := reply.(*core.TimeoutNowReply).Term; got != want {
			t.Fatalf("got %d, want %d", got, want)
		}
		want++
	}
	if want != 302 {
		t.Fatalf("the stream ended before answer %d", want)
	}
}

// Goal: the queue gives out what went in, in order, and does not grow without
// bound when it is never empty. Method: keep between 1 and 100 elements in it.
func TestFIFO(t *testing.T) {
	var q fifo[int]
	in, out := 0, 0
	for range 10_000 {
		for range 1 + in%7 {
			q.push(in)
			in++
		}
		for q.len() > 1+in%90 {
			if *q.at(0) != out || *q.at(q.len() - 1) != in-1 {
				t.Fatalf("ends are %d and %d, want %d and %d", *q.at(0), *q.at(q.len() - 1), out, in-1)
			}
			if got := q.pop(); got != out {
				t.Fatalf("got %d, want %d", got, out)
			}
			out++
		}
	}
	if cap(q.items) > 1000 {
		t.Fatalf("room for %d elements where 100 are", cap(q.items))
	}
	if rest := q.drain(); len(rest) != in-out || rest[0] != out || q.len() != 0 {
		t.Fatalf("drained %d, want %d", len(rest), in-out)
	}
}

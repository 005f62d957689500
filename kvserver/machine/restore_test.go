package machine

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/iotest"
)

// Goal: a reader that is read ahead gives the same bytes and then the same error,
// which stays; closing ends the reading, wherever it is.
// Method: sources of many lengths that end in order or break, read in bits; one that
// is closed before its end.
func TestReadingAheadChangesNothing(t *testing.T) {
	broken := errors.New("the cable is out")
	for _, length := range []int{0, 1, aheadBlock - 1, aheadBlock, aheadBlock + 1, 3*aheadBlocks*aheadBlock + 5} {
		want := make([]byte, length)
		for i := range want {
			want[i] = byte(i*7 + i>>16) // no two blocks are alike
		}
		for _, end := range []error{io.EOF, broken} {
			for _, wrap := range []func(io.Reader) io.Reader{iotest.DataErrReader, iotest.HalfReader} {
				ahead := newReadAhead(wrap(io.MultiReader(bytes.NewReader(want), iotest.ErrReader(end))))
				var got bytes.Buffer
				var err error
				for bits := make([]byte, 10_000); err == nil; {
					var n int
					n, err = ahead.Read(bits)
					got.Write(bits[:n])
				}
				if !bytes.Equal(got.Bytes(), want) || err != end {
					t.Errorf("%d bytes: %d were read, then %v, want %v", length, got.Len(), err, end)
				}
				if n, again := ahead.Read(make([]byte, 1)); n != 0 || again != end {
					t.Errorf("%d bytes: read again: %d bytes and %v", length, n, again)
				}
				ahead.Close()
			}
		}
	}
	var reads atomic.Int64
	ahead := newReadAhead(readerFunc(func(b []byte) (int, error) { reads.Add(1); return len(b), nil }))
	ahead.Read(make([]byte, 1))
	ahead.Close()
	if n := reads.Load(); n > aheadBlocks {
		t.Errorf("%d blocks were read ahead, want at most %d", n, aheadBlocks)
	}
}

type readerFunc func(b []byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// Goal: every job is run once, and all have ended at the return.
// Method: numbers of jobs around the number of processors, and many.
func TestAllJobsAreRun(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 1000} {
		ran := make([]int, n) // each is its own job's
		inParallel(n, func(i int) { ran[i]++ })
		for i, times := range ran {
			if times != 1 {
				t.Errorf("job %d of %d was run %d times", i, n, times)
			}
		}
	}
}

package host

import (
	"io"
	"testing"
	"time"

	"raftkv/tests/virtual"
)

// Goal: a snapshot takes the time that its size calls for, in pieces of any size,
// and time lost on a slow disk is not made up for by a burst. Method: virtual
// time.
func TestSnapshotsAreWrittenAtAPace(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		for _, piece := range []int{100, 64 << 10, 1 << 20} {
			begun := time.Now()
			w := newPacedWriter(io.Discard)
			for done := 0; done < snapshotBytesPerSecond; done += piece {
				if n, err := w.Write(make([]byte, piece)); n != piece || err != nil {
					t.Fatal(n, err)
				}
			}
			if took := time.Since(begun); took < 980*time.Millisecond || took > 1020*time.Millisecond {
				t.Errorf("a second's worth in pieces of %d took %v", piece, took)
			}
		}
		w := newPacedWriter(io.Discard)
		w.Write(make([]byte, 1<<20))
		time.Sleep(time.Hour)
		begun := time.Now()
		for range 64 {
			w.Write(make([]byte, snapshotBytesPerSecond/64))
		}
		if took := time.Since(begun); took < 900*time.Millisecond {
			t.Errorf("after a pause, a second's worth took %v", took)
		}
	})
}

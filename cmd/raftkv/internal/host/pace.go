package host

import (
	"io"
	"time"
)

// snapshotBytesPerSecond bounds how fast a snapshot is written to the disk. At
// full speed it would fill the disk's queue, and each sync of the log would wait
// behind it, which was measured to make saves three to six times as long.
const snapshotBytesPerSecond = 64 << 20

// pacedWriter writes at no more than snapshotBytesPerSecond. It does not make up for
// time that was lost.
type pacedWriter struct {
	to  io.Writer
	due time.Time // when the next byte may be written
}

func newPacedWriter(to io.Writer) *pacedWriter { return &pacedWriter{to: to} }

// Write implements io.Writer.
func (p *pacedWriter) Write(b []byte) (int, error) {
	if now := time.Now(); p.due.Before(now) {
		p.due = now
	} else if wait := p.due.Sub(now); wait > time.Millisecond { // sleeps are not more exact than this
		time.Sleep(wait)
	}
	n, err := p.to.Write(b)
	p.due = p.due.Add(time.Duration(float64(n) / snapshotBytesPerSecond * float64(time.Second)))
	return n, err
}

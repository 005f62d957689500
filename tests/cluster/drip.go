package cluster

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Drip keeps connections open on which one byte a second is sent, each until the
// server ends it, and then another in its place. They begin one after the other
// within so long, a second at most, and keep their beats. It returns when ctx has
// ended.
//
// One goroutine writes to all: one for each would take more of the machine than
// the server does.
func Drip(ctx context.Context, address string, conns int, within time.Duration) (ended int64) {
	const beats = 1000 // of a second
	drippers := make([]*dripper, conns)
	turns := make([][]*dripper, beats)
	for i := range drippers {
		d := &dripper{odd: i%2 == 1}
		drippers[i] = d
		turn := int(beats*within.Seconds()*float64(i)/float64(conns)) % beats
		turns[turn] = append(turns[turn], d)
	}
	defer func() {
		for _, d := range drippers {
			d.dialling.Wait()
			if d.conn != nil {
				d.conn.Close()
			}
		}
	}()
	begun := time.Now()
	for beat := 0; Sleep(ctx, time.Until(begun.Add(time.Duration(beat)*time.Second/beats))); beat++ {
		for _, d := range turns[beat%beats] {
			if !d.drip(ctx, address) {
				ended++
			}
		}
	}
	return ended
}

// dripper is one slow client: of two, one never comes to the end of its header
// and one never to the end of its body.
type dripper struct {
	odd      bool
	dialling sync.WaitGroup
	conn     net.Conn // nil: none; not to be touched while dialling
	busy     atomic.Bool
	sent     int
}

// Drip sends a byte, or dials if there is no connection. It reports whether the
// connection was still there.
func (d *dripper) drip(ctx context.Context, address string) bool {
	if d.busy.Load() {
		return true
	}
	if d.conn == nil {
		d.busy.Store(true)
		d.dialling.Go(func() { d.dial(ctx, address); d.busy.Store(false) })
		return true
	}
	text := "GET /v1/kv/slow HTTP/1.1\r\nHost: localhost\r\n"
	_, err := d.conn.Write([]byte{text[d.sent%len(text)]})
	if d.sent++; err != nil {
		d.conn.Close()
		d.conn = nil
	}
	return err == nil
}

func (d *dripper) dial(ctx context.Context, address string) {
	dialler := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialler.DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	d.conn, d.sent = conn, 0
	if d.odd {
		// If it fails the first byte will, too.
		_, _ = io.WriteString(conn, "PUT /v1/kv/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
	}
}

// Sleep sleeps and reports whether ctx has not ended.
func Sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

package clerkwire

import (
	"net"
	"runtime"
	"sync"
	"time"
)

// Outbox gathers the frames that are to leave on one connection. Its methods may be
// called by any goroutine; Run belongs to the one that writes.
type Outbox struct {
	mu      sync.Mutex // guards the fields below; not held while writing
	work    sync.Cond  // there is something to write, or an end
	room    sync.Cond  // something was written, or an end
	pending []byte
	later   []laterFrame
	writing int  // bytes that are being written
	owed    int  // about what those of later will take
	closing bool // pending frames leave, and no more are added
	dead    bool // no frame leaves any more
	ended   bool // Run has returned
}

// laterFrame is a large frame that is not written yet.
type laterFrame struct {
	size  int
	write func(dst []byte) []byte
	done  func()
}

// NewOutbox returns an empty outbox.
func NewOutbox() *Outbox {
	o := &Outbox{}
	o.work.L, o.room.L = &o.mu, &o.mu
	return o
}

// Begin locks the outbox and returns the slice to which frames may be appended;
// End must follow at once. After the end of the connection the frames are dropped.
func (o *Outbox) Begin() []byte {
	o.mu.Lock()
	return o.pending
}

// End takes back the slice that Begin returned, with frames appended.
func (o *Outbox) End(pending []byte) {
	first := len(o.pending) == 0
	if !o.dead && !o.closing {
		o.pending = pending
	}
	o.mu.Unlock()
	if first {
		o.work.Signal()
	}
}

// Later has a frame of about size bytes written when those before it have left, one such
// frame at a time: no more than one of them is in memory as a frame. write appends it,
// unless the connection has ended; done is called once in any case. Both are called without
// a lock, perhaps before Later returns.
func (o *Outbox) Later(size int, write func(dst []byte) []byte, done func()) {
	o.mu.Lock()
	if o.ended || o.closing {
		o.mu.Unlock()
		done()
		return
	}
	o.later = append(o.later, laterFrame{size, write, done})
	o.owed += size
	o.mu.Unlock()
	o.work.Signal()
}

// AwaitRoom waits until fewer than limit bytes are on their way. It reports
// false after the end.
func (o *Outbox) AwaitRoom(limit int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.dead && !o.closing && len(o.pending)+o.writing+o.owed >= limit {
		o.room.Wait()
	}
	return !o.dead && !o.closing
}

// Close lets pending frames leave and then ends Run.
func (o *Outbox) Close() { o.end(false) }

// Kill ends Run at once. The caller must also close the connection.
func (o *Outbox) Kill() { o.end(true) }

func (o *Outbox) end(dead bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closing = true
	o.dead = o.dead || dead
	o.work.Broadcast()
	o.room.Broadcast()
}

// Run writes pending frames until the end. If a write fails, it returns the error.
// All frames that are added during one write leave in the next.
func (o *Outbox) Run(conn net.Conn) error {
	defer o.drop()
	var out []byte
	for {
		var more bool
		if out, more = o.take(out); !more {
			return nil
		}
		if err := writeAll(conn, out); err != nil {
			o.Kill()
			return err
		}
		if cap(out) > retainedBytes {
			out = nil
		}
	}
}

// drop ends the frames that are not written.
func (o *Outbox) drop() {
	o.mu.Lock()
	o.ended = true
	left := o.later
	o.later, o.owed = nil, 0
	o.room.Broadcast()
	o.mu.Unlock()
	for _, f := range left {
		f.done()
	}
}

// take waits for something to write and leaves spare in its place.
func (o *Outbox) take(spare []byte) (out []byte, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writing = 0
	o.room.Broadcast()
	for len(o.pending) == 0 && len(o.later) == 0 && !o.closing {
		o.work.Wait()
	}
	if !o.closing {
		// A goroutine that is about to add a frame does so before this one runs again,
		// and both frames leave in one write.
		o.mu.Unlock()
		runtime.Gosched()
		o.mu.Lock()
	}
	if o.dead || len(o.pending) == 0 && len(o.later) == 0 {
		return nil, false
	}
	out, o.pending = o.pending, spare[:0]
	o.writing = len(out)
	if len(o.later) > 0 {
		out = o.takeLater(out)
	}
	return out, true
}

// takeLater appends one of the large frames. It gives the lock away meanwhile.
func (o *Outbox) takeLater(out []byte) []byte {
	f := o.later[0]
	o.later[0] = laterFrame{}
	o.later = o.later[1:]
	o.mu.Unlock()
	out = f.write(out)
	f.done()
	o.mu.Lock()
	o.owed -= f.size
	o.writing = len(out)
	return out
}

// writeAll writes b in pieces, each of which must leave within StallTimeout.
func writeAll(conn net.Conn, b []byte) error {
	for len(b) > 0 {
		if err := conn.SetWriteDeadline(time.Now().Add(StallTimeout)); err != nil {
			return err
		}
		n, err := conn.Write(b[:min(len(b), pieceBytes)])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

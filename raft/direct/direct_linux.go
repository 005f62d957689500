//go:build !race

package direct

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// own says whether Of returns connections of its own.
const own = true

// maxCall is how many bytes one call moves at most: meanwhile the processor does nothing
// else for this process.
const maxCall = 64 << 10

// conn is a TCP connection with calls of its own.
type conn struct {
	*net.TCPConn
	raw  syscall.RawConn
	r, w half
}

// half is one direction of a connection. Its fields belong to whoever holds mu.
type half struct {
	mu    sync.Mutex
	trap  uintptr // the system call
	bytes []byte  // what is to be moved
	moved int
	errno syscall.Errno
	call  func(fd uintptr) bool // once, so that no call allocates one
}

// Of returns a connection that reads and writes as c does. If c is no TCP connection of
// package net, it is c itself.
func Of(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c // it is closed, and says so itself
	}
	d := &conn{TCPConn: tcp, raw: raw}
	d.r.trap, d.w.trap = syscall.SYS_READ, syscall.SYS_WRITE
	d.r.call, d.w.call = d.r.once, d.w.once
	return d
}

// TCP returns the connection of package net below c, nil if there is none.
func TCP(c net.Conn) *net.TCPConn {
	switch c := c.(type) {
	case *conn:
		return c.TCPConn
	case *net.TCPConn:
		return c
	}
	return nil
}

// once makes the call on a socket that never blocks. It returns false if the runtime is to
// wait until the socket has something, or has room.
func (h *half) once(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(h.trap, fd, uintptr(unsafe.Pointer(&h.bytes[0])), uintptr(len(h.bytes)))
		switch errno {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return false
		}
		h.moved, h.errno = int(n), errno
		return true
	}
}

// move moves bytes by wait, which is RawConn.Read or RawConn.Write. The lock must be held,
// and b not be empty.
func (h *half) move(wait func(func(fd uintptr) bool) error, b []byte) (int, error) {
	h.bytes, h.moved, h.errno = b[:min(len(b), maxCall)], 0, 0
	err := wait(h.call)
	h.bytes = nil
	if err == nil && h.errno != 0 {
		return 0, h.errno
	}
	return h.moved, err
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	n, err := c.r.move(c.raw.Read, b)
	if err != nil {
		return 0, c.failure("read", err)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (written int, err error) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	for written < len(b) {
		n, err := c.w.move(c.raw.Write, b[written:])
		written += n
		if err != nil {
			return written, c.failure("write", err)
		}
	}
	return written, nil
}

// ReadFrom implements io.ReaderFrom, by Write.
func (c *conn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(onlyWriter{c}, r) }

// WriteTo implements io.WriterTo, by Read.
func (c *conn) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, onlyReader{c}) }

// onlyWriter and onlyReader hide what else a connection can.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// failure returns an error in the words of package net.
func (c *conn) failure(op string, err error) error {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
	}
	if waited := (*net.OpError)(nil); errors.As(err, &waited) {
		said := *waited
		said.Op = op
		return &said
	}
	return err
}

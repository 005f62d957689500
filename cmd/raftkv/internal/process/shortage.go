package process

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"raftkv/kvserver/port"
	"raftkv/raft/vfs"
)

// shortageLimit is how long an open for the log waits for a file descriptor, or for
// memory, before the node ends. A leader that waits loses its leadership, as with a
// disk that hangs.
const shortageLimit = 30 * time.Second

// PatientFS is a file system that tries an open again while the process or the machine
// lacks file descriptors or memory. The disk is not at fault then, and nothing was done
// yet. A node keeps enough descriptors for its log (Divide), but other processes may
// still use up those of the machine.
type PatientFS struct {
	vfs.FS
	Logger *slog.Logger
}

// Create implements vfs.FS.
func (p PatientFS) Create(name string) (f vfs.File, err error) {
	err = p.patiently(func() error { f, err = p.FS.Create(name); return err })
	return f, err
}

// Open implements vfs.FS.
func (p PatientFS) Open(name string) (f vfs.File, err error) {
	err = p.patiently(func() error { f, err = p.FS.Open(name); return err })
	return f, err
}

// List implements vfs.FS.
func (p PatientFS) List(dir string) (names []string, err error) {
	err = p.patiently(func() error { names, err = p.FS.List(dir); return err })
	return names, err
}

// SyncDir implements vfs.FS.
func (p PatientFS) SyncDir(dir string) error {
	return p.patiently(func() error { return p.FS.SyncDir(dir) })
}

// Lock implements vfs.FS.
func (p PatientFS) Lock(name string) (lock io.Closer, err error) {
	err = p.patiently(func() error { lock, err = p.FS.Lock(name); return err })
	return lock, err
}

// patiently tries until there is no shortage, or for shortageLimit.
func (p PatientFS) patiently(try func() error) error {
	begun, pause := time.Now(), 5*time.Millisecond
	for {
		err := try()
		if !vfs.IsShortage(err) || time.Since(begun) >= shortageLimit {
			return err
		}
		p.Logger.Warn("a file of the log cannot be opened for lack of file descriptors or memory; it is tried again", "error", err)
		time.Sleep(pause)
		pause = min(2*pause, 500*time.Millisecond)
	}
}

// PatientListener is a listener that goes on after errors that pass, such as one of
// the network that Linux reports to the next accept. net/http knows only some of them,
// and would end the port, and so the node. A lack of descriptors or memory is returned
// to the caller, which may close something: the client port and the transport do.
type PatientListener struct {
	net.Listener
	what    string // the callers, for the log
	logger  *slog.Logger
	closing sync.Once
	closed  chan struct{}
}

// NewPatientListener returns a listener that logs what it outlasts. what names the
// callers in the log.
func NewPatientListener(l net.Listener, what string, logger *slog.Logger) *PatientListener {
	return &PatientListener{Listener: l, what: what, logger: logger, closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *PatientListener) Accept() (net.Conn, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		conn, err := l.Listener.Accept()
		if err == nil || !passes(err) || port.IsShortage(err) && l.what != Operator {
			return conn, err
		}
		l.logger.Warn("connections cannot be accepted at the moment; it is tried again", "from", l.what, "error", err)
		select {
		case <-time.After(pause):
		case <-l.closed:
		}
	}
}

// Close implements net.Listener.
func (l *PatientListener) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// Operator names the caller of the admin port.
const Operator = "the operator"

// passes reports whether accepting may succeed after this error. It cannot if the
// listener was closed, or is none.
func passes(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	for _, errno := range []syscall.Errno{syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK} {
		if errors.Is(err, errno) {
			return false
		}
	}
	var errno syscall.Errno
	return errors.As(err, &errno)
}

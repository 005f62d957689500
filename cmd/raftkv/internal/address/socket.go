package address

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/process"
)

// socketScheme begins the address of a socket in the file system.
const socketScheme = "unix:"

// maxSocketPath is how long the path of a socket may be, in bytes. Linux has room for 107 and
// macOS for 103.
const maxSocketPath = 103

// SocketPath returns the path of an address such as unix:/run/raftkv/admin.sock, and whether
// it is one.
func SocketPath(address string) (path string, is bool) {
	return strings.CutPrefix(address, socketScheme)
}

// ListenSocket opens a socket that only this user, and root, can connect to. What is at the
// path is replaced only if it is a socket on which nobody listens, as a process leaves it that
// was killed; a link is never followed. Closing the listener removes the socket.
func ListenSocket(what, flag, path string) (net.Listener, error) {
	if path == "" || strings.HasPrefix(path, "@") || strings.ContainsRune(path, 0) {
		return nil, fmt.Errorf("%s is %q, which names no file; write unix: and a path, such as unix:/run/raftkv/admin.sock", flag, socketScheme+path)
	}
	if err := checkSocketPath(flag, path); err != nil {
		return nil, err
	}
	failed := func(err error) (net.Listener, error) {
		return nil, exit.Fail(fmt.Errorf("cannot listen for %s on %s (%s): %w", what, path, flag, exit.LastCause(err)))
	}
	// The socket is made where nobody else can enter, and comes to its place with its mode: a
	// connection that was made before it had that would stay.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".sock")
	if err != nil {
		return failed(err)
	}
	defer os.Remove(dir)
	made := filepath.Join(dir, "s")
	if longest := max(len(made), len(path)); longest > maxSocketPath {
		return nil, fmt.Errorf("%s names a path that is %d bytes too long for a socket; choose a shorter one", flag, longest-maxSocketPath)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return failed(err)
	}
	l.SetUnlinkOnClose(false)
	s := &socket{UnixListener: l, path: path}
	err = os.Chmod(made, 0o600)
	if err == nil {
		s.is, err = os.Lstat(made)
	}
	if err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		os.Remove(made)
		return failed(errors.Join(err, l.Close()))
	}
	return s, nil
}

// checkSocketPath refuses a path at which something is that must not be replaced.
func checkSocketPath(flag, path string) error {
	is, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // its directory may be missing, too, which making the socket says
	case err != nil:
		return exit.Fail(fmt.Errorf("%s: %s cannot be looked at: %w", flag, path, exit.LastCause(err)))
	case is.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s: %s is a symbolic link, which is not followed; name the socket itself", flag, path)
	case is.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s: %s is there and is no socket; it is not replaced: choose another path", flag, path)
	}
	const patience = time.Second
	conn, err := net.DialTimeout("unix", path, patience)
	if err == nil {
		conn.Close()
		return exit.Fail(fmt.Errorf("%s: another process listens on %s; stop it, or choose another path", flag, path))
	}
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) {
		return exit.Fail(fmt.Errorf("%s: whether another process listens on %s cannot be told: %w; remove it if none does", flag, path, exit.LastCause(err)))
	}
	return nil
}

// socket is a listener that knows its place.
type socket struct {
	*net.UnixListener
	path string
	is   os.FileInfo // the socket's own, wherever it is called
}

// Addr implements net.Listener.
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// Close implements net.Listener. The socket of a later process at the same path stays.
func (s *socket) Close() error {
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.is) {
		os.Remove(s.path)
	}
	return s.UnixListener.Close()
}

// ListenForOperator opens the admin port at an address, a loopback one or that of a socket;
// nil for "". While identities are off it asks nobody for a token, so it must be on this
// machine.
func ListenForOperator(ctx context.Context, flag, at string, logger *slog.Logger) (net.Listener, error) {
	if at == "" {
		return nil, nil
	}
	if path, is := SocketPath(at); is {
		l, err := ListenSocket(process.Operator, flag, path)
		if err != nil {
			return nil, err
		}
		return process.NewPatientListener(l, process.Operator, logger), nil
	}
	l, err := ListenPatiently(ctx, process.Operator, flag, at, logger)
	if err != nil {
		return nil, err
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		l.Close()
		return nil, fmt.Errorf("%s is %s; it must be a loopback address such as 127.0.0.1:8801, or unix: with the path of a socket, because whoever reaches it may be served", flag, at)
	}
	return l, nil
}

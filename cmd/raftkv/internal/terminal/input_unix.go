//go:build unix

package terminal

import (
	"io"
	"os"
	"syscall"
)

// InputIsClosed reports whether standard input was closed when the process began.
// The Go runtime then opens /dev/null in its place, for reading and writing.
// A person that redirects /dev/null on purpose opens it for reading.
func InputIsClosed(stdin io.Reader) bool {
	f, isFile := stdin.(*os.File)
	if !isFile {
		return false
	}
	is, err := f.Stat()
	null, nullErr := os.Stat(os.DevNull)
	if err != nil {
		return true
	}
	if nullErr != nil || !os.SameFile(is, null) {
		return false
	}
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), syscall.F_GETFL, 0)
	return errno != 0 || flags&syscall.O_ACCMODE != syscall.O_RDONLY
}

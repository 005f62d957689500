//go:build linux && (amd64 || arm64)

package vfs

import (
	"os"
	"syscall"
)

// adviseDontNeed is POSIX_FADV_DONTNEED.
const adviseDontNeed = 4

// dropCache drops the clean pages of f from the page cache. It is a piece of
// advice, so there is nothing to be done about an error.
func dropCache(f *os.File) {
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	conn.Control(func(fd uintptr) {
		const fromStart, toEnd = 0, 0
		syscall.Syscall6(syscall.SYS_FADVISE64, fd, fromStart, toEnd, adviseDontNeed, 0, 0)
	})
}

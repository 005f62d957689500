//go:build linux && (amd64 || arm64)

package vfs

import (
	"os"
	"syscall"
)

// adviseDontNeed is POSIX_FADV_DONTNEED.
const adviseDontNeed = 4

// dropCache drops the clean pages of f from the page cache. The call is only
// advice to the kernel, so an error needs no action.
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

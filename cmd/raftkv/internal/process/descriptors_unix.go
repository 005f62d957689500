//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package process

import "syscall"

// DescriptorLimit returns how many files and sockets this process may have open,
// after raising the soft limit as far as it goes.
func DescriptorLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return unknownDescriptorLimit
	}
	if limit.Cur < limit.Max {
		raised := limit
		raised.Cur = raised.Max
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err == nil {
			limit = raised
		}
	}
	return int(min(uint64(limit.Cur), 1<<30))
}

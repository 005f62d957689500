//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package process

import (
	"fmt"
	"syscall"
)

// ForbidCores lets this process leave no core dump: it lowers the soft limit of their size to
// 0 bytes. The hard limit stays, so an operator can raise the soft one again (prlimit).
func ForbidCores() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("asking for the limit of core dumps: %w", err)
	}
	limit.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("lowering the limit of core dumps: %w", err)
	}
	return nil
}

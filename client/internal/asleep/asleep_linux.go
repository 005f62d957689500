package asleep

import (
	"syscall"
	"time"
	"unsafe"
)

// The clocks of Linux that differ by the time that the machine was suspended.
const (
	clockMonotonic = 1
	clockBoottime  = 7
)

// Total returns for how long the machine has slept since it was started, to some
// microseconds.
func Total() time.Duration { return max(read(clockBoottime)-read(clockMonotonic), 0) }

// read reads a clock, 0 if the kernel does not know it.
func read(clock uintptr) time.Duration {
	var t syscall.Timespec
	if _, _, failed := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&t)), 0); failed != 0 {
		return 0
	}
	return time.Duration(t.Nano())
}

package main

import (
	"syscall"
	"time"
)

// threadTime is the processor time that the calling thread has used; the caller
// is locked to it. On a machine that others use, too, it says more of speed than
// the clock on the wall.
func threadTime() time.Duration {
	const thisThread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if syscall.Getrusage(thisThread, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

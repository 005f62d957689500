package wal

import (
	"os"
	"runtime/debug"
	"testing"
)

// TestMain lets the heap grow before it is collected. The crash tests make and drop
// disks of some 50 KiB thousands of times a second, so with the usual setting the
// collector ran all the time, over a live heap of a few MiB.
func TestMain(m *testing.M) {
	debug.SetGCPercent(1600)
	os.Exit(m.Run())
}

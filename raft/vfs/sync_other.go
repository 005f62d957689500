//go:build !linux

package vfs

import "os"

// dataSyncer returns the full sync of f: the platform has no cheaper call that
// promises as much. (On Darwin os.File.Sync flushes the drive's own cache too.)
func dataSyncer(f *os.File) (func() error, error) { return f.Sync, nil }

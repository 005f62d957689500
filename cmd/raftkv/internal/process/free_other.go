//go:build !linux

package process

import "errors"

// FreeBytes is known on Linux only.
func FreeBytes(string) (uint64, error) { return 0, errors.ErrUnsupported }

// NoInodes is known on Linux only.
func NoInodes(string) bool { return false }

//go:build !linux

package main

import "errors"

// freeBytes is known on Linux only.
func freeBytes(string) (uint64, error) { return 0, errors.ErrUnsupported }

// noInodes is known on Linux only.
func noInodes(string) bool { return false }

//go:build !unix

package main

import "io"

// isClosed reports whether standard input was closed when the process began. It
// cannot be told here.
func isClosed(io.Reader) bool { return false }

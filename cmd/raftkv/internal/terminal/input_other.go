//go:build !unix

package terminal

import "io"

// InputIsClosed reports whether standard input was closed when the process began. It
// cannot be told here.
func InputIsClosed(io.Reader) bool { return false }

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package flight

import "os"

// awaitContinue returns a channel on which nothing comes: the system has no such signal.
func awaitContinue() (continued <-chan os.Signal, forget func()) { return nil, func() {} }

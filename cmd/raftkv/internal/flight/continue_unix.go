//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package flight

import (
	"os"
	"os/signal"
	"syscall"
)

// awaitContinue returns a channel that holds a token after this process was stopped by a
// signal and goes on, and a function that ends that.
func awaitContinue() (continued <-chan os.Signal, forget func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGCONT)
	return c, func() { signal.Stop(c) }
}

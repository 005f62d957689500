package port

import (
	"errors"
	"syscall"
)

// IsShortage reports whether an error means that the process, or the machine,
// has no room for another connection now. That passes.
func IsShortage(err error) bool {
	for _, shortage := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, shortage) {
			return true
		}
	}
	return false
}

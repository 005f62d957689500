package kvserver

import (
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"time"
)

// isShortage reports whether an error means that the process, or the machine,
// has no room for another connection now. That passes.
func isShortage(err error) bool {
	for _, shortage := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, shortage) {
			return true
		}
	}
	return false
}

// throttle bounds a warning that would otherwise be said for every request. Its
// methods are safe for concurrent use; the zero value is ready.
type throttle struct {
	mu      sync.Mutex // guards the fields below
	last    time.Time
	unsaid  int
	hasSaid bool
}

// throttlePause is how long one warning stands for those behind it.
const throttlePause = 10 * time.Second

// warn logs a warning, and with it the number of those that were left out since
// the last, unless that was a moment ago.
func (t *throttle) warn(logger *slog.Logger, text string, args ...any) {
	t.mu.Lock()
	now := time.Now()
	if t.hasSaid && now.Sub(t.last) < throttlePause {
		t.unsaid++
		t.mu.Unlock()
		return
	}
	unsaid := t.unsaid
	t.last, t.hasSaid, t.unsaid = now, true, 0
	t.mu.Unlock()
	if unsaid > 0 {
		args = append(args, "unsaid", unsaid)
	}
	logger.Warn(text, args...)
}

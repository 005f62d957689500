package port

import (
	"log/slog"
	"sync"
	"time"
)

// ThrottledLog bounds a warning that would otherwise be said for every request. Its
// methods are safe for concurrent use; the zero value is ready.
type ThrottledLog struct {
	mu      sync.Mutex // guards the fields below
	last    time.Time
	unsaid  int
	hasSaid bool
}

// throttlePause is how long one warning stands for those behind it.
const throttlePause = 10 * time.Second

// Warn logs a warning, and with it the number of those that were left out since
// the last, unless that was a moment ago.
func (t *ThrottledLog) Warn(logger *slog.Logger, text string, args ...any) {
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

package port

import (
	"log/slog"
	"time"

	"raftkv/raft/throttle"
)

// ThrottledLog bounds a warning that would otherwise be said for every request. Its
// methods are safe for concurrent use.
type ThrottledLog struct {
	logger   *slog.Logger
	throttle *throttle.Throttle
}

// throttlePause is how long one warning stands for those behind it.
const throttlePause = 10 * time.Second

// NewThrottledLog returns one that writes to logger.
func NewThrottledLog(logger *slog.Logger) *ThrottledLog {
	return &ThrottledLog{logger: logger, throttle: throttle.New(1, throttlePause)}
}

// Warn logs a warning, and with it the number of those that were left out since the
// last, unless that was a moment ago. A ThrottledLog is for one text.
func (t *ThrottledLog) Warn(text string, args ...any) {
	allowed, dropped := t.throttle.Allow(text, time.Now())
	if !allowed {
		return
	}
	if dropped > 0 {
		args = append(args, "unsaid", dropped)
	}
	t.logger.Warn(text, args...)
}

package wire

import (
	"context"
	"log/slog"
	"time"

	"raftkv/raft/throttle"
)

// logPause is how long an event stays silent after it was logged. A peer that is
// down fails to be dialled every second for days. The counters in Stats tell how
// often; the log only needs to tell that.
const logPause = 10 * time.Second

// throttledLog logs events, each at most once per logPause. Events are named by
// keys that this package chooses.
type throttledLog struct {
	log *slog.Logger
	due *throttle.Throttle
}

func newThrottledLog(log *slog.Logger) *throttledLog {
	return &throttledLog{log: log, due: throttle.New(1, logPause)}
}

// note logs an event unless one with the same key was logged less than logPause
// ago.
func (l *throttledLog) note(level slog.Level, key, message string, args ...any) {
	if ok, _ := l.due.Allow(key, time.Now()); ok {
		l.log.Log(context.Background(), level, message, args...)
	}
}

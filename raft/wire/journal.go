package wire

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// journalPause is how long one event stays silent after it was logged. A peer
// that is down fails to be dialled every second for days; the counters in
// Stats tell how often, the log only needs to tell that.
const journalPause = 10 * time.Second

// journal logs events, each at most once in a while. Events are named by keys
// that we choose, so there are never many.
type journal struct {
	log *slog.Logger

	mu    sync.Mutex
	after map[string]time.Time // when the event may be logged again
}

func newJournal(log *slog.Logger) *journal {
	return &journal{log: log, after: make(map[string]time.Time)}
}

// note logs an event unless one with the same key was logged a moment ago.
func (j *journal) note(level slog.Level, key, message string, args ...any) {
	if !j.due(key, time.Now()) {
		return
	}
	j.log.Log(context.Background(), level, message, args...)
}

func (j *journal) due(key string, now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if now.Before(j.after[key]) {
		return false
	}
	j.after[key] = now.Add(journalPause)
	return true
}

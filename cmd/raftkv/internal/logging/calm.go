package logging

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// calm is a handler that passes on at most calmMax records with the same message in a
// calmWindow, because a fault that happens a thousand times a second is one fault. The
// next record that is passed on says how many were not.
type calm struct {
	slog.Handler
	said *said
}

// said counts what was logged of late, by message. Messages are constants of the program,
// so there are not many.
type said struct {
	mu        sync.Mutex
	byMessage map[string]*utterance
}

type utterance struct {
	begun      time.Time
	passed     int
	suppressed int
}

// A message is passed on calmMax times in calmWindow.
const (
	calmMax    = 20
	calmWindow = 10 * time.Second
)

// Handle implements slog.Handler.
func (c calm) Handle(ctx context.Context, r slog.Record) error {
	pass, suppressed := c.said.count(r.Message, r.Time)
	if !pass {
		return nil
	}
	if suppressed > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("not_logged", suppressed))
	}
	return c.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (c calm) WithAttrs(attrs []slog.Attr) slog.Handler {
	return calm{c.Handler.WithAttrs(attrs), c.said}
}

// WithGroup implements slog.Handler.
func (c calm) WithGroup(name string) slog.Handler { return calm{c.Handler.WithGroup(name), c.said} }

// count decides whether a message is passed on, and returns how many like it were not
// since the last one that was.
func (s *said) count(message string, now time.Time) (pass bool, suppressed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byMessage == nil {
		s.byMessage = map[string]*utterance{}
	}
	u := s.byMessage[message]
	if u == nil {
		u = &utterance{begun: now}
		s.byMessage[message] = u
	}
	if now.Sub(u.begun) >= calmWindow {
		u.begun, u.passed = now, 0
	}
	if u.passed >= calmMax {
		u.suppressed++
		return false, 0
	}
	u.passed++
	suppressed, u.suppressed = u.suppressed, 0
	return true, suppressed
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// newLogger returns a logger that writes lines to w, as text or as JSON. It never
// waits for w and says the same thing only so often, see sink and calm. The level
// can be changed later. What has been logged is written when the sink is
// flushed.
func newLogger(w io.Writer, level, format string) (*slog.Logger, *slog.LevelVar, *sink, error) {
	v := new(slog.LevelVar)
	if err := v.UnmarshalText([]byte(level)); err != nil {
		return nil, nil, nil, fmt.Errorf("--log-level is %q; choose debug, info, warn or error", level)
	}
	to := newSink(w)
	options := &slog.HandlerOptions{Level: v}
	var handler slog.Handler
	switch format {
	case "text":
		handler = slog.NewTextHandler(to, options)
	case "json":
		handler = slog.NewJSONHandler(to, options)
	case "plain": // of dev
		handler = newPlainHandler(to, options)
	default:
		return nil, nil, nil, fmt.Errorf("--log-format is %q; choose text or json", format)
	}
	return slog.New(calm{Handler: handler, said: &said{}}), v, to, nil
}

// sink writes to a writer that may block for ever, such as a pipe that nobody
// reads, without blocking who logs: lines wait in a queue, and what finds the
// queue full is dropped and counted. A node that stopped serving because nobody
// reads its log would be worse than one whose log has a hole that it tells of.
type sink struct {
	lines chan []byte

	mu      sync.Mutex // guards dropped
	dropped uint64
}

// sinkLines is how many lines may wait.
const sinkLines = 1024

func newSink(w io.Writer) *sink {
	s := &sink{lines: make(chan []byte, sinkLines)}
	go s.write(w)
	return s
}

// Write implements io.Writer. It takes one whole line and never fails.
func (s *sink) Write(line []byte) (int, error) {
	select {
	case s.lines <- bytes.Clone(line):
	default:
		s.drop()
	}
	return len(line), nil
}

// write is the goroutine that may block. It lives as long as the process.
func (s *sink) write(w io.Writer) {
	told := uint64(0)
	for line := range s.lines {
		if line == nil {
			continue // flush wants to know that it came this far
		}
		if n := s.droppedLines(); n > told {
			if _, err := fmt.Fprintf(w, "level=WARN msg=\"lines of this log were dropped because it was not read\" lines=%d\n", n-told); err == nil {
				told = n
			}
		}
		if _, err := w.Write(line); err != nil { // the reader is gone, or the disk is full
			s.drop()
		}
	}
}

// drop counts a line that could not be said.
func (s *sink) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped++
}

// droppedLines counts what was dropped.
func (s *sink) droppedLines() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// flushLimit is how long the end of a process waits for its log to be read.
const flushLimit = time.Second

// flush waits until everything is written, but no longer than limit.
func (s *sink) flush(limit time.Duration) {
	late := time.After(limit)
	for range sinkLines + 1 { // when so many more have been taken, all before them are written
		select {
		case s.lines <- nil:
		case <-late:
			return
		}
	}
}

// calm is a handler that passes on only so many records with the same message in
// a while: what goes wrong a thousand times a second is told as one thing. The
// next record that is passed on says how many were not.
type calm struct {
	slog.Handler
	said *said
}

// said is what was told of late, by message. Messages are constants of the
// program, so there are not many.
type said struct {
	mu        sync.Mutex
	byMessage map[string]*utterance
}

type utterance struct {
	begun      time.Time
	passed     int
	suppressed int
}

// A message is passed on calmMost times in calmWindow.
const (
	calmMost   = 20
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

// count decides whether a message is passed on, and how many like it were not
// since the last that was.
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
	if u.passed >= calmMost {
		u.suppressed++
		return false, 0
	}
	u.passed++
	suppressed, u.suppressed = u.suppressed, 0
	return true, suppressed
}

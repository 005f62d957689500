package logging

import (
	"fmt"
	"io"
	"log/slog"
)

// New returns a logger that writes lines to w: as "text", as "json", or "plain" for a
// terminal. It never waits for w (Sink) and repeats a message only a limited number of
// times (calm). The level can be changed later. All lines are written when the sink has
// been flushed.
func New(w io.Writer, level, format string) (*slog.Logger, *slog.LevelVar, *Sink, error) {
	v := new(slog.LevelVar)
	if err := v.UnmarshalText([]byte(level)); err != nil {
		return nil, nil, nil, fmt.Errorf("--log-level is %q; choose debug, info, warn or error", level)
	}
	to := NewSink(w)
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

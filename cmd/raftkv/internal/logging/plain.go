package logging

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
)

// plainHandler writes log lines for a terminal, as dev's:
//
//	warning n1: a peer was turned down (remote=127.0.0.1:4711)
//
// The node that speaks comes first, and the rest is one line without the time.
type plainHandler struct {
	to      io.Writer
	options *slog.HandlerOptions
	turn    *sync.Mutex
	attrs   []slog.Attr
}

func newPlainHandler(to io.Writer, options *slog.HandlerOptions) slog.Handler {
	return plainHandler{to: to, options: options, turn: new(sync.Mutex)}
}

// Enabled implements slog.Handler.
func (h plainHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.options.Level.Level()
}

// WithAttrs implements slog.Handler.
func (h plainHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.attrs = append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)
	return h
}

// WithGroup implements slog.Handler. Nothing here has groups.
func (h plainHandler) WithGroup(string) slog.Handler { return h }

// Handle implements slog.Handler.
func (h plainHandler) Handle(_ context.Context, r slog.Record) error {
	attrs := h.attrs[:len(h.attrs):len(h.attrs)]
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	var line bytes.Buffer
	var details []string
	speaker := ""
	for _, a := range attrs {
		if a.Key == "node" || a.Key == "server" {
			speaker = a.Value.String()
			continue
		}
		text := a.Value.String()
		if strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c == '"' || !strconv.IsPrint(c) }) {
			text = strconv.Quote(text)
		}
		details = append(details, a.Key+"="+text)
	}
	line.WriteString(map[slog.Level]string{slog.LevelDebug: "debug", slog.LevelInfo: "note", slog.LevelWarn: "warning", slog.LevelError: "error"}[r.Level])
	if speaker != "" {
		line.WriteString(" " + speaker)
	}
	line.WriteString(": " + r.Message)
	if len(details) > 0 {
		fmt.Fprintf(&line, " (%s)", strings.Join(details, ", "))
	}
	line.WriteByte('\n')
	h.turn.Lock()
	defer h.turn.Unlock()
	_, err := h.to.Write(line.Bytes())
	return err
}

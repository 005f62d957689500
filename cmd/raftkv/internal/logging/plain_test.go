package logging

import (
	"bytes"
	"log/slog"
	"testing"
)

// Goal: what dev says of its nodes can be read by a person.
func TestALineOfDevIsPlain(t *testing.T) {
	var text bytes.Buffer
	logger := slog.New(newPlainHandler(&text, &slog.HandlerOptions{Level: slog.LevelWarn}))
	logger.Info("not shown")
	logger.With("node", "n1").Warn("a connection was turned down", "remote", "127.0.0.1:4711", "cause", "it said \"GET\"", "odd", "a\x1b[31m")
	logger.Error("alone")
	want := "warning n1: a connection was turned down (remote=127.0.0.1:4711, cause=\"it said \\\"GET\\\"\", odd=\"a\\x1b[31m\")\nerror: alone\n"
	if text.String() != want {
		t.Errorf("%q, want %q", text.String(), want)
	}
}
